"""What is to be looked at: every key at most once at a time, now or later."""

from __future__ import annotations

import asyncio

Key = tuple[str, str]
"""Namespace and name of a request."""

# After a failure a key is looked at again after so many seconds, then after twice as many, up to the longest.
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.5, 60.0


class WorkQueue:
    """Keys to reconcile.

    A key that is added while it waits is not added again; one that is added while it is worked on comes again after
    that. So no two workers ever have the same one, and no change goes unseen.
    """

    def __init__(self, *, first_retry_s: float = _FIRST_RETRY_S) -> None:
        """Nothing is to be done yet.

        Args:
            first_retry_s: How long after its first failure a key comes again, seconds.
        """
        self._first_retry_s = first_retry_s
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._in_work: set[Key] = set()
        self._again: set[Key] = set()
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        """Keys that wait to be looked at now."""
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """Have a key looked at as soon as possible."""
        if key in self._in_work:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have a key looked at after so many seconds, or earlier if that was asked for already."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        if (planned := self._later.get(key)) is not None:
            if planned.when() <= when:
                return
            planned.cancel()
        self._later[key] = loop.call_at(when, self._fall_due, key)

    def _fall_due(self, key: Key) -> None:
        del self._later[key]
        self.add(key)

    async def get(self) -> Key:
        """The next key; it is the caller's until ``done``."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._in_work.add(key)
        return key

    def done(self, key: Key) -> None:
        """Give a key back."""
        self._in_work.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def retry(self, key: Key) -> float:
        """Have a key that failed looked at again; the seconds until then, which grow with every failure in a row."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait_s = min(_LONGEST_RETRY_S, self._first_retry_s * 2.0 ** min(failures - 1, 20))
        self.add_after(key, wait_s)
        return wait_s

    def succeed(self, key: Key) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """Let nothing fall due any more."""
        for timer in self._later.values():
            timer.cancel()
        self._later.clear()
