"""Processes that work side by side, and how far each piece of work has come."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

from predictors.threads import one_thread_each

K = TypeVar("K")
T = TypeVar("T")
Report = Callable[[int], None]
"""Takes how far a piece of work has come, a number of its own choice."""

# Of a process whose work nobody waits for any more.
_EXIT_ABANDONED = 1
# Between two looks at how far all have come.
_PAUSE_S = 0.1
# How far each piece of work has come, shared between processes.
_progress: Any = None


class Crew:
    """Processes that work side by side; they end with the context, at once if it ends by an exception.

    Each has one thread for linear algebra.
    """

    def __init__(self, pieces: int, *, processes: int | None) -> None:
        """Prepare; no process runs before the first piece of work is handed over.

        Args:
            pieces: How many pieces of work are told apart in ``progress``.
            processes: Pieces done at a time; None for as many as there are cores that this process may use.
        """
        processes = processes or _cores()
        context = multiprocessing.get_context("spawn")
        self._counts: Any = context.Array("q", max(1, pieces), lock=False)
        self._pool: Any = ProcessPool(
            max_workers=max(1, min(processes, pieces)),
            context=context,
            initializer=_begin,
            initargs=(self._counts,),
        )
        self._surroundings = ExitStack()

    def __enter__(self) -> Self:
        """Take on work."""
        # Started by a thread of its own accord, it would leave that thread and its processes with Ctrl-C unblocked.
        resource_tracker.ensure_running()
        self._surroundings.enter_context(one_thread_each())
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for what has begun, or end it."""
        with self._surroundings:
            if kind is None:
                self._pool.close()
            else:
                self._pool.stop()
            self._pool.join()

    def submit(self, piece: int, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Hand over ``work(*arguments, report)``; all of it must be picklable."""
        self._counts[piece] = 0
        with _deaf_to_ctrl_c():
            future: Future[T] = self._pool.schedule(_carry_out, args=[piece, work, arguments])
        return future

    def progress(self, piece: int) -> int:
        """How far a piece of work has come, as it last reported."""
        return int(self._counts[piece])


def _cores() -> int:
    """Cores that this process may use: a container or taskset may leave it fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Have the threads that are started, and the processes that these start, never see Ctrl-C.

    It reaches every process of a terminal, also one that has just begun; the one that has the others ends them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(progress: Any) -> None:
    global _progress  # noqa: PLW0603 - the one way to hand shared memory to a pool's processes
    _progress = progress
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that has it is gone: nobody is left to take its results."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(_EXIT_ABANDONED)


def _carry_out(piece: int, work: Callable[..., T], arguments: Sequence[Any]) -> T:
    def report(count: int) -> None:
        _progress[piece] = count

    return work(*arguments, report)


class LostWorkError(Exception):
    """A process ended in the middle of its work; the message says what to do."""


def until_over(futures: Collection[Future[Any]]) -> Iterator[None]:
    """Come back some times a second, until all have ended.

    Raises:
        LostWorkError: A process was ended from outside.
        Exception: What the first of them raised.
    """
    while not all(future.done() for future in futures):
        fail_early(futures)
        yield
        time.sleep(_PAUSE_S)
    fail_early(futures)


def fail_early(futures: Iterable[Future[Any]]) -> None:
    """Raise what the first of them raised, if any did.

    Raises:
        LostWorkError: Its process was ended from outside.
    """
    for future in futures:
        if not future.done():
            continue
        error = future.exception()
        if isinstance(error, ProcessExpired):
            raise LostWorkError(
                f"a process was ended in the middle of its work (exit code {error.exitcode}), perhaps for lack of "
                "memory; try --processes 1"
            ) from error
        if error is not None:
            raise error


def results(futures: Mapping[K, Future[T]]) -> dict[K, T]:
    """What came of those that ended well."""
    ended = {key: future for key, future in futures.items() if future.done() and not future.cancelled()}
    return {key: future.result() for key, future in ended.items() if future.exception() is None}
