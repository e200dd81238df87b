"""The connector whose deployment is somebody else's: it publishes decisions and waits for them to be acknowledged."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from connectors.base import Applied, Connector, ConnectorError, Outcome, WorkerCounts
from connectors.virtual.listen import Listen
from connectors.virtual.server import ApiServer
from connectors.virtual.state import VirtualState
from connectors.virtual.store import EmbeddedStore, HeldError, VirtualStore
from connectors.virtual.webhook import Webhook
from planner.core.decision import Decision
from planner.core.observation import Workers
from planner.finding import Finding, Health

# What to do about a planner that runs already.
_BESIDE = "none if that is the one that is checked; one beside it needs a --namespace and a --virtual-listen of its own"


class VirtualConnector(Connector):
    """Publishes decisions in a store, in this process and over HTTP."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        store: VirtualStore | None = None,
        listen: Listen | None = None,
        token: str | None = None,
        rate_limit_rps: float | None = None,
        webhook: Webhook | None = None,
        ack_timeout_s: float = 1800.0,
        blocking: bool = False,
    ) -> None:
        """Prepare; nothing is read or listened to before ``start``.

        Args:
            now: What the time is, seconds since the epoch.
            store: Where decisions are kept; memory alone if left out.
            listen: Where to serve over HTTP; nowhere if left out.
            token: Bearer token that HTTP clients must show; required beyond loopback.
            rate_limit_rps: Most requests over HTTP from an address, per second; None for any number.
            webhook: Who pushes decisions; nobody if left out.
            ack_timeout_s: Longest time a new decision waits for the acknowledgement of the one before, seconds; 0
                expects no acknowledgements, and takes every decision to be carried out at once.
            blocking: Whether ``apply`` waits for the acknowledgement, as long as that.
        """
        self.store = store or EmbeddedStore()
        self._now = now
        self._listen = listen
        self._token = token
        self._webhook = webhook
        self._server = (
            None if listen is None else ApiServer(self.store, listen, token=token, rate_limit_rps=rate_limit_rps)
        )
        self._ack_timeout_s = ack_timeout_s
        self._blocking = blocking

    @property
    def url(self) -> str | None:
        """Where HTTP clients connect; None if they cannot."""
        return None if self._server is None else self._server.url

    async def start(self) -> None:
        """Read the state, listen, and push what is outstanding."""
        self._refuse_open_door()
        await self.store.start()
        if self._server is not None:
            await self._server.start()
        if self._webhook is not None:
            self._webhook.start()

    def _refuse_open_door(self) -> None:
        if self._listen is not None and not self._listen.loopback and not self._token:
            raise ConnectorError(
                f"--virtual-listen {self._listen.host}:{self._listen.port} can be reached from other machines: "
                "give --virtual-token-file or --virtual-token, or listen on 127.0.0.1"
            )

    async def workers(self) -> WorkerCounts:
        """What the orchestrator reported, or else what it last completed, and what is outstanding."""
        state = await self.store.read()
        completed = state.completed or (None, None)
        wanted = (None, None) if state.acknowledged else state.decision.targets
        if not self._ack_timeout_s and state.decision.decision_id >= 0:
            completed = state.decision.targets
        return WorkerCounts(
            prefill=_pool(state.prefill, completed[0], wanted[0]), decode=_pool(state.decode, completed[1], wanted[1])
        )

    async def apply(self, decision: Decision) -> Applied:
        """Publish a decision, unless it stands already or the one before is not yet acknowledged."""
        state = await self.store.read()
        if self.store.standby is not None:
            return Applied(outcome=Outcome.STANDBY, detail=self.store.standby)
        targets = (decision.prefill, decision.decode)
        if targets == state.decision.targets:
            return Applied(outcome=Outcome.UNCHANGED, detail=f"decision {state.decision.decision_id} says so already")
        outstanding = None if state.acknowledged or not self._ack_timeout_s else self._outstanding(state)
        if outstanding is not None and self._waited_s(state) < self._ack_timeout_s:
            return Applied(outcome=Outcome.WAITING, detail=outstanding)
        published = await self.store.update(lambda now: now.decide(*targets, self._now()))
        number = published.decision.decision_id
        detail = f"decision {number} published"
        if outstanding is not None:
            detail = f"{outstanding}, given up; {detail}"
        if self._blocking and self._ack_timeout_s and not await self._acknowledged(number):
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
        """Whether state can be kept and the port can be had; a planner that has them may be the one that is checked."""
        findings, held = [], False
        for subject, attempt in (("virtual state", self._check_store), ("virtual interface", self._check_listen)):
            try:
                findings.append(Finding(subject=subject, health=Health.OK, detail=await attempt()))
            except HeldError as error:
                held = True
                findings.append(Finding(subject=subject, health=Health.WARNING, detail=str(error), remedy=_BESIDE))
            except (ConnectorError, OSError) as error:
                if held and _in_use(error.__cause__):
                    health, remedy = Health.WARNING, _BESIDE
                else:
                    health, remedy = Health.FAILED, "as it says"
                findings.append(Finding(subject=subject, health=health, detail=str(error), remedy=remedy))
        return findings

    async def _check_store(self) -> str:
        return await self.store.check()

    async def _check_listen(self) -> str:
        self._refuse_open_door()
        if self._listen is None:
            return "in this process only"
        self._listen.ssl_context()
        family = socket.AF_INET6 if ":" in self._listen.host else socket.AF_INET
        place = f"{self._listen.host}:{self._listen.port}"
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self._listen.host, self._listen.port))
        except OSError as error:
            raise ConnectorError(
                f"{place} cannot be listened to: {error.strerror}; free it, or choose another with --virtual-listen"
            ) from error
        return f"{place} is free"

    @property
    def leading(self) -> bool:
        """Whether no other planner decides in this one's place."""
        return self.store.standby is None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong with the state that was kept."""
        return () if self.store.warning is None else (self.store.warning,)

    async def close(self) -> None:
        """Stop listening, wake who waits, and keep the state for the next start."""
        if self._webhook is not None:
            await self._webhook.close()
        if self._server is not None:
            await self._server.close()
        await self.store.close()


def _in_use(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EADDRINUSE


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
