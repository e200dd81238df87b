r"""Attainment against GPU-hours: the planner, a clairvoyant one, the published rules and an HPA on the same requests.

    python benchmarks/decision_quality.py ../shared/traces/*.jsonl.gz \
        --profile ../shared/profiles/qwen3-32b-h200-vllm-p-tp1-d-tp2 --decode-gpus 2

Each contestant goes through each trace at several percentiles, which gives its frontier. Beside every point stands what
the clairvoyant planner, which knows every interval's arrivals and decides by the same rules, attains with as many
GPU-hours: interpolated on its own frontier, which is taken to the percentiles 99.9 and 99.99 so that it reaches as far;
and the most that a baseline attains with as many or fewer. The baselines are the published rules, an HPA and static
deployments of several sizes. What the planner does without one of its parts is a row of its own. Rates are scaled so
that the load keeps ``--least-workers`` workers busy at the least.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from planner.engines import load_profile
from planner.settings import NO_BUDGET, Settings
from planner.simulate.contest import Conditions, Contest, Entry, Load, starting_workers, survey
from planner.simulation.arrivals import Cut
from planner.simulation.score import Score
from profiles import sample_profile_dir

FARTHER = (99.9, 99.99)
# Sizes of static deployments, over the workers that the mean load keeps busy.
STATIC = (1.25, 1.5, 2.0, 2.5, 3.5, 5.0, 8.0, 12.0)
# Who is no baseline.
OURS = ("planner", "clairvoyant", "without")
# What the planner does at percentile 95 without one of its parts.
ABLATIONS: dict[str, dict[str, object]] = {
    "reactions": {"reaction_interval": 0},
    "patience": {"scale_down_window": 0},
    "correction": {"no_correction": True},
    "percentile": {"slo_percentile": "mean"},
    "mixture": {"load_predictor": "constant"},
}
HEADINGS = (
    "trace",
    "interval",
    "who",
    "percentile",
    "both",
    "worst 5 min",
    "x bound",
    "clairvoyant there",
    "difference",
    "best baseline there",
)


def busy_workers(load: Load, settings: Settings) -> tuple[float, float]:
    """Prefill and decode workers that the whole load keeps busy on average, at the best throughput within target."""
    profile = load_profile(settings)
    prefill = decode = last = 0.0
    for time, isl, osl in load.arrivals():
        prefill += profile.prefill.ttft_ms(isl) / 1000
        decode += osl
        last = time
    seen = survey(load, math.inf)
    context = seen.isl + seen.osl / 2
    per_worker = profile.decode.best_throughput_per_gpu(settings.itl, context) * profile.decode.gpus
    return prefill / last, decode / last / per_worker


def entries(
    settings: Settings, percentiles: list[float], predictors: list[str], busy: tuple[float, float]
) -> list[Entry]:
    """Who takes part."""
    found = []
    for percentile in (*percentiles, *FARTHER):
        ours = settings.model_copy(update={"slo_percentile": percentile})
        if percentile in percentiles:
            found.append(Entry(name=f"planner {percentile:g}", kind="planner", settings=ours))
        found.append(Entry(name=f"clairvoyant {percentile:g}", kind="clairvoyant", settings=ours))
    usual = settings.model_copy(update={"slo_percentile": 95.0})
    for part, without in ABLATIONS.items():
        found.append(Entry(name=f"without {part}", kind="planner", settings=usual.model_copy(update=without)))
    for predictor in predictors:
        rules = settings.model_copy(update={"sizing": "throughput", "load_predictor": predictor})
        found.append(Entry(name=f"published, {predictor}", kind="planner", settings=rules))
    found.append(Entry(name="hpa", kind="hpa", settings=settings))
    for prefill, decode in pools(settings, busy):
        name = f"static, {decode}" if settings.aggregated else f"static, {prefill}+{decode}"
        found.append(Entry(name=name, kind="static", settings=settings, workers=(prefill, decode)))
    return found


def pools(settings: Settings, busy: tuple[float, float]) -> Iterable[tuple[int, int]]:
    """Prefill and decode workers of the static deployments."""
    if settings.aggregated:
        return dict.fromkeys((0, math.ceil(size * sum(busy))) for size in STATIC)
    return dict.fromkeys((math.ceil(size * busy[0]), 1 + math.ceil(min(size, 3.0) * busy[1])) for size in STATIC)


def best_within(baselines: Mapping[str, Score], over_bound: float) -> str:
    """The most that a baseline attains at a cost, and which; empty if all are dearer."""
    there = [(score.within_both, name) for name, score in baselines.items() if score.over_bound <= over_bound]
    return "{:.2%} {}".format(*max(there)) if there else ""


def attained_there(frontier: list[tuple[float, float]], over_bound: float) -> float:
    """What a frontier attains at a cost; NaN beyond its ends."""
    points = sorted(frontier)
    if not points[0][0] <= over_bound <= points[-1][0]:
        return math.nan
    best = np.maximum.accumulate([attained for _, attained in points])
    return float(np.interp(over_bound, [cost for cost, _ in points], best))


def contest(trace: Path, interval: float, options: argparse.Namespace) -> list[tuple[str, ...]]:
    """The rows of one trace at one interval."""
    settings = Settings(
        environment="virtual",
        profile_results_dir=str(options.profile),
        mode=options.mode,
        decode_engine_num_gpu=options.decode_gpus,
        adjustment_interval=interval,
        ttft=options.ttft,
        itl=options.itl,
        max_gpu_budget=NO_BUDGET,
        worker_startup=options.startup,
    )
    load = Load(trace=trace, cut=Cut(start_s=options.start, duration_s=options.duration))
    busy = busy_workers(load, settings)
    scale = math.ceil(10 * max(1.0, options.least_workers / sum(busy))) / 10
    load = replace(load, cut=replace(load.cut, rate_scale=scale))
    percentiles = [float(text) for text in options.percentiles.split(",")]
    conditions = Conditions(load=load, initial=starting_workers(survey(load), settings))
    predictors = [name for name in options.predictors.split(",") if name]
    taking_part = entries(settings, percentiles, predictors, (busy[0] * scale, busy[1] * scale))
    with Contest(taking_part, conditions, processes=options.processes) as futures:
        scores = {name: future.result().score for name, future in futures.items()}
    frontier = [(score.over_bound, score.within_both) for name, score in scores.items() if "clairvoyant" in name]
    baselines = {name: score for name, score in scores.items() if not name.startswith(OURS)}
    rows = []
    for name, score in scores.items():
        there = attained_there(frontier, score.over_bound)
        with_percentile = name.startswith(("planner", "clairvoyant"))
        who, _, percentile = name.rpartition(" ") if with_percentile else (name, "", "")
        rows.append(
            (
                *(f"{trace.name.split('.')[0]} x{load.cut.rate_scale:g}", f"{interval:g} s", who, percentile),
                *(f"{score.within_both:.2%}", f"{score.worst:.1%}", f"{score.over_bound:.2f}"),
                *(("", "") if math.isnan(there) else (f"{there:.2%}", f"{(score.within_both - there) * 100:+.2f}")),
                "" if name in baselines or who == "clairvoyant" else best_within(baselines, score.over_bound),
            )
        )
    return rows


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="+", type=Path)
    parser.add_argument("--profile", type=Path, default=sample_profile_dir())
    parser.add_argument("--mode", choices=("disagg", "agg"), default="disagg", help="(default: disagg)")
    parser.add_argument("--decode-gpus", type=int, default=1, help="GPUs of a decode engine (default: 1)")
    parser.add_argument("--ttft", type=float, default=800.0, help="TTFT target, ms (default: 800)")
    parser.add_argument("--itl", type=float, default=40.0, help="ITL target, ms (default: 40)")
    parser.add_argument("--startup", type=float, default=90.0, help="time a worker takes to start, s (default: 90)")
    parser.add_argument("--intervals", default="60,180", help="adjustment intervals, s (default: 60,180)")
    parser.add_argument("--percentiles", default="80,90,95,99,99.5", help="(default: 80,90,95,99,99.5)")
    parser.add_argument("--start", type=float, default=0.0, help="leave out so much of each trace, s (default: 0)")
    parser.add_argument("--duration", type=float, default=None, help="take so much of each trace, s (default: all)")
    parser.add_argument("--least-workers", type=float, default=8.0, help="workers to keep busy (default: 8)")
    parser.add_argument(
        "--predictors", default="constant,kalman", help="of the published rules (default: constant,kalman)"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    console = Console(stderr=True)
    print("| " + " | ".join(HEADINGS) + " |")
    print("|" + "---|" * len(HEADINGS))
    for trace in options.traces:
        for interval in map(float, options.intervals.split(",")):
            with console.status(f"{trace.name}, {interval:g} s"):
                for row in contest(trace, interval, options):
                    print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
