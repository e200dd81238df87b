r"""Attainment against GPU-hours: the planner, a clairvoyant one, the published rules and an HPA on the same requests.

    python benchmarks/decision_quality.py TRACES/*.jsonl.gz \
        --profile PROFILES/qwen3-32b-h200-vllm-p-tp1-d-tp2 --decode-gpus 2

Each contestant goes through each trace at several percentiles, which gives its frontier. Beside every point stands what
the clairvoyant planner, which knows every interval's arrivals and decides by the same rules, attains with as many
GPU-hours: interpolated on its own frontier, which is taken to the percentiles 99.9 and 99.99 so that it reaches as far;
and the most that a baseline attains with as many or fewer. The baselines are the published rules, an HPA and static
deployments of several sizes. Rates are scaled so that the load keeps ``--least-workers`` workers busy at the least.

A second table tells what each part of the planner contributes: it goes through the same at percentile 95 without that
part. Without any trace, each part does so on a made-up load that shows what it is for.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ablations import ABLATIONS
from rich.console import Console
from stories import STORIES

from planner.engines import load_profile
from planner.settings import NO_BUDGET, Settings
from planner.simulate.contest import Conditions, Contest, Entry, Load
from planner.simulate.survey import starting_workers, survey
from planner.simulation.arrivals import Cut
from planner.simulation.score import Score
from profiles import sample_profile_dir

FARTHER = (99.9, 99.99)
# Sizes of static deployments, over the workers that the mean load keeps busy.
STATIC = (1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5, 5.0, 8.0, 12.0)
# Who is no baseline.
OURS = ("planner", "clairvoyant", "without")
# What parts are taken out of.
USUAL = 95.0
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
PART_HEADINGS = (
    "load",
    "interval",
    "part",
    "both with",
    "GPU-hours with",
    "both without",
    "GPU-hours without",
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


def entries(settings: Settings, options: argparse.Namespace, busy: tuple[float, float]) -> Iterator[Entry]:
    """Who takes part."""
    percentiles = [float(text) for text in options.percentiles.split(",")]
    for percentile in sorted({*percentiles, *FARTHER, USUAL}):
        ours = settings.model_copy(update={"slo_percentile": percentile})
        if percentile in percentiles or percentile == USUAL:
            yield Entry(name=f"planner {percentile:g}", kind="planner", settings=ours)
        if percentile in percentiles or percentile in FARTHER:
            yield Entry(name=f"clairvoyant {percentile:g}", kind="clairvoyant", settings=ours)
    usual = settings.model_copy(update={"slo_percentile": USUAL})
    for part, ablation in ABLATIONS.items():
        # Without a budget there is nothing to split.
        if options.parts and settings.mode in ablation.modes and part != "split of a budget":
            fewer = usual.model_copy(update=dict(ablation.settings))
            yield Entry(name=f"without {part}", kind="planner", settings=fewer, planner=ablation.planner)
    for predictor in filter(None, options.predictors.split(",")):
        rules = settings.model_copy(update={"sizing": "throughput", "load_predictor": predictor})
        yield Entry(name=f"published, {predictor}", kind="planner", settings=rules)
    yield Entry(name="hpa", kind="hpa", settings=settings)
    for prefill, decode in pools(settings, busy):
        name = f"static, {decode}" if settings.aggregated else f"static, {prefill}+{decode}"
        yield Entry(name=name, kind="static", settings=settings, workers=(prefill, decode))


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


def compete(trace: Path, interval: float, options: argparse.Namespace) -> tuple[str, dict[str, Score]]:
    """The name of the load, with the factor its rates are scaled by, and how everyone did under it."""
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
    conditions = Conditions(load=load, initial=starting_workers(survey(load), settings))
    taking_part = list(entries(settings, options, (busy[0] * scale, busy[1] * scale)))
    with Contest(taking_part, conditions, processes=options.processes) as futures:
        return f"{trace.name.split('.')[0]} x{scale:g}", {
            name: future.result().score for name, future in futures.items()
        }


def frontier_rows(scores: Mapping[str, Score]) -> Iterator[tuple[str, ...]]:
    """What everyone attained, and what others attain with as many GPU-hours."""
    frontier = clairvoyant_frontier(scores)
    baselines = {name: score for name, score in scores.items() if not name.startswith(OURS)}
    for name, score in scores.items():
        if name.startswith("without"):
            continue
        there = attained_there(frontier, score.over_bound)
        with_percentile = name.startswith(("planner", "clairvoyant"))
        who, _, percentile = name.rpartition(" ") if with_percentile else (name, "", "")
        yield (
            *(who, percentile),
            *(f"{score.within_both:.2%}", f"{score.worst:.1%}", f"{score.over_bound:.2f}"),
            *("" if math.isnan(there) else f"{there:.2%}", difference(score, there)),
            "" if name in baselines or who == "clairvoyant" else best_within(baselines, score.over_bound),
        )


def clairvoyant_frontier(scores: Mapping[str, Score]) -> list[tuple[float, float]]:
    """GPU-hours over their bound, and what the clairvoyant planner attains with them."""
    return [(score.over_bound, score.within_both) for name, score in scores.items() if "clairvoyant" in name]


def difference(score: Score, there: float) -> str:
    """Percentage points above what is attained elsewhere at the same cost; empty where that is not known."""
    return "" if math.isnan(there) else f"{(score.within_both - there) * 100:+.2f}"


def part_rows(scores: Mapping[str, Score]) -> Iterator[tuple[str, ...]]:
    """What each part contributes."""
    frontier, usual = clairvoyant_frontier(scores), scores[f"planner {USUAL:g}"]
    for name, score in scores.items():
        kind, _, part = name.partition(" ")
        if kind == "without":
            apart = (difference(one, attained_there(frontier, one.over_bound)) for one in (usual, score))
            yield (part, *attained(usual), *attained(score), *apart)


def story_rows(options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """What each part contributes where it shows."""
    for story in STORIES:
        with Contest(story.entries(), story.conditions(), processes=options.processes) as futures:
            scores = [futures[name].result().score for name in ("with", "without")]
        yield (str(story), "60 s", story.part, *attained(scores[0]), *attained(scores[1]))


def attained(score: Score) -> tuple[str, str]:
    """The share within both targets, and its price."""
    return f"{score.within_both:.2%}", f"{score.gpu_hours:.2f}"


def show(*rows: Sequence[str]) -> None:
    """Print rows of a Markdown table."""
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="*", type=Path, help="(default: what each part contributes where it shows)")
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
        "--predictors",
        default="constant,arima,kalman,prophet",
        help="of the published rules (default: constant,arima,kalman,prophet)",
    )
    parser.add_argument("--no-parts", dest="parts", action="store_false", help="leave out what each part contributes")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    console = Console(stderr=True)
    if not options.traces:
        show(PART_HEADINGS, ["---"] * len(PART_HEADINGS))
        for row in story_rows(options):
            show(row)
        return
    show(HEADINGS, ["---"] * len(HEADINGS))
    parts: list[tuple[str, ...]] = []
    for trace in options.traces:
        for interval in map(float, options.intervals.split(",")):
            with console.status(f"{trace.name}, {interval:g} s"):
                name, scores = compete(trace, interval, options)
            where = name, f"{interval:g} s"
            show(*((*where, *row) for row in frontier_rows(scores)))
            parts += [(*where, *row) for row in part_rows(scores)]
    if not options.parts:
        return
    headings = *PART_HEADINGS, "difference with", "difference without"
    print("\nWhat each part contributes:\n")
    show(headings, ["---"] * len(headings), *parts)


if __name__ == "__main__":
    main()
