"""Where models are fitted: in the caller, or in a process of their own with a time limit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from predictors.threads import one_thread_each

T = TypeVar("T")


class Fitter(Protocol):
    """Somewhere to run a fit."""

    def submit(self, fit: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run ``fit(*arguments)``; both must be picklable. The future may already be done."""
        ...


class InlineFitter:
    """Fits at once, in the caller: repeatable, and all that a library or a simulator needs."""

    def submit(self, fit: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run the fit now; the future is done."""
        future: Future[T] = Future()
        try:
            future.set_result(fit(*arguments))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asks for the result
            future.set_exception(error)
        return future


class _GuestProcess(SpawnProcess):
    """A process that does not run the main program again, which may be anyone's and guard nothing."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - its name in the standard library
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), main.__dict__.pop("__file__", None)
        main.__spec__ = None
        try:
            with one_thread_each():
                return SpawnProcess._Popen(process_obj)
        finally:
            main.__spec__ = spec
            if file is not None:
                main.__file__ = file


class _GuestContext(SpawnContext):
    # A forked child would inherit the event loop's sockets and threads' locks.
    Process = _GuestProcess


class ProcessFitter:
    """Fits in one other process, which is started at the first fit and killed when a fit takes too long.

    A fit holds Python's global lock for long stretches, so that a thread would not keep an event loop free; and a
    thread cannot be ended.
    """

    def __init__(self, time_limit_s: float) -> None:
        """Prepare; no process runs before the first fit.

        Args:
            time_limit_s: Longest time a fit may take, seconds; its future then ends with TimeoutError.
        """
        self._time_limit_s = time_limit_s
        self._pool: Any = None

    def submit(self, fit: Callable[..., T], *arguments: Any) -> Future[T]:
        """Hand the fit over; it must be defined in a module that can be imported, not in the main program."""
        if self._pool is None:
            from pebble import ProcessPool  # noqa: PLC0415 - only models that are fitted need it

            self._pool = ProcessPool(max_workers=1, context=_GuestContext())
        future: Future[T] = self._pool.schedule(fit, args=list(arguments), timeout=self._time_limit_s)
        return future

    def close(self) -> None:
        """End the process at once."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None


class Fit:
    """At most one fit under way at a time, and what became of the last one."""

    def __init__(self, fitter: Fitter) -> None:
        self._fitter = fitter
        self._held: tuple[Any, ...] | None = None
        self._holding = False
        self.pending: Future[Any] | None = None
        self.last_error: str | None = None

    def begin(self, fit: Callable[..., Any], *arguments: Any) -> None:
        """Start a fit, unless one is still under way."""
        if self._holding:
            self._held = (fit, *arguments)
        elif self.pending is None:
            self.pending = self._fitter.submit(fit, *arguments)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Put off all fits to the end of the context, and do only the last one then."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._held is not None:
                fit, *arguments = self._held
                self._held = None
                self.begin(fit, *arguments)

    def collect(self) -> Any | None:
        """The result of a fit that has ended well since the last call; None otherwise."""
        if self.pending is None or not self.pending.done():
            return None
        ended, self.pending = self.pending, None
        error = ended.exception() if not ended.cancelled() else None
        if ended.cancelled() or error is not None:
            self.last_error = "the fit was cancelled" if error is None else f"{type(error).__name__}: {error}"
            return None
        self.last_error = None
        return ended.result()
