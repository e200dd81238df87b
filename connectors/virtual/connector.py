"""Hands decisions to an orchestrator that reads and acknowledges them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from connectors.base import Applied, Connector, ConnectorError, Outcome, WorkerCounts
from connectors.virtual.access import Access
from connectors.virtual.decision import UNSET, VirtualDecision, VirtualState
from planner.finding import Finding, Health
from planner.log import get_logger

if TYPE_CHECKING:
    from connectors.virtual.api import VirtualApi
    from connectors.virtual.store import VirtualStore
    from planner.core.decision import Decision

log = get_logger("planner.connectors.virtual")


class VirtualConnector(Connector):
    """Publishes decisions in a store, and over HTTP if told to listen.

    A new decision waits until the one before is completed, at most ``ack_timeout_s``; then that one is given up on.

    Attributes:
        store: Where decisions and acknowledgements meet; opened by ``start``, closed by ``close``.
        overdue_total: Decisions given up on because they were not completed in time.
    """

    def __init__(
        self,
        *,
        store: VirtualStore,
        ack_timeout_s: float = 1800.0,
        blocking: bool = False,
        now: Callable[[], float] = time.time,
        listen: tuple[str, int] | None = None,
        token: str | None = None,
    ) -> None:
        """Make a connector that has not started.

        Args:
            store: Where decisions and acknowledgements meet.
            ack_timeout_s: Longest time a new decision waits for the completion of the one before, seconds.
            blocking: Whether ``apply`` returns only once the decision is completed, or ``ack_timeout_s`` later.
            now: What the time is, seconds since the epoch.
            listen: Host and port of the HTTP interface, port 0 for any free one; None for no HTTP.
            token: Bearer token that HTTP clients must show; needed beyond loopback.
        """
        self.store = store
        self.overdue_total = 0
        self._ack_timeout_s = ack_timeout_s
        self._blocking = blocking
        self._now = now
        self._listen = listen
        self._token = token
        self._api: VirtualApi | None = None
        self._made = (UNSET, 0.0)
        self._given_up = UNSET

    @property
    def url(self) -> str | None:
        """Base URL of the HTTP interface; None while it does not listen."""
        return self._api.url if self._api is not None else None

    async def start(self) -> None:
        """Open the store, and listen if told to.

        Raises:
            ConnectorError: The store or the address cannot be used, or a token is missing.
        """
        access = self._access()
        await self.store.open()
        if access is None or self._listen is None:
            return
        # Whoever embeds the connector without HTTP need not load a web server.
        from connectors.virtual.api import VirtualApi  # noqa: PLC0415

        host, port = self._listen
        self._api = VirtualApi(self.store, host=host, port=port, access=access)
        await self._api.start()
        log.info("virtual connector listens", url=self.url, token_needed=not access.open)

    async def close(self) -> None:
        """Close the store, which ends all waiting, and stop listening."""
        await self.store.close()
        if self._api is not None:
            await self._api.close()
            self._api = None

    async def workers(self) -> WorkerCounts:
        """The workers last completed or reported, seen against what was asked for; unknown before either."""
        return (await self.store.read()).workers

    async def apply(self, decision: Decision) -> Applied:
        """Publish a decision, unless it already stands or the one before is still being carried out."""
        state = await self.store.read()
        standing = state.decision.decision_id
        if state.asks_for(decision.prefill, decision.decode):
            return Applied(outcome=Outcome.UNCHANGED, detail=f"decision {standing} has these targets already")
        waited_s = self._waited_s(state)
        if not state.completed and waited_s < self._ack_timeout_s:
            detail = f"decision {standing} is not completed after {waited_s:.0f} of at most {self._ack_timeout_s:g} s"
            return Applied(outcome=Outcome.WAITING, detail=detail)
        overdue = not state.completed and self._give_up(standing)
        made = await self.store.publish(prefill=decision.prefill, decode=decision.decode, time=self._now())
        if self._blocking:
            return await self._await_completion(made, overdue=overdue)
        detail = f"decision {made.decision_id} published"
        if not state.completed:
            detail += f"; decision {standing} was not completed within {self._ack_timeout_s:g} s"
        return Applied(outcome=Outcome.APPLIED, detail=detail, overdue=overdue)

    async def _await_completion(self, made: VirtualDecision, *, overdue: bool) -> Applied:
        try:
            async with asyncio.timeout(self._ack_timeout_s):
                await self.store.until(lambda state: state.scaled_decision_id >= made.decision_id)
        except TimeoutError:
            overdue = self._give_up(made.decision_id) or overdue
            detail = f"decision {made.decision_id} published, but not completed within {self._ack_timeout_s:g} s"
        else:
            detail = f"decision {made.decision_id} completed"
        return Applied(outcome=Outcome.APPLIED, detail=detail, overdue=overdue)

    def _waited_s(self, state: VirtualState) -> float:
        """How long the standing decision has stood, seconds.

        A store may not know when it was made, and a clock that was set back would stretch the wait: then it counts
        from when it was first seen here.
        """
        now = self._now()
        decision_id, made_at = self._made
        if decision_id != state.decision.decision_id:
            made_at = now if state.decided_at is None else state.decided_at
        self._made = (state.decision.decision_id, min(made_at, now))
        return now - self._made[1]

    def _give_up(self, decision_id: int) -> bool:
        """Count a decision as given up on; False if it was already."""
        if self._given_up == decision_id:
            return False
        self._given_up = decision_id
        self.overdue_total += 1
        return True

    async def check(self) -> list[Finding]:
        """Look whether the store, the address and the token would do."""
        findings = await self.store.check()
        if self._listen is not None:
            findings.append(await self._check_http(*self._listen))
        return findings

    async def _check_http(self, host: str, port: int) -> Finding:
        subject = "virtual HTTP interface"
        try:
            access = self._access()
        except ConnectorError as error:
            remedy = "set --virtual-token-file, or listen on 127.0.0.1"
            return Finding(subject=subject, health=Health.FAILED, detail=str(error), remedy=remedy)
        if self._api is not None:
            return Finding(subject=subject, health=Health.OK, detail=f"listens at {self.url}")
        try:
            probe = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port)
        except OSError as error:
            return Finding(
                subject=subject,
                health=Health.FAILED,
                detail=f"cannot listen on {host}:{port}: {error.strerror or error}",
                remedy="give --virtual-listen another address, or stop what listens there",
            )
        probe.close()
        await probe.wait_closed()
        guard = "without a token" if access is None or access.open else "with a token"
        return Finding(subject=subject, health=Health.OK, detail=f"can listen on {host}:{port}, {guard}")

    def _access(self) -> Access | None:
        return Access(host=self._listen[0], token=self._token) if self._listen is not None else None
