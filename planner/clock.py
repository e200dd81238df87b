"""Where the daemon's time comes from."""

from __future__ import annotations

import asyncio
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

    def __init__(self, speed: float) -> None:
        """Start the clock now.

        Raises:
            ValueError: ``speed`` is not positive.
        """
        if speed <= 0:
            raise ValueError(f"speed is {speed}; it is a factor above 0")
        self.speed = speed
        self._epoch = time.time()
        self._start = time.monotonic()

    def now(self) -> float:
        """Scaled seconds since the epoch."""
        return self._epoch + (time.monotonic() - self._start) * self.speed

    async def sleep_until(self, when: float) -> None:
        """Return once the scaled clock has reached ``when``."""
        while (remaining := when - self.now()) > 0:
            await asyncio.sleep(remaining / self.speed)
