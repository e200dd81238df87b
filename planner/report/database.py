"""The file of the history: how it is opened, brought up to date, and set aside when it is damaged."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import NoReturn

_BUSY_S = 5.0
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        started REAL NOT NULL,
        version TEXT NOT NULL,
        settings TEXT NOT NULL
    );
    CREATE TABLE records (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run INTEGER NOT NULL REFERENCES runs (id),
        time REAL NOT NULL,
        kind TEXT NOT NULL,
        action TEXT NOT NULL,
        prefill_changed INTEGER NOT NULL,
        decode_changed INTEGER NOT NULL,
        request_rate_rps REAL,
        ttft_ms REAL,
        itl_ms REAL,
        document TEXT NOT NULL
    );
    CREATE INDEX records_time ON records (time);
    """,
)
"""What leads from each version of the schema to the next; the version of a file is its ``user_version``."""


class HistoryError(Exception):
    """A history cannot be read or written; the message names the file and what is wrong with it."""


def open_for_writing(path: Path) -> tuple[sqlite3.Connection, str | None]:
    """Open or make a history file; one that cannot be used is set aside, never overwritten.

    Args:
        path: The file.

    Returns:
        The connection, to be used by one thread at a time, and what was wrong with the file there was.

    Raises:
        HistoryError: The file cannot be made or opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _open(path), None
        except _UnusableError as problem:
            aside = set_aside(path)
            return _open(path), f"the history {path} {problem}; it was set aside as {aside.name} and a new one begun"
    except (OSError, sqlite3.Error, _UnusableError) as error:
        raise HistoryError(f"the history {path} cannot be opened: {error}") from error


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a history file that must be there, without changing it.

    Raises:
        HistoryError: It is not there, is no history, or is of a newer version.
    """
    if not path.is_file():
        raise not_there(path)
    try:
        return _connect_for_reading(path, "mode=ro")
    except sqlite3.OperationalError as error:
        problem = error
    except (sqlite3.Error, _UnusableError) as error:
        raise HistoryError(f"the history {path} cannot be read: {error}") from error
    try:
        # A file on a medium that cannot be written needs no locks, and cannot have them.
        return _connect_for_reading(path, "immutable=1")
    except (sqlite3.Error, _UnusableError):
        raise HistoryError(f"the history {path} cannot be read: {problem}") from problem


def not_there(path: Path) -> HistoryError:
    """What to say of a history that is not there: which namespaces have one beside it."""
    names = sorted(other.parent.name for other in path.parent.parent.glob(f"*/{path.name}"))
    hint = f"; there are those of --namespace {', '.join(names)}" if names else ""
    return HistoryError(f"there is no history at {path}{hint}")


def _connect_for_reading(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{options}", uri=True, timeout=_BUSY_S)
    try:
        if not _check_version(connection):
            _refuse("is no history of the planner")
    except BaseException:
        connection.close()
        raise
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error tells that the file itself is broken, rather than busy, full or forbidden."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED


def set_aside(path: Path) -> Path:
    """Rename a file and its journals, out of the way.

    Returns:
        Its new name.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    number = 0
    while (aside := path.with_name(f"{path.name}.damaged-{stamp}" + (f"-{number}" if number else ""))).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


class _UnusableError(Exception):
    """A file is damaged, or of a newer version."""


def _refuse(why: str) -> NoReturn:
    raise _UnusableError(why)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            _refuse(f"is damaged ({verdict})")
        _migrate(connection)
    except sqlite3.Error as error:
        connection.close()
        if is_damage(error):
            raise _UnusableError(f"is damaged ({error})") from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _check_version(connection)
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            for statement in script.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _check_version(connection: sqlite3.Connection) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        _refuse(f"is of version {version}, newer than this planner knows ({len(MIGRATIONS)})")
    return version
