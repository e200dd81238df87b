"""What was measured so far, kept on disk after every point."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from profiles.making.progress import MakingError

Entry = dict[str, Any]


class Journal:
    """A file of JSON lines: what is to be measured, then a line for each point that was.

    A line that a crash tore off is left out when it is read again.
    """

    def __init__(self, file: Path, plan: Mapping[str, Any]) -> None:
        """Open a journal, or begin it.

        Args:
            file: Where it is.
            plan: What is to be measured: values that JSON has.

        Raises:
            MakingError: It is of another plan, in use, or cannot be read or written.
        """
        self.file = file
        self.entries: list[Entry] = []
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._stream = file.open("a+b")
        except OSError as error:
            raise MakingError(f"{file} cannot be used: {error}") from error
        try:
            self._begin(plan)
        except BaseException:
            self.close()
            raise

    def _begin(self, plan: Mapping[str, Any]) -> None:
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stream.seek(0)
            if content := self._stream.read():
                self._resume(content, plan)
            else:
                self._append({"plan": plan})
        except BlockingIOError:
            raise MakingError(f"{self.file} is in use: another measurement writes there") from None
        except OSError as error:
            raise MakingError(f"{self.file} cannot be used: {error}") from error

    def close(self) -> None:
        """Let others have it."""
        self._stream.close()

    def _resume(self, content: bytes, plan: Mapping[str, Any]) -> None:
        whole = content[: content.rfind(b"\n") + 1]
        try:
            header, *self.entries = [json.loads(line) for line in whole.splitlines()]
            begun = header["plan"]
        except (ValueError, KeyError, TypeError) as error:
            raise MakingError(
                f"{self.file} is no journal of a measurement; remove it or choose another folder"
            ) from error
        wanted = json.loads(json.dumps(plan))
        if begun != wanted:
            other = ", ".join(
                f"{key} {begun.get(key)!r} rather than {wanted.get(key)!r}"
                for key in sorted(begun.keys() | wanted.keys())
                if begun.get(key) != wanted.get(key)
            )
            raise MakingError(
                f"{self.file} was begun with {other}: go on as it was begun, or start anew with --restart"
            )
        self._stream.truncate(len(whole))

    def add(self, entry: Entry) -> None:
        """Keep a point.

        Raises:
            MakingError: The file cannot be written.
        """
        self.entries.append(entry)
        try:
            self._append(entry)
        except OSError as error:
            raise MakingError(f"{self.file} cannot be written: {error}") from error

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(entry).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())
