"""What the planner itself costs: start-up, memory, and the time of one adjustment.

    python benchmarks/footprint.py

The daemon is measured as a process of its own, observing a metrics page that this script serves. Beside each figure
stand its goal and, where there is one, the figure recorded for the planner of NVIDIA Dynamo 0.9.1 on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import subprocess
import sys
import tempfile
import time

import httpx
import psutil
from aiohttp import web
from rich.console import Console
from rich.table import Table

from planner import Observation, Planner, Settings, Workers
from predictors import InlineFitter, PredictorOptions, make_predictor
from profiles import sample_profile_dir


def time_of_help(runs: int = 5) -> float:
    """Median time that ``python -m planner --help`` takes, seconds."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "planner", "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def page(count: int) -> str:
    """A metrics page of a frontend that has served ``count`` requests."""
    model = '{model="tiny"}'
    call = '{endpoint="chat_completions",model="tiny",request_type="stream",status="success"}'
    lines = [
        f"dynamo_frontend_requests_total{call} {count}",
        f"dynamo_frontend_inflight_requests{model} 3",
        f"dynamo_frontend_queued_requests{model} 0",
    ]
    sums = {
        "time_to_first_token_seconds": 0.2,
        "inter_token_latency_seconds": 0.015,
        "input_sequence_tokens": 2000,
        "output_sequence_tokens": 300,
        "request_duration_seconds": 5,
    }
    for name, mean in sums.items():
        lines += [
            f'dynamo_frontend_{name}_bucket{{model="tiny",le="+Inf"}} {count}',
            f"dynamo_frontend_{name}_sum{model} {count * mean}",
            f"dynamo_frontend_{name}_count{model} {count}",
        ]
    return "\n".join(lines) + "\n"


async def measure_daemon(ticks: int) -> dict[str, float]:
    """Run the daemon for so many adjustments; CPU until the first one (s), and RSS after the last (MiB)."""
    counter = itertools.count(0, 20)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=page(next(counter)))

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    port = _free_port()
    with tempfile.TemporaryDirectory() as state:
        process = psutil.Popen(
            [
                *(sys.executable, "-m", "planner", "--environment=virtual", "--load-predictor=kalman"),
                *("--metrics-source=scrape", f"--frontend-metrics-url={url}", "--adjustment-interval=0.05"),
                *(f"--metric-reporting-prometheus-port={port}", "--metric-reporting-host=127.0.0.1"),
                *(f"--profile-results-dir={sample_profile_dir()}", f"--state-dir={state}"),
                *("--virtual-listen=127.0.0.1:0", f"--decision-history={ticks * 2}"),
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            return await _follow(process, f"http://127.0.0.1:{port}/api/v1/decisions", ticks)
        finally:
            process.terminate()
            process.wait(10)
            await runner.cleanup()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _follow(process: psutil.Popen, url: str, ticks: int) -> dict[str, float]:
    started = time.perf_counter()
    figures: dict[str, float] = {}
    async with httpx.AsyncClient() as client:
        while time.perf_counter() - started < 60:
            await asyncio.sleep(0.01)
            try:
                records = (await client.get(url, params={"limit": ticks})).json()["decisions"]
            except httpx.TransportError:
                continue
            times = process.cpu_times()
            if records and "cpu" not in figures:
                figures |= {"cpu": times.user + times.system, "first tick": time.perf_counter() - started}
            if len(records) >= ticks:
                figures["rss"] = process.memory_info().rss / 2**20
                return figures
    raise TimeoutError(f"the daemon made no {ticks} adjustments within a minute")


def tick_ms(predictor: str, points: int, runs: int) -> float:
    """Median CPU time of one adjustment's decision after so many points, milliseconds."""
    settings = Settings(
        adjustment_interval=60,
        load_predictor=predictor,
        max_gpu_budget=64,
        profile_results_dir=str(sample_profile_dir()),
    )
    planner = Planner(settings)
    times = []
    for index in range(points + runs):
        requests = 600 + 300 * ((index % 40) / 40) + 7 * (index % 11)
        observation = Observation(
            time=60.0 * index,
            interval=60.0,
            requests_started=requests,
            requests_completed=requests,
            isl=2000.0 + 13 * (index % 17),
            osl=300.0 + 3 * (index % 7),
            ttft_ms=200.0,
            itl_ms=15.0,
            request_duration_s=5.0,
            prefill=Workers(3),
            decode=Workers(3),
        )
        started = time.process_time()
        planner.step(observation)
        times.append(time.process_time() - started)
    return statistics.median(times[points:]) * 1000


def arima_ms(points: int = 200, runs: int = 60) -> tuple[float, float]:
    """CPU time of one observation and forecast of ARIMA after ``points`` observations, milliseconds.

    Returns:
        The median, as most only update the model, and the maximum, which is a refit. The daemon refits in a process of
        its own.
    """
    predictor = make_predictor("arima", PredictorOptions(interval_s=60), InlineFitter())
    times = []
    for index in range(points + runs):
        started = time.process_time()
        predictor.observe(600 + 300 * ((index % 40) / 40) + 7 * (index % 11), 60.0 * index)
        predictor.forecast()
        times.append(time.process_time() - started)
    return statistics.median(times[points:]) * 1000, max(times[points:]) * 1000


def main() -> None:
    """Measure everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=100, help="adjustments the daemon makes (default: 100)")
    options = parser.parse_args()
    daemon = asyncio.run(measure_daemon(options.ticks))
    arima_update_ms, arima_refit_ms = arima_ms()
    rows = [
        ("python -m planner --help, wall", time_of_help(), "s", 0.7, "2.5 (import alone)"),
        ("daemon start to first adjustment, CPU", daemon["cpu"], "s", 0.8, ""),
        ("daemon start to first adjustment, wall", daemon["first tick"], "s", None, ""),
        (f"RSS after {options.ticks} adjustments, kalman", daemon["rss"], "MiB", 100, "280"),
        ("one adjustment, kalman, CPU", tick_ms("kalman", 100, 300), "ms", 3, "0.02 (forecast alone)"),
        ("one adjustment, constant, CPU", tick_ms("constant", 100, 300), "ms", None, "0.01 (forecast alone)"),
        ("ARIMA update at 200 points, CPU", arima_update_ms, "ms", 20, "28-40"),
        ("ARIMA refit at 200 points, CPU, beside the loop", arima_refit_ms, "ms", None, "1500, once"),
    ]
    table = Table("figure", "measured", "unit", "goal", "Dynamo 0.9.1, recorded")
    for name, value, unit, goal, peer in rows:
        colour = "green" if goal is None or value < goal else "red"
        table.add_row(name, f"[{colour}]{value:.3f}[/]", unit, "" if goal is None else f"< {goal:g}", peer)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
