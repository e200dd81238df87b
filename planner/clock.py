"""Where the daemon's time comes from."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """A clock that can be waited on."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    async def sleep_until(self, when: float) -> None:
        """Return once ``now()`` has reached ``when``; at once if it is past."""
        ...


class WallClock:
    """The machine's clock."""

    # A step of the wall clock (NTP, suspend) must not stretch a wait, so long waits are taken in short naps.
    _NAP_S = 5.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep_until(self, when: float) -> None:
        """Return once the wall clock has reached ``when``."""
        while (remaining := when - self.now()) > 0:
            await asyncio.sleep(min(remaining, self._NAP_S))


class ScaledClock:
    """A clock that starts at the wall clock's time and runs ``speed`` times as fast."""

    def __init__(self, speed: float, *, longest_gap_s: float = math.inf) -> None:
        """Start the clock now.

        Args:
            speed: How many times as fast.
            longest_gap_s: Real seconds that count at most between two looks at the clock: a program that looks at it
                all the time, and is stopped in between, finds that no more has passed. ``sleep_until``
                looks often enough for none of its time to be lost.

        Raises:
            ValueError: ``speed`` is not positive.
        """
        if speed <= 0:
            raise ValueError(f"speed is {speed}; it is a factor above 0")
        self.speed = speed
        self._longest_gap_s = longest_gap_s
        self._epoch = time.time()
        self._passed_s = 0.0
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def now(self) -> float:
        """Scaled seconds since the epoch."""
        with self._lock:
            looked = time.monotonic()
            self._passed_s += min(looked - self._looked, self._longest_gap_s)
            self._looked = looked
            return self._epoch + self._passed_s * self.speed

    async def sleep_until(self, when: float) -> None:
        """Return once the scaled clock has reached ``when``."""
        while (remaining := when - self.now()) > 0:
            await asyncio.sleep(min(remaining / self.speed, self._longest_gap_s))
