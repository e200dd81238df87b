"""The processes of one pool: started, watched until they serve, drained, ended."""

import asyncio
import contextlib
import itertools
import socket
import sys
from pathlib import Path

import httpx

from planner import Workers

MOCK_WORKER = Path(__file__).with_name("mock_worker.py")
# What a worker may take to finish what it has.
GRACE_S = 10.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Worker:
    """One child process."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url
        self.ready = asyncio.Event()

    @classmethod
    async def start(cls, role: str) -> "Worker":
        port = free_port()
        command = (sys.executable, str(MOCK_WORKER), "--role", role, "--port", str(port))
        return cls(await asyncio.create_subprocess_exec(*command), f"http://127.0.0.1:{port}")

    async def until_ready(self, http: httpx.AsyncClient) -> None:
        while self.process.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"{self.url}/health")).is_success:
                    self.ready.set()
                    return
            await asyncio.sleep(0.1)

    async def drain(self) -> None:
        """Let it finish what it has, within its grace; then it is gone."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), GRACE_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


class Pool:
    """The workers of one role."""

    def __init__(self, role: str, http: httpx.AsyncClient) -> None:
        self.role = role
        self.http = http
        self.workers: list[Worker] = []
        self.draining: set[asyncio.Task[None]] = set()
        self.turn = itertools.count()

    def count(self) -> Workers:
        """What runs, as the planner wants to know it."""
        ready = len(self.serving())
        return Workers(ready=ready, pending=len(self.workers) - ready, draining=len(self.draining))

    def serving(self) -> list[Worker]:
        """The workers that can take a request."""
        return [worker for worker in self.workers if worker.ready.is_set() and worker.process.returncode is None]

    def bury_the_dead(self) -> bool:
        """Forget processes that ended by themselves; whether there were any."""
        alive = [worker for worker in self.workers if worker.process.returncode is None]
        died, self.workers = len(alive) < len(self.workers), alive
        return died

    async def resize(self, target: int) -> None:
        """Start what is missing and wait until it serves; drain the youngest of what is too much."""
        while len(self.workers) > target:
            task = asyncio.create_task(self.workers.pop().drain())
            self.draining.add(task)
            task.add_done_callback(self.draining.discard)
        missing = target - len(self.workers)
        await asyncio.gather(*(self.start_one() for _ in range(missing)))
        await asyncio.gather(*(worker.until_ready(self.http) for worker in self.workers))

    async def start_one(self) -> None:
        """Start a worker, which is known at once: whoever is stopped while others start can still end it."""
        self.workers.append(await Worker.start(self.role))

    async def call(self, **request: int) -> float:
        """Have a request served, by one worker after the other in turn; how long it took, in seconds."""
        while not (serving := self.serving()):
            await asyncio.sleep(0.05)
        worker = serving[next(self.turn) % len(serving)]
        response = await self.http.post(f"{worker.url}/generate", json=request)
        return float(response.raise_for_status().json()["took_s"])
