"""The connector whose deployment is somebody else's: it publishes decisions and waits for them to be acknowledged."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.base import Applied, Connector, ConnectorError, Outcome, WorkerCounts
from connectors.virtual.state import VirtualState
from connectors.virtual.store import EmbeddedStore, VirtualStore
from planner.core.decision import Decision
from planner.core.observation import Workers
from planner.finding import Finding, Health

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to serve orchestrators over HTTP.

    Attributes:
        host: Address or name of the interface.
        port: Port; 0 takes any free one.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        """Refuse a port that is none.

        Raises:
            ValueError: The port is not between 0 and 65535.
        """
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}; it is between 0 and 65535")

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Of ``HOST:PORT``; an IPv6 address in brackets."""
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class VirtualConnector(Connector):
    """Publishes decisions in a store, in this process and over HTTP."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        store: VirtualStore | None = None,
        listen: Listen | None = None,
        token: str | None = None,
        ack_timeout_s: float = 1800.0,
        blocking: bool = False,
    ) -> None:
        """Prepare; nothing is read or listened to before ``start``.

        Args:
            now: What the time is, seconds since the epoch.
            store: Where decisions are kept; memory alone if left out.
            listen: Where to serve over HTTP; nowhere if left out.
            token: Bearer token that HTTP clients must show; required beyond loopback.
            ack_timeout_s: Longest time a new decision waits for the acknowledgement of the one before, seconds.
            blocking: Whether ``apply`` waits for the acknowledgement, as long as that.
        """
        self.store = store or EmbeddedStore()
        self._now = now
        self._listen = listen
        self._token = token
        self._ack_timeout_s = ack_timeout_s
        self._blocking = blocking
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str | None:
        """Where HTTP clients connect; None if they cannot."""
        if self._listen is None or self._runner is None or not self._runner.addresses:
            return None
        host = f"[{self._listen.host}]" if ":" in self._listen.host else self._listen.host
        return f"http://{host}:{self._runner.addresses[0][1]}"

    async def start(self) -> None:
        """Read the state and listen."""
        self._refuse_open_door()
        await self.store.start()
        if self._listen is not None:
            await self._serve(self._listen)

    def _refuse_open_door(self) -> None:
        if self._listen is not None and not self._listen.loopback and not self._token:
            raise ConnectorError(
                f"--virtual-listen {self._listen.host}:{self._listen.port} can be reached from other machines: "
                "give --virtual-token-file or --virtual-token, or listen on 127.0.0.1"
            )

    async def _serve(self, listen: Listen) -> None:
        from aiohttp import web  # noqa: PLC0415 - in process nobody needs it

        from connectors.virtual.api import VirtualApi  # noqa: PLC0415

        self._runner = web.AppRunner(VirtualApi(self.store, self._token).app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, listen.host, listen.port).start()
        except OSError as error:
            raise ConnectorError(f"--virtual-listen {listen.host}:{listen.port} cannot be had: {error}") from error

    async def workers(self) -> WorkerCounts:
        """What the orchestrator reported, or else what it last completed, and what is outstanding."""
        state = await self.store.read()
        completed = state.completed or (None, None)
        wanted = (None, None) if state.acknowledged else state.decision.targets
        return WorkerCounts(
            prefill=_pool(state.prefill, completed[0], wanted[0]), decode=_pool(state.decode, completed[1], wanted[1])
        )

    async def apply(self, decision: Decision) -> Applied:
        """Publish a decision, unless it stands already or the one before is not yet acknowledged."""
        state = await self.store.read()
        targets = (decision.prefill, decision.decode)
        if targets == state.decision.targets:
            return Applied(outcome=Outcome.UNCHANGED, detail=f"decision {state.decision.decision_id} says so already")
        outstanding = None if state.acknowledged else self._outstanding(state)
        if outstanding is not None and self._waited_s(state) < self._ack_timeout_s:
            return Applied(outcome=Outcome.WAITING, detail=outstanding)
        published = await self.store.update(lambda now: now.decide(*targets, self._now()))
        number = published.decision.decision_id
        detail = f"decision {number} published"
        if outstanding is not None:
            detail = f"{outstanding}, given up; {detail}"
        if self._blocking and not await self._acknowledged(number):
            return Applied(outcome=Outcome.APPLIED, detail=f"{detail}, not acknowledged in time", overdue=True)
        return Applied(outcome=Outcome.APPLIED, detail=detail, overdue=outstanding is not None)

    def _waited_s(self, state: VirtualState) -> float:
        # A clock that was set back must not make it wait for ever.
        return 0.0 if state.decided_at is None else abs(self._now() - state.decided_at)

    def _outstanding(self, state: VirtualState) -> str:
        return f"decision {state.decision.decision_id} unacknowledged for {self._waited_s(state):.0f} s"

    async def _acknowledged(self, number: int) -> bool:
        """Wait for a decision to be completed; False if that takes longer than the limit."""
        try:
            async with asyncio.timeout(self._ack_timeout_s):
                state = self.store.state
                while state.scaled_decision_id < number:
                    state = await self.store.changed(state)
        except TimeoutError:
            return False
        return True

    async def check(self) -> list[Finding]:
        """Whether state can be kept and the port can be had."""
        findings = []
        for subject, attempt in (("virtual state", self._check_store), ("virtual interface", self._check_listen)):
            try:
                findings.append(Finding(subject=subject, health=Health.OK, detail=await attempt()))
            except (ConnectorError, OSError) as error:
                findings.append(
                    Finding(subject=subject, health=Health.FAILED, detail=str(error), remedy="mend what it names")
                )
        return findings

    async def _check_store(self) -> str:
        return await self.store.check()

    async def _check_listen(self) -> str:
        self._refuse_open_door()
        if self._listen is None:
            return "in this process only"
        family = socket.AF_INET6 if ":" in self._listen.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((self._listen.host, self._listen.port))
        return f"{self._listen.host}:{self._listen.port} is free"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong with the state that was kept."""
        return () if self.store.warning is None else (self.store.warning,)

    async def close(self) -> None:
        """Stop listening, wake who waits, and keep the state for the next start."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self.store.close()


def _pool(reported: Workers | None, completed: int | None, wanted: int | None) -> Workers | None:
    """The workers of one pool, with what is outstanding counted as coming or going.

    Args:
        reported: What the orchestrator said it runs, if it ever did.
        completed: Workers of the decision it last completed.
        wanted: Workers of the decision that is outstanding, if one is.
    """
    if reported is None:
        reported = None if completed is None else Workers(completed)
    if reported is None or wanted is None:
        return reported
    serving = min(reported.ready, wanted)
    return Workers(serving, pending=wanted - serving, draining=reported.draining + reported.ready - serving)
