"""A daemon that decides some hundred times a second and tells on its standard output what it was about to hand over.

Run as ``python killed_daemon.py FILE SEED`` by the test that kills it.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

from connectors.base import Applied, Outcome, WorkerCounts
from planner import Observation, PlannerDaemon, Settings, Workers
from planner.clock import ScaledClock
from planner.report.store import HistoryStore
from profiles import sample_profile_dir
from tests.stubs import PlainConnector, PlainSource


class Restless(PlainSource):
    """A load that is never twice the same."""

    def __init__(self, clock, seed):
        self.clock, self.random = clock, random.Random(seed)

    async def observe(self, interval):
        requests = self.random.choice((60.0, 6000.0, 12000.0))
        return Observation(time=self.clock.now(), interval=interval, requests_started=requests, isl=3000.0, osl=300.0)


class Witness(PlainConnector):
    """Tells everything it is handed, at once."""

    counts = WorkerCounts(prefill=Workers(1), decode=Workers(1))

    async def apply(self, decision):
        print(json.dumps([decision.time, decision.prefill, decision.decode]), flush=True)
        self.counts = WorkerCounts(prefill=Workers(decision.prefill), decode=Workers(decision.decode))
        return Applied(outcome=Outcome.APPLIED, detail="")


async def main(file, seed):
    clock = ScaledClock(speed=20_000)
    settings = Settings(
        profile_results_dir=str(sample_profile_dir()),
        adjustment_interval=60,
        load_predictor="constant",
        sizing="throughput",
        max_gpu_budget=64,
        scale_down_window=0,
        history_warm_start=50,
    )
    store = HistoryStore(Path(file))
    async with PlannerDaemon(
        settings, source=Restless(clock, seed), connector=Witness(), clock=clock, store=store
    ) as daemon:
        await daemon.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
