"""Estimates under way: what takes long and is done here, off the loop that reconciles."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from planner.dgdr.controller.queue import Key
from planner.dgdr.generate import Generated
from profiles.making.progress import OnProgress, Progress

Make = Callable[[OnProgress], Awaitable[Generated]]


@dataclass(slots=True)
class Piece:
    """One estimate; ``task`` has its result or its error."""

    uid: str
    task: asyncio.Task[Generated]
    progress: Progress | None = None


@dataclass(slots=True)
class Workshop:
    """Makes a few estimates at a time, each once, as each keeps a core busy.

    Nothing of it outlives the process: an estimate changes nothing in the cluster, so it is simply made anew.
    """

    at_once: int = 1
    _pieces: dict[Key, Piece] = field(default_factory=dict)
    _room: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Have room for so many."""
        self._room = asyncio.Semaphore(self.at_once)

    def piece(self, key: Key, uid: str, make: Make, on_done: Callable[[], None]) -> Piece:
        """The estimate for a request, begun if it is not yet.

        Args:
            key: Namespace and name of the request.
            uid: Its identity.
            make: Makes it.
            on_done: Called when it has ended, however.
        """
        self.drop(key, unless=uid)
        if (found := self._pieces.get(key)) is not None:
            return found
        piece = Piece(uid, asyncio.create_task(self._make(key, make), name=f"estimate {'/'.join(key)}"))
        self._pieces[key] = piece
        piece.task.add_done_callback(lambda task: _ended(task, on_done))
        return piece

    async def _make(self, key: Key, make: Make) -> Generated:
        def tell(progress: Progress) -> None:
            if (piece := self._pieces.get(key)) is not None:
                piece.progress = progress

        async with self._room:
            return await make(tell)

    def drop(self, key: Key, *, unless: str | None = None) -> None:
        """Forget an estimate, and stop it if it has not ended; unless it is for the request of this identity."""
        if (piece := self._pieces.get(key)) is not None and piece.uid != unless:
            del self._pieces[key]
            piece.task.cancel()

    async def close(self) -> None:
        """Stop all."""
        tasks = [piece.task for piece in self._pieces.values()]
        for key in list(self._pieces):
            self.drop(key)
        await asyncio.gather(*tasks, return_exceptions=True)


def _ended(task: asyncio.Task[Generated], on_done: Callable[[], None]) -> None:
    if not task.cancelled():
        # Looked at here, so that nothing complains of an error that came after its request was deleted.
        task.exception()
        on_done()
