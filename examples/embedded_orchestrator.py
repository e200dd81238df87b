"""Virtual mode inside one's own asyncio orchestrator: the planner is a guest in this process.

    python examples/embedded_orchestrator.py --seconds 28

The orchestrator below owns two pools of workers. Here a worker is a sleeping task; yours starts a container or a job.
The planner reads the load from the orchestrator's own counters, decides, and the orchestrator carries it out.
"""

import argparse
import asyncio
import contextlib
import math
import tempfile
import time
from pathlib import Path

from connectors.virtual import EmbeddedStore, VirtualConnector, VirtualConnectorClient
from planner import Observation, PlannerDaemon, Settings, Workers
from planner.sources.base import Source, SourceStatus
from profiles import sample_profile_dir

STARTUP_S = 1.5


class Pool:
    """Workers that take a while to start."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.workers: list[asyncio.Task[None]] = []

    def ready(self) -> int:
        return sum(worker.done() for worker in self.workers)

    async def resize(self, target: int) -> None:
        while len(self.workers) < target:
            self.workers.append(asyncio.create_task(asyncio.sleep(STARTUP_S)))
        for worker in self.workers[target:]:
            worker.cancel()
        del self.workers[target:]
        await asyncio.gather(*self.workers)

    def count(self) -> Workers:
        return Workers(ready=self.ready(), pending=len(self.workers) - self.ready())


class OwnCounters(Source):
    """A source of observations that needs no Prometheus: this orchestrator sees every request itself."""

    def __init__(self) -> None:
        self.begin = time.time()

    async def start(self) -> None:
        """Nothing to connect to."""

    async def observe(self, interval: float) -> Observation:
        """A load that rises and falls within twenty seconds; yours comes from what you served."""
        now = time.time()
        rate_rps = 2 + 28 * math.sin(math.pi * min(1.0, (now - self.begin) / 20)) ** 2
        return Observation(time=now, interval=interval, requests_started=rate_rps * interval, isl=3000, osl=150)

    async def check(self) -> list:
        return []

    async def close(self) -> None:
        """Nothing to let go of."""

    @property
    def status(self) -> SourceStatus:
        return SourceStatus(series_matched={}, errors={}, newest_data=time.time())


async def orchestrate(client: VirtualConnectorClient, pools: dict[str, Pool]) -> None:
    """Carry out every decision, say what runs, and acknowledge when it serves."""
    async for decision in client:
        targets = {"prefill": decision.num_prefill_workers, "decode": decision.num_decode_workers}
        print(f"decision {decision.decision_id}: {targets}", flush=True)
        await asyncio.gather(*(pools[name].resize(target) for name, target in targets.items()))
        await client.report_workers(prefill=pools["prefill"].count(), decode=pools["decode"].count())
        await client.complete(decision)


async def main(seconds: float) -> None:
    settings = Settings(
        environment="virtual",
        profile_results_dir=str(sample_profile_dir()),
        adjustment_interval=1.0,
        scale_down_window=3.0,
        load_predictor="kalman",
        ttft=400,
        itl=20,
    )
    pools = {name: Pool(name) for name in ("prefill", "decode")}
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder) / "virtual.json")
        connector = VirtualConnector(now=time.time, store=store)
        async with PlannerDaemon(settings, source=OwnCounters(), connector=connector) as daemon:
            orchestrator = asyncio.create_task(orchestrate(VirtualConnectorClient(store), pools))
            asyncio.get_running_loop().call_later(seconds, daemon.stop)
            await daemon.run()
            orchestrator.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await orchestrator
    for record in daemon.history.latest(1):
        print(f"last: {record.decision.explanation.reason}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=28.0, help="how long to run, in seconds (default: 28)")
    asyncio.run(main(parser.parse_args().seconds))
