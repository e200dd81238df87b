"""Patience: up at once, down only when the need has stayed low."""

from __future__ import annotations

import math
from collections import deque

# What is asked back within so many windows was given up too soon: for so many more, a pool is known to swing.
_TOO_SOON, _KNOWN_FOR = 5, 20
# A swing is what its needs of so many windows differ by, if that is at most this share of the need, or a worker.
_SWING_WINDOWS, _SWING = 3, 0.2


class ScaleDownWindow:
    """Remembers what was needed and holds a pool at the highest need of the last while.

    Until a whole window has been watched it cannot know that highest need, and holds a pool where it is: a planner
    that has just started takes nothing away. A pool that asks back what it has just given up swings on noise: it is
    held at the top of its swing, as long as that is small, for several windows.
    """

    def __init__(self) -> None:
        self._needs: deque[tuple[float, int]] = deque()
        self._watching_since: float | None = None
        self._given_up = self._swings_until = -math.inf

    def settle(self, time: float, window_s: float, need: int, previous: int | None, keep: int | None = None) -> int:
        """The workers to run now.

        Args:
            time: Now, seconds.
            window_s: How far back needs count, seconds.
            need: Workers the load needs now.
            previous: Workers asked for before; None if unknown.
            keep: Workers worth keeping, as the need may soon be as much; at least ``need``, which it is if left out.

        Returns:
            ``need`` when it is not below ``previous``; otherwise the most that was worth keeping within the window, but
            never more than ``previous``: patience keeps what is there and adds nothing. A pool that is known to swing
            is held at the top of a small swing for longer.
        """
        if self._watching_since is None:
            self._watching_since = time
        self._needs.append((time, need if keep is None else keep))
        while self._needs[0][0] < time - _SWING_WINDOWS * window_s:
            self._needs.popleft()
        if previous is None:
            return need
        if need > previous:
            self.ask_back(time, window_s)
        if need >= previous:
            return need
        if time - self._watching_since < window_s:
            return previous
        settled = min(previous, max(self._highest(time - window_s), self._top_of_swing(time, need)))
        if settled < previous:
            self._given_up = time
        return settled

    def ask_back(self, time: float, window_s: float) -> None:
        """Take note that more workers are asked for, perhaps again."""
        if time - self._given_up <= _TOO_SOON * window_s:
            self._swings_until = time + _KNOWN_FOR * window_s

    def _highest(self, since: float) -> int:
        return max((past for time, past in self._needs if time >= since), default=0)

    def _top_of_swing(self, time: float, need: int) -> int:
        """The highest need of several windows, if the pool is known to swing about that far; else 0."""
        top = self._highest(-math.inf)
        swings = time < self._swings_until and top <= need + math.ceil(_SWING * need)
        return top if swings else 0

    def remember(self, time: float, need: int) -> None:
        """Take in a need that arose between two settlements, or before a restart."""
        if self._watching_since is None:
            self._watching_since = time
        self._needs.append((time, need))

    def interrupt(self) -> None:
        """Nobody watched for a while: begin anew."""
        self._needs.clear()
        self._watching_since = None

    def forget(self) -> None:
        """Drop the needs remembered: they no longer hold anything up."""
        self._needs.clear()
