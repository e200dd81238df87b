"""An orchestrator whose workers are processes of this machine: it starts and stops them for real.

    python examples/local_workers/orchestrator.py --seconds 60

The planner is embedded here, watches the traffic that is sent to the workers, and decides; the orchestrator starts
and drains child processes of mock_worker.py, says what runs, and acknowledges when it serves. With `--planner URL`
it carries out the decisions of a planner that runs elsewhere, and sends no traffic.
"""

import argparse
import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine
from typing import Any

import httpx
from load import Traffic
from workers import Pool

from connectors.virtual import VirtualConnector, VirtualConnectorClient
from planner import PlannerDaemon, Settings
from profiles import sample_profile_dir


async def orchestrate(client: VirtualConnectorClient, pools: dict[str, Pool]) -> None:
    """Carry out every decision, and acknowledge it when its workers serve."""
    async for decision in client:
        targets = {"prefill": decision.num_prefill_workers, "decode": decision.num_decode_workers}
        print(f"decision {decision.decision_id}: {targets}", flush=True)
        await asyncio.gather(*(pools[role].resize(target) for role, target in targets.items()))
        await client.complete(decision)
        print(f"decision {decision.decision_id}: done", flush=True)


async def watch(client: VirtualConnectorClient, pools: dict[str, Pool]) -> None:
    """Tell the planner what runs whenever that changes; replace workers that died."""
    reported = None
    while True:
        for pool in pools.values():
            target = len(pool.workers)
            if pool.bury_the_dead():
                print(f"a {pool.role} worker died; starting another", flush=True)
                await pool.resize(target)
        counts = {role: pool.count() for role, pool in pools.items()}
        if counts != reported:
            await client.report_workers(prefill=counts["prefill"], decode=counts["decode"])
            reported = counts
        await asyncio.sleep(0.2)


async def embedded(pools: dict[str, Pool], stopping: asyncio.Event, peak_rps: float, period_s: float) -> None:
    """Run a planner of our own beside the orchestrator."""
    settings = Settings(
        environment="virtual",
        profile_results_dir=str(sample_profile_dir()),
        adjustment_interval=2.0,
        scale_down_window=6.0,
        load_predictor="constant",
        ttft=400,
        itl=20,
        max_gpu_budget=12,
    )
    traffic = Traffic(pools, peak_rps=peak_rps, period_s=period_s)
    connector = VirtualConnector(now=time.time)
    async with PlannerDaemon(settings, source=traffic, connector=connector) as daemon:
        client = VirtualConnectorClient(connector.store)
        await run_until(stopping, daemon.run(), traffic.run(), orchestrate(client, pools), watch(client, pools))


async def run_until(stopping: asyncio.Event, *work: Coroutine[Any, Any, None]) -> None:
    """Run everything until it is to stop, or something fails."""
    tasks = [asyncio.ensure_future(one) for one in (stopping.wait(), *work)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


async def main(options: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    loop.call_later(options.seconds, stopping.set)
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None), trust_env=False) as http:
        pools = {role: Pool(role, http) for role in ("prefill", "decode")}
        try:
            if options.planner is None:
                await embedded(pools, stopping, options.peak_rps, options.period)
            else:
                async with VirtualConnectorClient.connect(options.planner, token=options.token) as client:
                    await run_until(stopping, orchestrate(client, pools), watch(client, pools))
        finally:
            workers = [worker for pool in pools.values() for worker in pool.workers]
            await asyncio.gather(*(worker.drain() for worker in workers))
            await asyncio.gather(*(task for pool in pools.values() for task in pool.draining))
    print(f"ended {len(workers)} workers", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to run, in seconds (default: 60)")
    parser.add_argument("--peak-rps", type=float, default=20.0, help="highest request rate (default: 20)")
    parser.add_argument(
        "--period", type=float, default=50.0, help="length of a rise and fall, in seconds (default: 50)"
    )
    parser.add_argument("--planner", help="follow a planner there instead of embedding one")
    parser.add_argument("--token", help="its bearer token, if it wants one")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
