"""Which worker has the least to do."""

from __future__ import annotations

from typing import Generic, TypeVar

W = TypeVar("W")


class Balance(Generic[W]):
    """Workers by load, a whole number; finding the least loaded one and moving one up or down takes constant time.

    Of workers that are equally loaded, the one that has been so for longest comes first.
    """

    __slots__ = ("_levels", "_lowest", "_size")

    def __init__(self) -> None:
        self._levels: list[dict[W, None]] = [{}]
        self._lowest = 0
        self._size = 0

    def __len__(self) -> int:
        """How many workers there are."""
        return self._size

    @property
    def loaded(self) -> int:
        """How many of them have something to do."""
        return self._size - len(self._levels[0])

    def add(self, worker: W, load: int) -> None:
        """Take in a worker."""
        while len(self._levels) <= load:
            self._levels.append({})
        self._levels[load][worker] = None
        self._lowest = min(self._lowest, load)
        self._size += 1

    def remove(self, worker: W, load: int) -> None:
        """Leave out a worker that has ``load``."""
        del self._levels[load][worker]
        self._size -= 1

    def move(self, worker: W, before: int, load: int) -> None:
        """Take note that a worker's load has changed."""
        self.remove(worker, before)
        self.add(worker, load)

    def least(self) -> W:
        """The least loaded worker.

        Raises:
            IndexError: There is none.
        """
        while not self._levels[self._lowest]:
            self._lowest += 1
        return next(iter(self._levels[self._lowest]))
