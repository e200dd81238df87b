"""Reading the records of a history file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from planner.core.decision import Action
from planner.report.database import HistoryError, open_for_reading
from planner.report.life import Run
from planner.report.record import Record


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
        condition, values = replace(
            only, since=only.since if since is None else since, until=only.until if until is None else until
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

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one read; every error of SQLite is a HistoryError."""
        with closing(open_for_reading(self.path)) as connection:
            try:
                yield connection
            except (sqlite3.Error, ValueError) as error:
                raise HistoryError(f"the history {self.path} cannot be read: {error}") from error


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
