"""The life of the workers of one pool: asked for, ready, draining, gone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count

from planner.core.observation import Workers
from planner.simulation.agenda import Agenda

Startup = Callable[[], float]


class Pool(ABC):
    """Workers that take time to start and finish what they have before they leave."""

    def __init__(self, agenda: Agenda, *, startup: Startup) -> None:
        """Make a pool without workers.

        Args:
            agenda: The clock and what is planned on it.
            startup: Gives the time from being asked for until a worker serves, seconds, for each worker anew.
        """
        self._agenda = agenda
        self._startup = startup
        self._numbers = count()
        self._pending: dict[int, None] = {}
        self._ready = 0
        self._draining = 0

    @property
    def workers(self) -> Workers:
        """The workers there are, by what they do."""
        return Workers(ready=self._ready, pending=len(self._pending), draining=self._draining)

    @property
    @abstractmethod
    def busy(self) -> int:
        """Workers that have something to do, draining ones among them."""

    def open(self, workers: int) -> None:
        """Add workers that serve at once, as those do that ran before the beginning.

        Raises:
            ValueError: ``workers`` is negative.
        """
        _check(workers)
        for _ in range(workers):
            self._ready += 1
            self._add_worker()

    def scale(self, target: int) -> None:
        """Ask for ``target`` workers, ready and pending ones together.

        What is too much goes at once if it is pending, youngest first; ready workers drain. A worker that drains never
        comes back.

        Raises:
            ValueError: ``target`` is negative.
        """
        _check(target)
        missing = target - self._ready - len(self._pending)
        for _ in range(missing):
            number = next(self._numbers)
            self._pending[number] = None
            self._agenda.plan(self._agenda.now_s + self._startup(), self._started, number)
        for _ in range(-missing):
            if self._pending:
                self._pending.popitem()
            else:
                self._ready -= 1
                self._draining += 1
                self._drain_worker()

    def fail(self) -> bool:
        """Let a ready worker end at once; what it was doing goes back to the head of the queue.

        Returns:
            Whether there was one.
        """
        if not self._ready:
            return False
        self._ready -= 1
        self._lose_worker()
        return True

    def _started(self, number: int) -> None:
        if number in self._pending:
            del self._pending[number]
            self._ready += 1
            self._add_worker()

    def _left(self) -> None:
        """A draining worker has finished."""
        self._draining -= 1

    @abstractmethod
    def _add_worker(self) -> None:
        """Let one more worker serve."""

    @abstractmethod
    def _drain_worker(self) -> None:
        """Give nothing new to the ready worker that can leave soonest; ``_left`` once it has finished."""

    @abstractmethod
    def _lose_worker(self) -> None:
        """Take a ready worker away, with everything it holds."""


def _check(workers: int) -> None:
    if workers < 0:
        raise ValueError(f"workers is {workers}; a pool has 0 or more")
