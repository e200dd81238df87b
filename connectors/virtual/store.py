"""Where the state of a virtual deployment is kept."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import IO, Any

from connectors.base import ConnectorError
from connectors.virtual.state import VirtualState

_VERSION = 1
# Whatever reading a file that was torn, or written by something else, may end with.
_NOT_UNDERSTOOD = (ValueError, ArithmeticError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


class StoreRefusedError(ConnectorError):
    """The store can be reached and refuses: trying again does not help."""


class VirtualStore(ABC):
    """Keeps one state, changes it step by step, and wakes who waits for a change.

    Attributes:
        warning: What looked wrong at the start but ends nothing; None if nothing did.
    """

    warning: str | None = None

    @property
    @abstractmethod
    def state(self) -> VirtualState:
        """The state now."""

    @property
    def trouble(self) -> str | None:
        """Why ``state`` says nothing yet; None if it does."""
        return None

    @property
    def standby(self) -> str | None:
        """Why decisions are not published here: another planner does that; None if they are."""
        return None

    async def read(self) -> VirtualState:
        """The state as it is known for sure, where ``state`` may lag behind or not be known yet.

        Raises:
            ConnectorError: It is not known.
        """
        return self.state

    @abstractmethod
    async def start(self) -> None:
        """Make ready.

        Raises:
            ConnectorError: State can never be kept as configured.
        """

    @abstractmethod
    async def update(self, change: Callable[[VirtualState], VirtualState]) -> VirtualState:
        """Replace the state by what ``change`` makes of it, as one step; whatever ``change`` raises is passed on.

        Raises:
            ConnectorError: The new state could not be kept; the old one stands.
        """

    @abstractmethod
    async def changed(self, seen: VirtualState) -> VirtualState:
        """Return the state as soon as it is another one than ``seen``."""

    @abstractmethod
    async def check(self) -> str:
        """Look whether state can be kept, without changing it; how it stands, in a few words.

        Raises:
            ConnectorError: It cannot.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything; may be called without ``start``."""


class HeldError(ConnectorError):
    """The state is kept by a planner that runs."""


class EmbeddedStore(VirtualStore):
    """Keeps the state in memory, and in a file if one is given.

    The file is replaced as a whole, so that it is never half-written. One that cannot be understood is set aside under
    another name and reported in ``warning``; it ends nothing.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Prepare; nothing is read before ``start``.

        Args:
            file: Where to keep the state; None for memory alone.
        """
        self._file = file
        self._state = VirtualState()
        self._condition = asyncio.Condition()
        self._lock: IO[str] | None = None

    @property
    def state(self) -> VirtualState:
        """The state now."""
        return self._state

    async def start(self) -> None:
        """Read the file and keep other processes off it."""
        if self._file is not None and self._lock is None:
            await asyncio.to_thread(self._open, self._file)

    def _open(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = _lock_file(file).open("a", encoding="utf-8")
        except OSError as error:
            raise ConnectorError(
                f"state cannot be kept in {file.parent}: {error}; set --state-dir to a folder that can be written"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConnectorError(
                f"another planner keeps its state in {file}; give each its own --namespace or --state-dir"
            ) from None
        self._lock = lock
        self._state = self._load(file)

    def _load(self, file: Path) -> VirtualState:
        try:
            text = file.read_bytes()
        except FileNotFoundError:
            return VirtualState()
        except OSError as error:
            raise ConnectorError(f"state {file} cannot be read: {error}") from error
        try:
            return _understand(text)
        except _NOT_UNDERSTOOD as error:
            aside = _set_aside(file)
            self.warning = f"state {file} is not understood ({error!r}); kept as {aside.name}, decisions start anew"
            return VirtualState()

    async def update(self, change: Callable[[VirtualState], VirtualState]) -> VirtualState:
        """Replace the state by what ``change`` makes of it, as one step."""
        async with self._condition:
            state = change(self._state)
            if state != self._state:
                # A writer that is cancelled half-way must not leave memory and file apart.
                await _to_the_end(self._keep(state))
            return state

    async def _keep(self, state: VirtualState) -> None:
        if self._file is not None:
            content = json.dumps({"version": _VERSION, "state": state.to_dict()}) + "\n"
            try:
                await asyncio.to_thread(_replace, self._file, content)
            except OSError as error:
                raise ConnectorError(f"state {self._file} cannot be written: {error}") from error
        self._state = state
        self._condition.notify_all()

    async def changed(self, seen: VirtualState) -> VirtualState:
        """Return the state as soon as it is another one than ``seen``."""
        async with self._condition:
            await self._condition.wait_for(lambda: self._state != seen)
            return self._state

    async def check(self) -> str:
        """Look whether the folder can be written and the file understood."""
        if self._file is None:
            return "kept in memory"
        return await asyncio.to_thread(_inspect, self._file)

    async def close(self) -> None:
        """Let other processes have the file, as soon as nothing is being written."""
        async with self._condition:
            if self._lock is not None:
                self._lock.close()
                self._lock = None


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await something whole, and only then let a cancellation have its way."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    error = task.exception()
    if cancelled:
        raise asyncio.CancelledError
    if error is not None:
        raise error


def _inspect(file: Path) -> str:
    folder = next(path for path in file.parents if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConnectorError(f"{folder} is no folder that can be written; set --state-dir to one")
    if _locked(_lock_file(file)):
        raise HeldError(f"a planner that runs now keeps its state in {file}")
    if not file.exists():
        return f"will be kept in {file}"
    if not file.is_file():
        raise ConnectorError(f"{file} is no file; set --state-dir to another folder")
    try:
        state = _understand(file.read_bytes())
    except (OSError, *_NOT_UNDERSTOOD) as error:
        return f"{file} is not understood ({error!r}); it will be set aside"
    return f"{file} is at decision {state.decision.decision_id}"


def _lock_file(file: Path) -> Path:
    return file.with_suffix(".lock")


def _locked(lock_file: Path) -> bool:
    if not lock_file.is_file():
        return False
    with lock_file.open(encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _understand(text: bytes) -> VirtualState:
    content = json.loads(text)
    if content["version"] != _VERSION:
        raise ValueError(f"version {content['version']}, not {_VERSION}")
    return VirtualState.from_dict(content["state"])


def _set_aside(file: Path) -> Path:
    number = 1
    while (aside := file.with_name(f"{file.name}.corrupt-{number}")).exists():
        number += 1
    return file.replace(aside)


def _replace(file: Path, content: str) -> None:
    """Write a file so that it is either the old or the new one, whenever the machine stops."""
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
