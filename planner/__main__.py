"""``python -m planner``."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from planner.cli import EXIT_BAD_CONFIGURATION, EXIT_FAILED, Invocation, failed, interrupted, parse, show_config
from planner.settings import ConfigurationError


def main(arguments: list[str] | None = None) -> int:
    """Carry out a command line; the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        invocation = parse(arguments, os.environ)
    except ConfigurationError as error:
        print(f"python -m planner: error: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_BAD_CONFIGURATION
    try:
        with _sigterm_as_ctrl_c():
            code = _carry_out(invocation)
        # What is left of it, while an error can still be told.
        print(end="", flush=True)  # noqa: T201
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        return _unprinted(invocation, error)
    except KeyboardInterrupt:
        return interrupted(invocation, "stopped")
    return code


def _carry_out(invocation: Invocation) -> int:
    if invocation.print_config:
        print(show_config(invocation))  # noqa: T201
        return 0
    return invocation.command.load()(invocation)


def _unprinted(invocation: Invocation, error: OSError) -> int:
    """Tell that standard output takes no more; whoever closed a pipe knows."""
    # Python would try once more at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return EXIT_FAILED
    return failed(invocation, OSError(f"output cannot be written: {error.strerror}"), EXIT_FAILED)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Whoever ends a job or a container sends SIGTERM: it does what Ctrl-C does. Daemons have handlers of their own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        # None stands for a handler that is not Python's, which cannot be set from here.
        if before is not None:
            signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
