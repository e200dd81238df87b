"""Waiting for what happens elsewhere, in other tasks, processes and servers."""

from __future__ import annotations

import asyncio
import contextlib
import time


async def until(holds, within_s=60.0, *, passing_over=()):
    """Wait until something holds: a function, plain or async, that returns something true; gives that back.

    Args:
        holds: The function.
        within_s: After so many seconds the test fails.
        passing_over: Exceptions that may be raised until then.
    """
    deadline = time.monotonic() + within_s
    while True:
        with contextlib.suppress(*passing_over):
            found = holds()
            if found := await found if asyncio.iscoroutine(found) else found:
                return found
        assert time.monotonic() < deadline, f"still not so after {within_s} s"
        await asyncio.sleep(0.02)
