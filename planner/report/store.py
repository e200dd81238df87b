"""Writing records to a history file: bounded, and durable."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from planner.report.database import HistoryError, is_damage, open_for_writing, set_aside
from planner.report.life import Life
from planner.report.reader import HistoryReader
from planner.report.record import Record

_DAY_S = 86400.0
_MB = 1_000_000
# Bounds are looked after once in so many writes; a file may exceed them by that much.
_TIDY_EVERY = 50
# A file that is too large is cut to so much of its bound, so that it need not be cut again at once.
_SHRINK_TO = 0.9


class HistoryStore(HistoryReader):
    """A history file that is written; safe to be used from several threads, and every call blocks.

    A record is on the disk when ``add`` returns: it outlives a planner that is killed, and a machine that loses power.
    """

    def __init__(self, path: Path, *, days: float = 30.0, megabytes: float = 256.0) -> None:
        """Nothing is opened before ``open``.

        Args:
            path: The file; it is made with its folder if it is not there.
            days: Records older than this are dropped.
            megabytes: The oldest records are dropped when the file is larger than this.
        """
        super().__init__(path)
        self._days = days
        self._most_bytes = megabytes * _MB
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._run = 0
        self._life = Life(started=0.0, version="", settings={})
        self._until_tidy = 0
        self._complaints: list[str] = []

    def open(self, life: Life) -> None:
        """Open the file and note that a planner starts.

        Raises:
            HistoryError: The file cannot be made or opened.
        """
        with self._lock:
            self._life = life
            self._open()

    def begin(self, life: Life) -> int:
        """Note that the planner goes on with other settings.

        Returns:
            The number of its new run.

        Raises:
            HistoryError: It could not be written.
        """
        self._life = life
        return self._write(self._note_run)

    def _open(self) -> sqlite3.Connection:
        self._connection, complaint = open_for_writing(self.path)
        if complaint:
            self._complaints.append(complaint)
        self._note_run(self._connection)
        return self._connection

    def _note_run(self, connection: sqlite3.Connection) -> int:
        query = "INSERT INTO runs (started, version, settings) VALUES (?, ?, ?)"
        values = (self._life.started, self._life.version, json.dumps(self._life.settings))
        self._run = connection.execute(query, values).lastrowid or 0
        return self._run

    def add(self, record: Record) -> int:
        """Keep a record.

        Returns:
            Its number.

        Raises:
            HistoryError: It could not be written.
        """

        def insert(connection: sqlite3.Connection) -> int:
            number = self._put(connection, None, record)
            self._tidy(connection, record.decision.time)
            return number

        return self._write(insert)

    def settle(self, number: int, record: Record) -> None:
        """Replace a record by what it has become.

        Raises:
            HistoryError: It could not be written.
        """
        self._write(lambda connection: self._put(connection, number, record))

    def complaints(self) -> list[str]:
        """What was wrong with files that were set aside since the last call, a sentence each."""
        with self._lock:
            told, self._complaints = self._complaints, []
        return told

    def close(self) -> None:
        """Let go of the file; may be called more than once."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _write(self, change: Callable[[sqlite3.Connection], int]) -> int:
        """Make a change in one transaction; if the file turns out to be damaged, in a new one."""
        with self._lock:
            if self._connection is None:
                raise HistoryError(f"the history {self.path} is not open")
            try:
                try:
                    return _in_transaction(self._connection, change)
                except sqlite3.Error as error:
                    if not is_damage(error):
                        raise
                    return _in_transaction(self._begin_anew(error), change)
            except (OSError, sqlite3.Error) as error:
                raise HistoryError(f"the history {self.path} cannot be written: {error}") from error

    def _begin_anew(self, error: sqlite3.Error) -> sqlite3.Connection:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        aside = set_aside(self.path)
        self._complaints.append(
            f"the history {self.path} is damaged ({error}); it was set aside as {aside.name} and a new one begun"
        )
        return self._open()

    def _put(self, connection: sqlite3.Connection, number: int | None, record: Record) -> int:
        values = {"id": number, "run": self._run, **_columns(record)}
        query = f"INSERT OR REPLACE INTO records ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"  # noqa: S608 - names of ours
        return connection.execute(query, list(values.values())).lastrowid or 0

    def _tidy(self, connection: sqlite3.Connection, now: float) -> None:
        """Keep within the bounds; the record just written stays, whatever they are."""
        self._until_tidy -= 1
        if self._until_tidy > 0:
            return
        self._until_tidy = _TIDY_EVERY
        connection.execute("DELETE FROM records WHERE time < ?", [now - self._days * _DAY_S])
        if (used := _used_bytes(connection)) > self._most_bytes:
            count = connection.execute("SELECT count(*) FROM records").fetchone()[0]
            surplus = min(count - 1, math.ceil(count * (1 - _SHRINK_TO * self._most_bytes / used)))
            connection.execute(
                "DELETE FROM records WHERE id IN (SELECT id FROM records ORDER BY id LIMIT ?)", [surplus]
            )
        connection.execute("DELETE FROM runs WHERE id <> ? AND id NOT IN (SELECT run FROM records)", [self._run])
        connection.execute("PRAGMA incremental_vacuum").fetchall()


def _in_transaction(connection: sqlite3.Connection, change: Callable[[sqlite3.Connection], int]) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = change(connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return result


def _columns(record: Record) -> dict[str, Any]:
    seen, decision = record.observation, record.decision
    return {
        "time": decision.time,
        "kind": record.kind.value,
        "action": decision.action.value,
        "prefill_changed": int(decision.prefill != decision.previous_prefill),
        "decode_changed": int(decision.decode != decision.previous_decode),
        "request_rate_rps": seen.request_rate_rps,
        "ttft_ms": seen.ttft_ms,
        "itl_ms": seen.itl_ms,
        "document": json.dumps(record.to_dict(), separators=(",", ":")),
    }


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size
