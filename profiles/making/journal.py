"""What was measured so far, kept on disk after every point."""

from __future__ import annotations

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
            MakingError: It is of another plan, or cannot be read or written.
        """
        self.file = file
        self.entries: list[Entry] = []
        try:
            if file.exists():
                self._resume(plan)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                self._append({"plan": plan})
        except OSError as error:
            raise MakingError(f"{file} cannot be used: {error}") from error

    def _resume(self, plan: Mapping[str, Any]) -> None:
        content = self.file.read_bytes()
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
        if whole != content:
            with self.file.open("r+b") as stream:
                stream.truncate(len(whole))

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
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
