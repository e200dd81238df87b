"""How long workers take from being asked for until they serve."""

from __future__ import annotations

from collections import deque

from planner.core.observation import Workers

_REMEMBERED = 20


class StartupTimes:
    """Follows a pool: every worker that becomes ready has been asked for at some time, the oldest first."""

    def __init__(self, prior_s: float) -> None:
        """Begin without a measurement.

        Args:
            prior_s: What to expect until something was measured, seconds.
        """
        self.prior_s = prior_s
        self._asked: deque[float] = deque()
        self._taken: deque[float] = deque(maxlen=_REMEMBERED)
        self._ready: int | None = None
        self._seen = False

    @property
    def p90_s(self) -> float:
        """The time that nine of ten workers do not exceed, seconds."""
        if not self._taken:
            return self.prior_s
        ordered = sorted(self._taken)
        return ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]

    @property
    def oldest_s(self) -> float | None:
        """When the worker that has been pending longest was asked for, seconds since the epoch.

        None if none is, or if nobody sees what has become of those that were asked for.
        """
        return self._asked[0] if self._asked and self._seen else None

    def see(self, workers: Workers | None, time: float) -> None:
        """Take in what runs at a time."""
        self._seen = workers is not None
        if workers is None:
            return
        if self._ready is not None:
            for _ in range(min(workers.ready - self._ready, len(self._asked))):
                # A clock may be set back.
                self._taken.append(max(0.0, time - self._asked.popleft()))
        self._ready = workers.ready
        while len(self._asked) > workers.pending:
            self._asked.pop()
        while len(self._asked) < workers.pending:
            self._asked.append(time)

    def ask(self, previous: int | None, target: int, time: float) -> None:
        """Take note that a decision asks for more workers than there were."""
        if previous is not None:
            self._asked.extend([time] * max(0, target - previous))
