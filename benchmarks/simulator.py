"""What the simulator costs: CPU time of a million requests on one core, and the memory of short and long traces.

    python benchmarks/simulator.py
    python benchmarks/simulator.py --trace requests.jsonl.gz --profile-results-dir profiling_results --ttft 800 --itl 40

Each run is a process of its own. ``static`` is the simulator with a pool that never changes, reading or making up the
requests included; ``planner`` adds the planner, which decides and reacts as the daemon does.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from planner.settings import NO_BUDGET, Settings
from planner.simulate.contest import Conditions, Entry, Load, compete
from planner.simulate.survey import starting_workers, survey
from planner.simulation.arrivals import Cut
from planner.simulation.pattern import Pattern
from profiles import sample_profile_dir

GOAL_S_PER_MILLION = 20.0
_RPS = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run: what to call it, who decides, under which settings, and which requests come."""

    name: str
    kind: str
    settings: Settings
    load: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run took: requests served, CPU time (s), and the most memory it held (MiB)."""

    requests: int
    cpu_s: float
    rss_mib: float


def measure(case: Case) -> Cost:
    """Run a case in this process; the look at the arrivals beforehand is not counted."""
    seen = survey(case.load)
    workers = starting_workers(seen, case.settings)
    conditions = Conditions(load=case.load, initial=workers)
    entry = Entry(
        name=case.name, kind=case.kind, settings=case.settings, workers=workers if case.kind == "static" else None
    )
    begun = time.process_time()
    run = compete(entry, conditions)
    cpu_s = time.process_time() - begun
    return Cost(
        requests=run.score.requests,
        cpu_s=cpu_s,
        rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def made_up(settings: Settings, requests: int) -> Load:
    """A wave of so many requests."""
    pattern = Pattern(
        kind="sinusoid",
        rps=0.5 * _RPS,
        peak_rps=1.5 * _RPS,
        period_s=3600.0,
        duration_s=requests / _RPS,
        isl=settings.isl,
        osl=settings.osl,
    )
    return Load(pattern=pattern)


def cases(arguments: argparse.Namespace) -> list[Case]:
    """What to run."""
    settings = Settings(
        profile_results_dir=arguments.profile_results_dir,
        ttft=arguments.ttft,
        itl=arguments.itl,
        adjustment_interval=60,
        worker_startup=90,
        max_gpu_budget=NO_BUDGET,
        isl=1000,
        osl=100,
    )
    aggregated = settings.model_copy(update={"mode": "agg"})
    found = [
        Case(name="made up, static", kind="static", settings=settings, load=made_up(settings, arguments.requests)),
        Case(name="made up, planner", kind="planner", settings=settings, load=made_up(settings, arguments.requests)),
        Case(
            name="made up, static, agg", kind="static", settings=aggregated, load=made_up(settings, arguments.requests)
        ),
    ]
    if arguments.trace is None:
        tenth = made_up(settings, arguments.requests // 10)
        return [Case(name="a tenth of it, static", kind="static", settings=settings, load=tenth), *found]
    trace = Load(trace=arguments.trace)
    hour = replace(trace, cut=Cut(duration_s=3600.0))
    return [
        *found,
        Case(name="an hour of the trace, static", kind="static", settings=settings, load=hour),
        Case(name="the trace, static", kind="static", settings=settings, load=trace),
        Case(name="the trace, planner", kind="planner", settings=settings, load=trace),
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="CPU time and memory of the simulator.")
    parser.add_argument("--trace", type=Path, default=None, help="requests to simulate besides made-up ones")
    parser.add_argument("--profile-results-dir", default=str(sample_profile_dir()), help="engine profile")
    parser.add_argument("--ttft", type=float, default=500.0, help="TTFT target, ms")
    parser.add_argument("--itl", type=float, default=20.0, help="ITL target, ms")
    parser.add_argument("--requests", type=int, default=1_000_000, help="made-up requests")
    arguments = parser.parse_args()
    table = Table("run", "requests", "CPU s", "s per million", "goal", "most memory, MiB", pad_edge=False)
    context = multiprocessing.get_context("spawn")
    for case in track(cases(arguments), description="simulating", transient=True):
        with context.Pool(1) as pool:
            cost = pool.apply(measure, (case,))
        per_million = cost.cpu_s / cost.requests * 1e6 if cost.requests else math.nan
        goal = f"{GOAL_S_PER_MILLION:g}" if case.kind == "static" else ""
        table.add_row(
            case.name, f"{cost.requests}", f"{cost.cpu_s:.1f}", f"{per_million:.1f}", goal, f"{cost.rss_mib:.0f}"
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
