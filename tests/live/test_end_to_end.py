"""The whole chain: stand-in, real Prometheus, the daemon as a process, and a client that scales the stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from functools import partial

import httpx
import pytest

from connectors.virtual import VirtualConnectorClient
from planner.clock import WallClock
from planner.demo.orchestrator import follow
from planner.demo.standin import StandIn
from planner.simulation.arrival import Arrival
from profiles import sample_profile_dir
from tests import waiting

pytestmark = pytest.mark.live

INTERVAL_S = 3.0
ISL, OSL = 3000, 100


class Load:
    """Requests at a rate that a test changes as it goes."""

    def __init__(self, rps):
        self.rps = rps

    def arrivals(self):
        moment = time.time()
        while True:
            moment += 1 / self.rps
            yield Arrival(moment, ISL, OSL)


class Daemon:
    """``python -m planner`` with the flags that Dynamo 0.9's planner takes; what is ours comes by environment."""

    def __init__(self, prometheus, directory, ports):
        self.api, self.reports = ports
        self.directory = directory
        self._flags = {
            "environment": "virtual",
            "backend": "vllm",
            "namespace": "dynamo",
            "adjustment-interval": INTERVAL_S,
            "ttft": 500,
            "itl": 6,
            "max-gpu-budget": 12,
            "min-endpoint": 1,
            "profile-results-dir": sample_profile_dir(),
            "load-predictor": "constant",
            "metric-pulling-prometheus-endpoint": prometheus.url,
            "metric-reporting-prometheus-port": self.reports,
            "log-dir": directory / "logs",
        }
        self.process = None

    async def __aenter__(self):
        environment = {
            **os.environ,
            "PLANNER_VIRTUAL_LISTEN": f"127.0.0.1:{self.api}",
            "PLANNER_STATE_DIR": str(self.directory / "state"),
        }
        flags = [text for name, value in self._flags.items() for text in (f"--{name}", str(value))]
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "planner", *flags), env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def end(self):
        """Ask it to end; the exit code and the seconds that took."""
        begin = time.monotonic()
        self.process.terminate()
        code = await asyncio.wait_for(self.process.wait(), 10)
        return code, time.monotonic() - begin

    async def read(self, path):
        async with httpx.AsyncClient() as http:
            return (await http.get(f"http://127.0.0.1:{self.reports}{path}")).raise_for_status()

    async def decisions(self):
        return [one["decision"] for one in (await self.read("/api/v1/decisions")).json()["decisions"]]


# Until a daemon listens, connections are refused.
until = partial(waiting.until, passing_over=(httpx.TransportError,))


async def until_decisions(daemon, more):
    """Wait for so many decisions more than there are."""
    last = (await daemon.decisions())[-1]["time"]

    async def made():
        return sum(one["time"] > last for one in await daemon.decisions()) >= more

    await until(made)


def grown(serving):
    """Whether prefill and decode workers are enough for 30 requests per second."""
    return serving[0] >= 3 and serving[1] >= 2


@contextlib.asynccontextmanager
async def following(daemon, standin):
    """An orchestrator that does what the daemon says."""
    async with VirtualConnectorClient.connect(f"http://127.0.0.1:{daemon.api}") as client:
        task = asyncio.create_task(follow(client, standin, WallClock(), look_every_s=0.1))
        try:
            yield client
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_workers_follow_the_load_and_stay_while_prometheus_is_away(prometheus, profile, tmp_path, free_port):
    load, ports = Load(2.0), (free_port(), free_port())
    async with StandIn(profile, load.arrivals(), WallClock(), startup_s=1.0, frontends=2) as standin:
        server = await prometheus([url.removeprefix("http://").removesuffix("/metrics") for url in standin.urls])
        async with Daemon(server, tmp_path, ports) as daemon, following(daemon, standin) as client:

            def serving():
                return tuple(pool.ready for pool in standin.workers())

            async def decided():
                return len(await daemon.decisions()) >= 3

            await until(decided)
            assert serving() == (1, 1)

            async def foreseen():
                """The forecast of each of the last decisions, requests per second."""
                newest = [one["explanation"]["forecast"] for one in (await daemon.decisions())[-3:]]
                return [load["requests"] / INTERVAL_S if load else None for load in newest]

            async def settled():
                return await foreseen() == [pytest.approx(30.0, rel=0.2)] * 3

            load.rps = 30.0
            await until(lambda: grown(serving()))
            await until(settled)

            standin.restart_frontend(0)
            await until_decisions(daemon, 3)
            assert await settled(), f"a restart is no change of load: {await foreseen()}"

            await server.stop()
            load.rps = 2.0

            async def blind():
                return (await daemon.decisions())[-1]["explanation"]["prefill"]["bound_by"] == "blind"

            await until(blind)
            held = (await daemon.decisions())[-1]
            await until_decisions(daemon, 3)
            newest = (await daemon.decisions())[-1]
            assert (newest["prefill"], newest["decode"]) == (held["prefill"], held["decode"])
            assert grown(serving()), "what runs stays while nothing is seen"
            metrics = (await daemon.read("/metrics")).text
            assert 'sla_planner_held_ticks_total{reason="blind"}' in metrics
            assert f"planner:num_p_workers {serving()[0]:.1f}" in metrics

            await server.start()
            # How soon the last of them goes is a matter of bands, which a jump has widened.
            await until(lambda: not grown(serving()), within_s=120.0)
            last = await client.get()

            code, took_s = await daemon.end()
            assert code == 0
            assert took_s < 2.0
        assert "No scaling needed (prefill=1, decode=1)" in (tmp_path / "logs" / "planner.log").read_text()

        load.rps = 30.0
        async with Daemon(server, tmp_path, ports) as daemon, following(daemon, standin) as client:
            await until(lambda: grown(tuple(pool.ready for pool in standin.workers())))
            assert (await client.get()).decision_id > last.decision_id, "the count of decisions survives a restart"


async def test_check_is_content_with_a_whole_deployment(prometheus, profile, tmp_path, free_port):
    load = Load(10.0)
    async with StandIn(profile, load.arrivals(), WallClock(), startup_s=1.0) as standin:
        server = await prometheus([url.removeprefix("http://").removesuffix("/metrics") for url in standin.urls])
        await server.until("sum(dynamo_frontend_requests_total) > 10")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "planner", "check", "--environment", "virtual", "--ttft", "500", "--itl", "6"),
            *("--metric-pulling-prometheus-endpoint", server.url, "--profile-results-dir", str(sample_profile_dir())),
            *("--virtual-listen", f"127.0.0.1:{free_port()}", "--state-dir", str(tmp_path)),
            stdout=asyncio.subprocess.PIPE,
        )
        shown = (await process.communicate())[0].decode()
    assert process.returncode == 0, shown
    assert "A run would work." in shown
    assert "the newest sample is" in shown
    assert not list(tmp_path.rglob("virtual.json")), "a check leaves nothing behind"
