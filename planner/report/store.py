"""Records in an SQLite file: bounded, durable, and quick to read."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.core.decision import Action
from planner.report.database import HistoryError, is_damage, open_for_reading, open_for_writing, set_aside
from planner.report.record import Record

_DAY_S = 86400.0
_MB = 1_000_000
# Bounds are looked after once in so many writes; a file may exceed them by that much.
_TIDY_EVERY = 50
# A file that is too large is cut to so much of its bound, so that it need not be cut again at once.
_SHRINK_TO = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One run of a planner with the same settings.

    Attributes:
        started: When it started, or took its settings anew, seconds since the epoch.
        version: The planner's version.
        settings: Its settings, by name, as JSON has them; secrets are masked.
    """

    started: float
    version: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Life):
    """A life in the history.

    Attributes:
        id: Its number.
    """

    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which records are asked for; what is None does not matter.

    Attributes:
        since: Earliest time, seconds since the epoch, itself included.
        until: Latest time, itself included.
        action: Only decisions that scaled, or that held.
        pool: Only decisions that changed ``prefill`` or ``decode``.
        run: Only records of this run.
        after: Only records with a higher number than this.
    """

    since: float | None = None
    until: float | None = None
    action: Action | None = None
    pool: str | None = None
    run: int | None = None
    after: int | None = None

    def where(self) -> tuple[str, list[Any]]:
        """The condition in SQL, and its parameters."""
        conditions: dict[str, Any] = {
            "time >= ?": self.since,
            "time <= ?": self.until,
            "action = ?": self.action,
            "run = ?": self.run,
            "id > ?": self.after,
        }
        wanted = {text: value for text, value in conditions.items() if value is not None}
        clauses = [*wanted, *([f"{self.pool}_changed"] if self.pool in ("prefill", "decode") else [])]
        return " AND ".join(clauses) or "1", list(wanted.values())


class HistoryReader:
    """Reads a history file, also while a planner writes it; every call may come from any thread, and blocks.

    Raises:
        HistoryError: From every call: the file is not there, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(
        self,
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
        *,
        only: Filter | None = None,
    ) -> list[Record]:
        """The newest records, oldest of them first; those that this version cannot read are left out.

        Args:
            since: Earliest time, seconds since the epoch, itself included.
            until: Latest time, itself included.
            limit: Most records to give; all if None.
            only: What else they must be; its times are used where none are given.
        """
        return list(_readable(self.documents(since, until, limit, only=only)))

    def documents(
        self,
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
        *,
        only: Filter | None = None,
    ) -> list[dict[str, Any]]:
        """As ``records``, as ``Record.to_dict`` gives them: much quicker where they are only passed on."""
        only = only or Filter()
        condition, values = Filter(
            since=only.since if since is None else since,
            until=only.until if until is None else until,
            action=only.action,
            pool=only.pool,
            run=only.run,
            after=only.after,
        ).where()
        query = f"SELECT id, document FROM records WHERE {condition} ORDER BY time DESC, id DESC LIMIT ?"  # noqa: S608
        return self._documents(query, [*values, -1 if limit is None else limit])[::-1]

    def thinned(self, since: float, until: float, slices: int) -> list[dict[str, Any]]:
        """Documents for a long view: time is cut into slices, and of each those that matter are given.

        These are its last record, those with its highest request rate, TTFT and ITL, and every one that scaled: no
        peak and no change is lost, however long the view. Oldest first.

        Args:
            since: Begin of the view, seconds since the epoch.
            until: Its end.
            slices: Number of slices, 1 or more.
        """
        return self._documents(_THINNED, {"since": since, "until": until, "slice": max(until - since, 1e-6) / slices})

    def runs(self) -> list[Run]:
        """The runs there are, oldest first."""
        with self._reading() as connection:
            rows = connection.execute("SELECT id, started, version, settings FROM runs ORDER BY id").fetchall()
        return [
            Run(id=id_, started=start, version=version, settings=json.loads(text)) for id_, start, version, text in rows
        ]

    def count(self, only: Filter) -> int:
        """How many records there are of a kind."""
        condition, values = only.where()
        with self._reading() as connection:
            row = connection.execute(f"SELECT count(*) FROM records WHERE {condition}", values).fetchone()  # noqa: S608
        return int(row[0])

    def span(self) -> tuple[float, float] | None:
        """The times of the first and the last record, seconds since the epoch; None if there is none."""
        with self._reading() as connection:
            first, last = connection.execute("SELECT min(time), max(time) FROM records").fetchone()
        return None if first is None else (first, last)

    def _documents(self, query: str, values: Any) -> list[dict[str, Any]]:
        with self._reading() as connection:
            rows = connection.execute(query, values).fetchall()
        return [{**json.loads(text), "id": number} for number, text in rows]

    def _reading(self) -> _Reading:
        return _Reading(self.path)


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


class _Reading:
    """A connection for one read; every error of SQLite is a HistoryError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        self._connection = open_for_reading(self._path)
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with closing(self._connection):
            if isinstance(error, sqlite3.Error | ValueError):
                raise HistoryError(f"the history {self._path} cannot be read: {error}") from error


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


def _readable(documents: list[dict[str, Any]]) -> Iterator[Record]:
    for document in documents:
        try:
            yield Record.from_dict(document)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue


_THINNED = """
    WITH sliced AS (
        SELECT id, time, action, request_rate_rps, ttft_ms, itl_ms, CAST((time - :since) / :slice AS INTEGER) AS slice
        FROM records WHERE time BETWEEN :since AND :until
    ), ranked AS (
        SELECT id, time, action,
            row_number() OVER (PARTITION BY slice ORDER BY time DESC, id DESC) AS last,
            row_number() OVER (PARTITION BY slice ORDER BY request_rate_rps DESC, id) AS rate,
            row_number() OVER (PARTITION BY slice ORDER BY ttft_ms DESC, id) AS ttft,
            row_number() OVER (PARTITION BY slice ORDER BY itl_ms DESC, id) AS itl
        FROM sliced
    )
    SELECT ranked.id, records.document FROM ranked JOIN records USING (id)
    WHERE 1 IN (last, rate, ttft, itl) OR ranked.action = 'scale'
    ORDER BY ranked.time, ranked.id
"""
