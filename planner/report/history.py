"""The history of a running planner: the newest in memory, all of it in a file, live for whoever listens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from planner.report.database import HistoryError
from planner.report.life import Life
from planner.report.record import Record
from planner.report.store import HistoryStore

# An adjustment waits no longer than this for a slow disk; the record is written all the same.
_PATIENCE_S = 2.0
# With so many writes waiting, a disk has failed: records are kept in memory only.
_MOST_WAITING = 100

Announced = Future[int]
"""A record on its way to the disk; its result is the number of the record."""


class History:
    """What happened, newest last: in memory always, and in a file if one is given.

    No call blocks the event loop. A file that cannot be written costs records in the file, never an adjustment.
    """

    def __init__(
        self, size: int, store: HistoryStore | None = None, *, on_failure: Callable[[str], None] = lambda _: None
    ) -> None:
        """Begin with nothing.

        Args:
            size: Records kept in memory.
            store: The file; none if left out.
            on_failure: Told when the file cannot be opened, written or read, a sentence each.
        """
        self.store = store
        self._records: deque[Record] = deque(maxlen=size)
        self._number = 0
        self._on_failure = on_failure
        self._listeners: set[asyncio.Queue[Record]] = set()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history") if store else None
        self._waiting = 0
        self._open = False

    async def start(self, life: Life) -> None:
        """Open the file and remember the newest records in it; a file that cannot be used is reported."""
        if self.store is None:
            return
        store = self.store
        size = self._records.maxlen

        def begin() -> list[Record]:
            store.open(life)
            return store.records(limit=size)

        try:
            records = await asyncio.get_running_loop().run_in_executor(self._writer, begin)
        except HistoryError as error:
            self._on_failure(f"{error}; it is kept in memory only")
            return
        self._open = True
        self._records.extend(records)
        self._tell_complaints(store)

    async def begin(self, life: Life) -> None:
        """Note that the planner goes on with other settings."""
        await self._write(lambda store: store.begin(life))

    async def close(self) -> None:
        """Write what waits to be written and let go of the file; may be called more than once."""
        if self._writer is None or self.store is None:
            return
        writer, self._writer = self._writer, None
        await asyncio.wait([asyncio.get_running_loop().run_in_executor(writer, self.store.close)], timeout=_PATIENCE_S)
        writer.shutdown(wait=False)

    async def announce(self, record: Record) -> Announced | None:
        """Put a decision on the disk before anybody acts on it.

        Args:
            record: What is known so far.

        Returns:
            What to ``add`` the whole record with.
        """
        return await self._write(lambda store: store.add(record))

    async def add(self, record: Record, announced: Announced | None = None) -> Record:
        """Remember a record and tell whoever listens.

        Args:
            record: What happened.
            announced: What ``announce`` returned for it.

        Returns:
            The record with its number.
        """
        if self.store is None:
            self._number += 1
            number: int | None = self._number
        else:
            written = await self._write(lambda store: _put(store, record, announced))
            number = _number(written)
        record = replace(record, id=number)
        self._records.append(record)
        for listener in self._listeners:
            if listener.full():
                listener.get_nowait()
            listener.put_nowait(record)
        return record

    def latest(self, limit: int | None = None) -> Sequence[Record]:
        """The newest records in memory, oldest of them first; all of them if ``limit`` is None."""
        records = list(self._records)
        return records if limit is None else records[-limit:] if limit else []

    def __len__(self) -> int:
        """How many records are in memory."""
        return len(self._records)

    async def documents(
        self, since: float | None = None, until: float | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """The newest records of a time as ``Record.to_dict`` gives them, oldest first; from the file if there is one.

        Args:
            since: Earliest time, seconds since the epoch, itself included; any if None.
            until: Latest time, itself included; any if None.
            limit: Most records to give; all if None.
        """
        if self.store is not None and self._open:
            try:
                return await asyncio.to_thread(self.store.documents, since, until, limit)
            except HistoryError as error:
                self._on_failure(str(error))
        within = [
            record.to_dict()
            for record in self._records
            if (since is None or record.decision.time >= since) and (until is None or record.decision.time <= until)
        ]
        return within if limit is None else within[-limit:] if limit else []

    async def read(self, limit: int) -> list[Record]:
        """The newest records in the file, oldest of them first; none without a file.

        Args:
            limit: Most records to give.
        """
        if self.store is None or not self._open or not limit:
            return []
        try:
            return await asyncio.to_thread(self.store.records, limit=limit)
        except HistoryError as error:
            self._on_failure(str(error))
            return []

    async def thinned(self, since: float, until: float, slices: int) -> list[dict[str, Any]]:
        """Documents for a long view, as ``HistoryReader.thinned``; without a file all that are in memory."""
        if self.store is not None and self._open:
            try:
                return await asyncio.to_thread(self.store.thinned, since, until, slices)
            except HistoryError as error:
                self._on_failure(str(error))
        return await self.documents(since, until)

    @contextmanager
    def subscribe(self, size: int = 100) -> Iterator[asyncio.Queue[Record]]:
        """Records as they come, in a queue; whoever takes them too slowly loses the oldest.

        Args:
            size: Records that wait at most.
        """
        listener: asyncio.Queue[Record] = asyncio.Queue(size)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _write(self, write: Callable[[HistoryStore], int]) -> Announced | None:
        """Have something written, in the order of the calls; wait for it, but not for ever."""
        store = self.store
        if store is None or not self._open or self._writer is None:
            return None
        if self._waiting >= _MOST_WAITING:
            self._on_failure(f"the history {store.path} takes no records: {self._waiting} wait to be written")
            return None
        self._waiting += 1
        writing = self._writer.submit(write, store)
        waiting = asyncio.wrap_future(writing)
        waiting.add_done_callback(self._written)
        await asyncio.wait({waiting}, timeout=_PATIENCE_S)
        return writing

    def _written(self, writing: asyncio.Future[int]) -> None:
        self._waiting -= 1
        if not writing.cancelled() and (error := writing.exception()) is not None:
            self._on_failure(str(error))
        if self.store is not None:
            self._tell_complaints(self.store)

    def _tell_complaints(self, store: HistoryStore) -> None:
        for complaint in store.complaints():
            self._on_failure(complaint)


def _put(store: HistoryStore, record: Record, announced: Announced | None) -> int:
    """Complete what was announced, which has been written or has failed by now; else begin."""
    number = _number(announced)
    if number is None:
        return store.add(record)
    store.settle(number, record)
    return number


def _number(written: Announced | None) -> int | None:
    return written.result() if written is not None and written.done() and not written.exception() else None
