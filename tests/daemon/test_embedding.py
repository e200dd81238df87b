"""Planners as guests: two of them in somebody else's process, which they leave as they found it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

HOST = """
import asyncio, gc, logging, signal, sys, threading, time, warnings
from pathlib import Path

import structlog

from connectors.virtual import EmbeddedStore, Listen, VirtualConnector, VirtualConnectorClient, Webhook
from connectors.virtual.etcd import DecidingStore, EtcdAccess, EtcdGateway
from planner import Observation, PlannerDaemon, Settings, Workers
from planner.sources.base import Source, SourceStatus
from profiles import sample_profile_dir


class Counters(Source):
    def __init__(self, rate_rps):
        self.rate_rps = rate_rps

    async def start(self): ...

    async def observe(self, interval):
        if self.rate_rps is None:
            raise RuntimeError("this source is broken")
        return Observation(
            time=time.time(), interval=interval, requests_started=self.rate_rps * interval, isl=3000, osl=150
        )

    async def check(self):
        return []

    async def close(self): ...

    @property
    def status(self):
        return SourceStatus(series_matched={}, errors={"ttft_ms": "not there"}, newest_data=time.time())


def settings(namespace):
    return Settings(
        environment="virtual", namespace=namespace, profile_results_dir=str(sample_profile_dir()),
        adjustment_interval=0.3, load_predictor="arima", ttft=400, itl=20,
    )


def daemon(folder, namespace, rate_rps, **options):
    store = EmbeddedStore(Path(folder) / namespace / "virtual.json")
    connector = VirtualConnector(now=time.time, store=store, **options)
    return PlannerDaemon(settings(namespace), source=Counters(rate_rps), connector=connector)


async def follow(client, seen):
    async for decision in client:
        seen.append(decision.targets)
        await client.complete(decision)


async def host(folder):
    small = daemon(folder, "small", 1.0)
    large = daemon(folder, "large", 60.0, listen=Listen("127.0.0.1", 0))
    broken = daemon(folder, "broken", None)
    # An etcd that is not there, and a webhook that nobody takes: both fail loudly enough in the log.
    lost_store = DecidingStore(EtcdGateway(EtcdAccess(endpoints=["http://127.0.0.1:9"])), "lost", now=time.time)
    webhook = Webhook("http://127.0.0.1:9/hook", secret="secret", store=small.connector.store, namespace="small")
    connector = VirtualConnector(now=time.time, store=lost_store, webhook=webhook)
    lost = PlannerDaemon(settings("lost"), source=Counters(1.0), connector=connector)
    before = asyncio.all_tasks()
    async with small, large, broken, lost:
        runs = [asyncio.create_task(one.run()) for one in (small, large, broken, lost)]
        seen = {"small": [], "large": []}
        clients = [VirtualConnectorClient(small.connector.store), VirtualConnectorClient.connect(large.connector.url)]
        following = [asyncio.create_task(follow(client, seen[name])) for client, name in zip(clients, seen)]
        async with asyncio.timeout(60):
            while len(small.history) < 4 or len(large.history) < 4 or not all(seen.values()):
                await asyncio.sleep(0.05)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        for one in (small, large, broken, lost):
            one.stop()
        await asyncio.gather(*runs)
        for client in clients:
            await client.close()
    assert not seen["small"] == seen["large"], seen
    assert seen["large"][-1][0] > seen["small"][-1][0], seen
    left = asyncio.all_tasks() - before
    assert not left, left


def traces():
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals() if number not in (9, 19)},
        "handlers": list(logging.getLogger().handlers),
        "level": logging.getLogger().level,
        "disabled": logging.root.manager.disable,
        "structlog": structlog.is_configured(),
        "filters": list(warnings.filters),
        "hooks": (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr),
        "threads": threading.active_count(),
    }


if __name__ == "__main__":
    logging.getLogger().addHandler(logging.NullHandler())
    before = traces()
    asyncio.run(host(sys.argv[1]))
    gc.collect()
    after = traces()
    assert before == after, (before, after)
"""


def test_two_planners_in_one_process_leave_no_trace(tmp_path):
    script = tmp_path / "host.py"
    script.write_text(textwrap.dedent(HOST), encoding="utf-8")
    shown = subprocess.run(
        [sys.executable, "-W", "error", script, tmp_path], capture_output=True, text=True, timeout=120, check=False
    )
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")
