"""Patience: up at once, down only when the need has stayed low."""

from __future__ import annotations

from collections import deque


class ScaleDownWindow:
    """Remembers what was needed and holds a pool at the highest need of the last while.

    Until a whole window has been watched it cannot know that highest need, and holds a pool where it is: a planner
    that has just started takes nothing away.
    """

    def __init__(self) -> None:
        self._needs: deque[tuple[float, int]] = deque()
        self._watching_since: float | None = None

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
            never more than ``previous``: patience keeps what is there and adds nothing.
        """
        if self._watching_since is None:
            self._watching_since = time
        self._needs.append((time, need if keep is None else keep))
        while self._needs[0][0] < time - window_s:
            self._needs.popleft()
        if previous is None or need >= previous:
            return need
        if time - self._watching_since < window_s:
            return previous
        return min(previous, max(past for _, past in self._needs))

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
