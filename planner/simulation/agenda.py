"""What will happen, in the order in which it will."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")


class Agenda:
    """A virtual clock and what is planned on it. Things planned for the same instant happen in the order of planning.

    Nothing is ever struck off: whoever plans something that may lapse checks, when called, whether it still holds.

    Attributes:
        now_s: The time, seconds from any origin. Near the origin, times are most precise.
    """

    __slots__ = ("_entries", "_numbers", "now_s")

    def __init__(self, start_s: float = 0.0) -> None:
        self.now_s = start_s
        self._entries: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._numbers = count()

    def plan(self, time_s: float, action: Callable[[T], None], subject: T) -> None:
        """Call ``action(subject)`` when the clock shows ``time_s``."""
        heappush(self._entries, (time_s, next(self._numbers), action, subject))

    def advance(self, to_s: float) -> None:
        """Let everything planned up to and including ``to_s`` happen.

        Raises:
            ValueError: ``to_s`` is past already.
        """
        if not to_s >= self.now_s:
            raise ValueError(f"time is {to_s} s; the clock shows {self.now_s} s and never goes back")
        entries = self._entries
        while entries and entries[0][0] <= to_s:
            self.now_s, _, action, subject = heappop(entries)
            action(subject)
        self.now_s = to_s

    @property
    def next_s(self) -> float | None:
        """When the next thing happens; None if nothing is planned."""
        return self._entries[0][0] if self._entries else None
