"""Leader election on a lease: of several planners one scales, and never two, whatever pauses, clocks and networks do.

The leader renews a lease; whoever else wants it waits until it has seen the lease unchanged for the lease's whole
duration, on its own monotonic clock: no clock of another machine is ever compared with one's own. The leader counts
from the moment it *sent* its last renewal that succeeded, which is before anybody can have seen that renewal, and stops
at the renew deadline, which is shorter than the duration. Clocks need no agreement, only about the same speed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from connectors.base import ConnectorError
from planner.log import get_logger

# So much longer than the retry period may a wait be, so that planners started together do not stay in step.
_JITTER = 0.2
# How long a released lease must be seen before it is taken, and how long the release itself may take, seconds.
_RELEASED_S = 1.0
_RELEASE_WITHIN_S = 0.6

log = get_logger("planner.election")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who may scale.

    Attributes:
        holder: Identity of the leader; None once it was released.
        duration_s: How long others must see it unchanged before they may take it, seconds.
        acquired: When the holder took it; told to people only.
        renewed: When the holder renewed it last; told to people only.
        transitions: How often it went from one holder to another.
        version: What the store calls this state of it; empty before it is stored.
    """

    holder: str | None
    duration_s: float
    acquired: datetime
    renewed: datetime
    transitions: int = 0
    version: str = ""


class LeaseConflictError(Exception):
    """Somebody else created, changed or deleted the lease in the meantime."""


class LeaseStore(Protocol):
    """Keeps one lease. Every call ends within ``timeout_s``; whatever it raises is survived."""

    async def get(self, timeout_s: float) -> Lease | None:
        """The lease; None if there is none."""
        ...

    async def create(self, lease: Lease, timeout_s: float) -> Lease:
        """Store the lease; raises LeaseConflictError if there is one."""
        ...

    async def replace(self, lease: Lease, timeout_s: float) -> Lease:
        """Store the lease over the state that ``lease.version`` names.

        Raises LeaseConflictError if it is no longer in that state.
        """
        ...


class Fence(Protocol):
    """Says, right before something is changed, whether this planner may change it."""

    @property
    def write_within_s(self) -> float:
        """Seconds that a change begun now may take until it must have ended or been given up; 0: do not begin."""
        ...


class FencedError(ConnectorError):
    """Another planner is the leader, or may soon be: nothing may be changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionTimes:
    """How patient an election is, in seconds.

    Attributes:
        duration_s: How long a lease must be seen unrenewed before another planner takes it.
        deadline_s: How long after its last renewal the leader stops scaling; shorter than the duration.
        retry_s: Time between two attempts to renew or take the lease; shorter than the deadline.
    """

    duration_s: float = 15.0
    deadline_s: float = 10.0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse times under which two planners could lead, or none for long.

        Raises:
            ValueError: They are not in order.
        """
        if not self.duration_s > self.deadline_s > self.retry_s > 0:
            raise ValueError(
                f"duration {self.duration_s:g} s, deadline {self.deadline_s:g} s and retry {self.retry_s:g} s must be "
                "above 0 and each shorter than the one before"
            )

    @property
    def write_end_s(self) -> float:
        """How long after a renewal the last change must have ended: half-way from the deadline to the duration."""
        return (self.deadline_s + self.duration_s) / 2

    @property
    def request_s(self) -> float:
        """How long one request may take, so that several fit before the deadline."""
        return self.deadline_s / 3


def uptime() -> float:
    """Seconds that pass while the process is stopped and, on Linux, while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Elector:
    """One planner's part in the election; ``run`` takes part until it is cancelled and then releases the lease."""

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        times: ElectionTimes,
        *,
        monotonic: Callable[[], float],
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        random: Callable[[], float],
    ) -> None:
        """Take no part yet.

        Args:
            store: Keeps the lease.
            identity: What this planner is called; never that of another one, nor of an earlier process.
            times: How patient it is.
            monotonic: A clock that never stops and is never set, seconds.
            now: What the time is, seconds since the epoch; written into the lease, never relied on.
            sleep: Waits for so many seconds of ``monotonic``.
            random: A number from 0 to 1, for jitter.
        """
        self.identity = identity
        self._store = store
        self._times = times
        self._monotonic = monotonic
        self._now = now
        self._sleep = sleep
        self._random = random
        self._lease: Lease | None = None
        self._seen_at: float | None = None
        self._current = False
        self._renewed_at: float | None = None
        self._led = False
        self._failing = False

    @property
    def leading(self) -> bool:
        """Whether this planner may scale, at this instant."""
        return self._renewed_at is not None and self._monotonic() < self._renewed_at + self._times.deadline_s

    @property
    def write_within_s(self) -> float:
        """Seconds that a change begun now may take at most; 0 if none may begin."""
        now = self._monotonic()
        if self._renewed_at is None or now >= self._renewed_at + self._times.deadline_s:
            return 0.0
        return self._renewed_at + self._times.write_end_s - now

    @property
    def leader(self) -> str | None:
        """Who held the lease when it was last seen; None if nobody did or it was not seen yet."""
        return self._lease.holder if self._lease else None

    async def run(self) -> None:
        """Take part until cancelled."""
        try:
            while True:
                await self._round()
                self._tell()
                await self._sleep(self._pause_s())
        except asyncio.CancelledError:
            await self._release()
            raise

    def _pause_s(self) -> float:
        """Until the next round: the retry period, or less if somebody else's lease may be taken before that."""
        jitter_s = _JITTER * self._times.retry_s * self._random()
        pause_s = self._times.retry_s
        if self._lease is not None and self._lease.holder != self.identity and self._seen_at is not None:
            left_s = self._seen_at + self._patience_s(self._lease) - self._monotonic()
            pause_s = min(pause_s, left_s) if left_s > 0 else pause_s
        return pause_s + jitter_s

    async def _round(self) -> None:
        """Renew the lease, or look at it and take it if it is free; failures are for the next round."""
        try:
            if not self._current:
                await self._read(self._times.request_s)
            if self._may_write():
                await self._write_or_look()
            self._failing = False
        except Exception as error:  # noqa: BLE001 - whatever the store raises, the election goes on
            self._current = False
            self._complain(error)

    async def _write_or_look(self) -> None:
        try:
            await self._write()
        except LeaseConflictError:
            # Somebody was faster, or edited it: if that was another holder, one's own time ends now.
            self._current = False
            await self._read(self._times.request_s)

    async def _read(self, within_s: float) -> None:
        lease = await self._store.get(within_s)
        # The answer may have been long under way: what it says is counted from its arrival, the latest it can be.
        if self._seen_at is None or lease != self._lease:
            self._seen_at = self._monotonic()
        self._lease = lease
        if lease is not None and lease.holder != self.identity:
            self._renewed_at = None

    def _may_write(self) -> bool:
        if self._lease is None or self._lease.holder == self.identity:
            return True
        return self._seen_at is not None and self._monotonic() - self._seen_at >= self._patience_s(self._lease)

    def _patience_s(self, lease: Lease) -> float:
        return lease.duration_s if lease.holder is None else max(lease.duration_s, self._times.duration_s)

    async def _write(self) -> None:
        wanted = self._claim()
        sent_at = self._monotonic()
        write = self._store.replace if wanted.version else self._store.create
        self._lease = await write(wanted, self._times.request_s)
        self._seen_at = self._monotonic()
        self._renewed_at = sent_at if wanted.holder == self.identity else None
        self._current = self._renewed_at is not None

    def _claim(self) -> Lease:
        """What to write: the lease renewed, taken, or made."""
        now = datetime.fromtimestamp(self._now(), UTC)
        before = self._lease
        fresh = Lease(holder=self.identity, duration_s=self._times.duration_s, acquired=now, renewed=now)
        if before is None:
            # A lease deleted under its leader leaves that one leading for a while. So whoever makes it anew makes it
            # nobody's, and waits as for one that is held; only the leader need not.
            return fresh if self.leading else replace(fresh, holder=None)
        if before.holder == self.identity:
            return replace(before, duration_s=self._times.duration_s, renewed=now)
        return replace(fresh, transitions=before.transitions + 1, version=before.version)

    async def _release(self) -> None:
        """Stop scaling, then let others have the lease at once instead of after its duration."""
        self._renewed_at = None
        if self._led:
            self._led = False
            log.info("lead given up: this planner ends", identity=self.identity)
        try:
            await self._give_back()
        except LeaseConflictError:
            # The last renewal may have been cut off after it was stored.
            with contextlib.suppress(Exception):
                await self._read(_RELEASE_WITHIN_S)
                await self._give_back()
        except Exception as error:  # noqa: BLE001 - it runs out by itself
            log.warning("lease not released; others wait until it runs out", detail=_text(error))

    async def _give_back(self) -> None:
        if self._lease is None or self._lease.holder != self.identity:
            return
        now = datetime.fromtimestamp(self._now(), UTC)
        released = replace(self._lease, holder=None, duration_s=_RELEASED_S, renewed=now)
        self._lease = await self._store.replace(released, min(_RELEASE_WITHIN_S, self._times.request_s))

    def _tell(self) -> None:
        """Log what changed since the last round."""
        leading = self.leading
        if leading == self._led:
            return
        self._led = leading
        if leading:
            log.info("leading: this planner scales", identity=self.identity)
        else:
            log.warning("no longer leading: another planner may scale", identity=self.identity, leader=self.leader)

    def _complain(self, error: Exception) -> None:
        if not self._failing:
            log.warning("lease not reached; trying again", detail=_text(error), leading=self.leading)
        self._failing = True


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def lease_seconds(duration_s: float) -> int:
    """A duration as a lease states it: whole seconds, never less than meant."""
    return max(1, math.ceil(duration_s))
