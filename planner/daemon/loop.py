"""When what is done: adjustments on a fixed cadence, reactions in between, until the daemon is stopped."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from planner.clock import Clock
from planner.log import get_logger
from planner.report.metrics import PlannerMetrics
from planner.settings import Settings

# Time that an adjustment has to end when the daemon stops.
_STOP_GRACE_S = 0.8

# A loop that has not come round for so many intervals is stuck.
_STUCK_INTERVALS = 3

log = get_logger("planner.daemon")


class Loop:
    """Adjusts and reacts on time; an exception in either is logged and counted, and ends nothing.

    Attributes:
        due: When the next adjustment is due, seconds since the epoch; None before the first.
    """

    def __init__(
        self,
        clock: Clock,
        metrics: PlannerMetrics,
        settings: Callable[[], Settings],
        *,
        prepare: Callable[[], Awaitable[None]],
        adjust: Callable[[], Awaitable[object]],
        react: Callable[[float], Awaitable[object]],
    ) -> None:
        """Make a loop that does not run.

        Args:
            clock: What the time is.
            metrics: Where adjustments that failed or were missed are counted.
            settings: Gives the settings of the moment, for the intervals.
            prepare: Called before each adjustment; it raises nothing.
            adjust: Makes one adjustment.
            react: Makes one reaction, to as many of the last seconds.
        """
        self.due: float | None = None
        self._clock = clock
        self._metrics = metrics
        self._settings = settings
        self._prepare = prepare
        self._adjust = adjust
        self._react = react
        self._stopping = asyncio.Event()
        self._adjusting = False
        self._last_round: float | None = None

    @property
    def stopped(self) -> bool:
        """Whether it ends, or has ended."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End ``run``: at once while it waits, otherwise within a second."""
        self._stopping.set()

    def trouble(self) -> str | None:
        """Why the process should be restarted: the loop no longer comes round; None if all is well."""
        if self._last_round is None or self._adjusting:
            return None
        late = self._clock.now() - self._last_round
        limit = _STUCK_INTERVALS * self._settings().adjustment_interval
        return f"no adjustment for {late:.0f} s" if late > limit else None

    async def run(self) -> None:
        """Adjust at once and then once an interval, on a fixed cadence, until ``stop``."""
        self.due = due = self._clock.now()
        while await self._sleep_until(due):
            await self._prepare()
            if not await self._finish_or_stop(self._guarded_adjustment(due)):
                break
            last, due = due, self._next_due(due)
            self.due = due
            if not await self._react_between(last, due):
                break

    async def _react_between(self, last: float, due: float) -> bool:
        """Look now and then whether more is needed at once, until shortly before an adjustment; False if it stops."""
        every = self._settings().reaction_interval_s
        moment = last
        while every:
            moment += every * max(1, math.ceil((self._clock.now() - moment) / every))
            if moment > due - every / 2:
                break
            if not await self._sleep_until(moment):
                return False
            if not await self._finish_or_stop(self._guarded_reaction(every)):
                return False
        return True

    def _next_due(self, due: float) -> float:
        """The next instant of the cadence that is still to come; instants that passed are left out and counted."""
        interval = self._settings().adjustment_interval
        missed = max(0, int((self._clock.now() - due) // interval))
        if missed:
            self._metrics.missed_ticks.inc(missed)
            log.warning("adjustments left out: the last one took too long", missed=missed)
        return due + (missed + 1) * interval

    async def _guarded_adjustment(self, due: float) -> None:
        self._adjusting = True
        try:
            await self._adjust()
        except Exception:
            self._metrics.tick_failures.inc()
            log.exception("adjustment failed; the last decision stands", due=due)
        finally:
            self._adjusting = False
            self._last_round = self._clock.now()

    async def _guarded_reaction(self, span_s: float) -> None:
        try:
            await self._react(span_s)
        except Exception:
            self._metrics.tick_failures.inc()
            log.exception("reaction failed; the last decision stands")

    async def _sleep_until(self, due: float) -> bool:
        """Wait until something is due; False if the loop stops instead."""
        sleeping = asyncio.create_task(self._clock.sleep_until(due))
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sleeping, stopping):
            task.cancel()
        return not self.stopped

    async def _finish_or_stop(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do something to its end; when the loop stops meanwhile it has a moment left. False if it stops."""
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self.stopped and not working.done():
            await asyncio.wait({working}, timeout=_STOP_GRACE_S)
            working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return not self.stopped
