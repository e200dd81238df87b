"""The work queue: nothing twice at a time, nothing lost."""

from __future__ import annotations

import asyncio
import collections

from hypothesis import given
from hypothesis import strategies as st

from planner.dgdr.controller.queue import WorkQueue

A, B = ("ml", "a"), ("ml", "b")


async def test_a_key_waits_once():
    queue = WorkQueue()
    for key in (A, A, B, A):
        queue.add(key)
    assert len(queue) == 2
    assert [await queue.get(), await queue.get()] == [A, B]
    assert len(queue) == 0


async def test_what_changes_meanwhile_is_looked_at_again():
    queue = WorkQueue()
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0, "nobody else may have it meanwhile"
    queue.done(A)
    assert await queue.get() == A
    queue.done(A)
    assert len(queue) == 0


async def test_failures_are_waited_out_longer_each_time_until_it_succeeds():
    queue = WorkQueue()
    assert [queue.retry(A) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    queue.succeed(A)
    assert queue.retry(A) == 0.5
    queue.close()


async def test_of_two_times_the_earlier_one_counts():
    queue = WorkQueue()
    queue.add_after(A, 60)
    queue.add_after(A, 0.01)
    queue.add_after(A, 60)
    assert await asyncio.wait_for(queue.get(), 10) == A
    queue.done(A)
    assert len(queue) == 0
    queue.close()


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(1, 4))
def test_no_two_workers_have_the_same_key_and_every_change_is_looked_at(changes, workers):
    async def run():
        queue, version, seen = WorkQueue(), collections.Counter(), collections.Counter()
        busy = set()

        async def work():
            while True:
                key = await queue.get()
                assert key not in busy
                busy.add(key)
                now = version[key]
                await asyncio.sleep(0)
                seen[key] = now
                busy.discard(key)
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for name in changes:
            version["ml", name] += 1
            queue.add(("ml", name))
            await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
        assert seen == version
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
