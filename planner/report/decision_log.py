"""Decisions as lines of JSON in rotated files: what ``--log-dir`` keeps beside the log, to be read with any tool."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from planner.log import get_logger
from planner.report.history import History
from planner.report.record import Record

DECISION_FILE = "decisions.jsonl"
_ROTATE_BYTES = 10 * 1024 * 1024
_ROTATED_FILES = 5
# So many records wait for a slow disk; then the oldest of them are left out.
_MOST_WAITING = 1000
# At the end the disk is waited for no longer than this.
_PATIENCE_S = 2.0

log = get_logger("planner.report.decision_log")


def decision_files(directory: Path) -> list[Path]:
    """The files of a folder, oldest first; none if it has no decisions."""
    rotated = [directory / f"{DECISION_FILE}.{number}" for number in range(_ROTATED_FILES, 0, -1)]
    return [file for file in (*rotated, directory / DECISION_FILE) if file.is_file()]


class DecisionLog:
    """Writes records to ``decisions.jsonl``, a line each, as ``Record.to_dict`` gives them.

    Every file begins with a line ``{"planner": ...}`` of what the planner runs with, and has another where that
    changes. At 10 MiB a file is renamed to ``decisions.jsonl.1``, and so on; five of them are kept.
    """

    def __init__(
        self, directory: Path, facts: Callable[[], Mapping[str, Any]], *, most_bytes: int = _ROTATE_BYTES
    ) -> None:
        """Open the file, made if need be.

        Args:
            directory: Its folder.
            facts: Tells what the planner runs with.
            most_bytes: Size at which a file is rotated.

        Raises:
            OSError: It cannot be written.
        """
        self._path = directory / DECISION_FILE
        self._facts = facts
        self._most_bytes = most_bytes
        self._told: str | None = None
        self._writing = False
        directory.mkdir(parents=True, exist_ok=True)
        self._file = self._open()

    def write(self, record: Record) -> None:
        """Add a line.

        Raises:
            OSError: It could not be written.
        """
        line = _line(record.to_dict())
        if self._file.tell() and self._file.tell() + len(line) > self._most_bytes:
            self._rotate()
        facts = _line({"planner": self._facts()})
        if facts != self._told:
            self._file.write(facts.encode())
            self._told = facts
        self._file.write(line.encode())
        self._file.flush()

    def close(self) -> None:
        """Let go of the file; may be called more than once."""
        self._file.close()

    @contextlib.asynccontextmanager
    async def following(self, history: History) -> AsyncIterator[None]:
        """Write every record that a history gets, off the event loop; a disk that fails costs lines, nothing else."""
        with history.subscribe(_MOST_WAITING) as records:
            following = asyncio.create_task(self._follow(records), name="decision log")
            try:
                yield
            finally:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PATIENCE_S):
                        while self._writing or not records.empty():
                            await asyncio.sleep(0.01)
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await asyncio.to_thread(self.close)

    async def _follow(self, records: asyncio.Queue[Record]) -> None:
        failing = False
        while True:
            record = await records.get()
            self._writing = True
            try:
                await asyncio.to_thread(self.write, record)
            except OSError as error:
                if not failing:
                    log.warning("decisions are not logged", file=str(self._path), detail=str(error))
                failing = True
            else:
                failing = False
            self._writing = False

    def _open(self) -> BinaryIO:
        file = self._path.open("ab+")
        if file.tell():
            # A line that a killed planner left unfinished must not swallow the next one.
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")
        return file

    def _rotate(self) -> None:
        self._file.close()
        names = [self._path, *(self._path.with_name(f"{DECISION_FILE}.{n}") for n in range(1, _ROTATED_FILES + 1))]
        for older, newer in list(zip(names[1:], names, strict=False))[::-1]:
            if newer.exists():
                newer.replace(older)
        self._file = self._open()
        self._told = None


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":")) + "\n"


def lines_of(files: list[Path]) -> Iterator[Mapping[str, Any] | None]:
    """What the lines of files hold, in their order; None for one that is not JSON, such as an unfinished one.

    Raises:
        OSError: A file cannot be read.
    """
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as text:
            for line in filter(str.strip, text):
                try:
                    content = json.loads(line)
                except ValueError:
                    content = None
                yield content if isinstance(content, dict) else None
