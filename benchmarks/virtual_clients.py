"""How fast one decision reaches a thousand clients that wait for it over HTTP, and what they cost the planner.

    python benchmarks/virtual_clients.py --clients 1000

The virtual connector runs in a process of its own, with the token and the limits of the defaults; the clients, raw
sockets, share this one. Time counts from before the decision is kept until a client has read its whole answer.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

TOKEN = "benchmark"
GOAL_MS = 200.0

SERVER = """
import asyncio, sys, time
from pathlib import Path
from connectors.virtual import EmbeddedStore, Listen, VirtualConnector

async def main():
    store = EmbeddedStore(Path(sys.argv[1]) / "virtual.json")
    connector = VirtualConnector(
        now=time.time, store=store, listen=Listen("127.0.0.1", 0), token=sys.argv[2], rate_limit_rps=1000.0
    )
    await connector.start()
    print(connector.url.rpartition(":")[2], flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        prefill, decode = map(int, line.split())
        began = time.time()
        await store.update(lambda state: state.complete(state.decision.decision_id) if state.decided_at else state)
        await store.update(lambda state: state.decide(prefill, decode, began))
        print(began, flush=True)
    await connector.close()

asyncio.run(main())
"""


class Client:
    """A connection that asks for decisions newer than the last."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen = -1

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    def ask(self) -> None:
        self.writer.write(
            f"GET /api/v1/decision/wait?after={self.seen} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )

    async def answer(self) -> float:
        """When the whole answer has been read."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.startswith(b"Content-Length"))
        await self.reader.readexactly(length)
        self.seen += 1
        return time.time()


@dataclass
class Measured:
    """Latencies of each round (ms), the server's CPU in each (ms), its memory without and with the clients (MiB)."""

    latencies_ms: list[list[float]] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    alone_mib: float = 0.0
    crowded_mib: float = 0.0


async def measure(clients: int, rounds: int) -> Measured:
    """Have clients wait and decide, again and again."""
    measured = Measured()
    with tempfile.TemporaryDirectory() as folder:
        server = psutil.Popen(
            [sys.executable, "-c", SERVER, folder, TOKEN],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            port = int(server.stdout.readline())
            first = Client(port)
            await first.connect()
            first.writer.close()
            measured.alone_mib = server.memory_info().rss / 2**20
            crowd = [Client(port) for _ in range(clients)]
            for client in crowd:
                await client.connect()
            for number in range(rounds):
                for client in crowd:
                    client.ask()
                answers = [asyncio.ensure_future(client.answer()) for client in crowd]
                await asyncio.sleep(2.0)
                assert not any(answer.done() for answer in answers), "nothing was decided yet"
                measured.crowded_mib = max(measured.crowded_mib, server.memory_info().rss / 2**20)
                before = sum(server.cpu_times()[:2])
                server.stdin.write(f"{number + 1} {number + 2}\n")
                server.stdin.flush()
                times = await asyncio.gather(*answers)
                began = float(server.stdout.readline())
                measured.latencies_ms.append([1000 * (when - began) for when in times])
                measured.cpu_ms.append(1000 * (sum(server.cpu_times()[:2]) - before))
            return measured
        finally:
            server.stdin.close()
            server.wait(10)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000, help="clients that wait (default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="decisions made one after the other (default: 5)")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    measured = asyncio.run(measure(options.clients, options.rounds))
    table = Table("figure", "measured", "unit", "goal")
    last = [max(round_) for round_ in measured.latencies_ms]
    for name, value, goal in (
        ("median client", statistics.median(latency for round_ in measured.latencies_ms for latency in round_), None),
        ("last client, median of rounds", statistics.median(last), GOAL_MS),
        ("last client, worst round", max(last), GOAL_MS),
        ("CPU of the server for one decision", statistics.median(measured.cpu_ms), None),
    ):
        colour = "green" if goal is None or value < goal else "red"
        table.add_row(name, f"[{colour}]{value:.1f}[/]", "ms", "" if goal is None else f"< {goal:g}")
    grown_kib = 1024 * (measured.crowded_mib - measured.alone_mib)
    table.add_row("RSS of the server, nobody waiting", f"{measured.alone_mib:.1f}", "MiB", "")
    table.add_row(f"RSS with {options.clients} waiting", f"{measured.crowded_mib:.1f}", "MiB", "")
    table.add_row("memory of a waiting client", f"{grown_kib / options.clients:.1f}", "KiB", "")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
