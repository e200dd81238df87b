"""Runs as pictures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.drawing import draw_forecast, finish, picture, plain_decades, scale_of_counts, scale_of_ratios
from planner.settings import Settings
from planner.simulate.axes import time_unit
from planner.simulate.contest import wanted_share
from planner.simulate.table import gpu_hours_text, share_text
from planner.simulation.loop import Point, Run

# GPU-hours that are so many times apart are drawn on a logarithmic scale.
_WIDE = 5.0


def draw(run: Run, title: str, file: Path, settings: Settings) -> None:
    """Draw load and forecast, both pools, latencies, what was attained, backlog and GPUs over time.

    Args:
        run: A run of one interval at least.
        title: What it is.
        file: A PNG to write.
        settings: Those of the run; its targets are what latencies are drawn over.
    """
    points = run.points
    unit, seconds = time_unit(points[-1].time_s)
    times = [point.time_s / seconds for point in points]
    pools = _pools(points)
    with picture(file, 11, 10 + 2 * len(pools)) as figure:
        load, *workers, latency, attained, backlog, gpus = figure.subplots(5 + len(pools), 1, sharex=True)
        figure.suptitle(title, fontweight="bold")
        _draw_load(load, times, points, seconds)
        for axes, (index, heading) in zip(workers, pools, strict=True):
            _draw_pool(axes, seconds, run, index, heading)
        _draw_latency(latency, times, points, settings.ttft, settings.itl)
        _draw_attained(attained, times, run.attained, wanted_share(settings))
        backlog.fill_between(times, [point.observation.queued or 0 for point in points], color="C5", linewidth=0)
        scale_of_counts(backlog)
        finish(backlog, "Waiting for a first token", "requests")
        _draw_gpus(gpus, times, points)
        gpus.set_xlabel(unit)


def _pools(points: Sequence[Point]) -> Sequence[tuple[int, str]]:
    """Which pools there are, 0 for prefill and 1 for decode, and what to call them."""
    if any(point.target[0] or (point.observation.prefill and point.observation.prefill.ready) for point in points):
        return (0, "Prefill workers"), (1, "Decode workers")
    return ((1, "Workers"),)


def _draw_load(axes: Any, times: Sequence[float], points: Sequence[Point], seconds: float) -> None:
    axes.plot(times, [point.observation.request_rate_rps for point in points], label="arrivals", color="C0")
    told = [(point.time_s, point.forecast) for point in points if point.forecast is not None]
    draw_forecast(axes, [(time_s + load.interval) / seconds for time_s, load in told], [load for _, load in told])
    axes.set_ylim(bottom=0)
    finish(axes, "Load and forecast", "requests/s", 3)


def _draw_pool(axes: Any, seconds: float, run: Run, index: int, title: str) -> None:
    points = run.decisions
    times = [point.time_s / seconds for point in points]
    workers = [(point.observation.prefill, point.observation.decode)[index] for point in points]
    ready = [one.ready if one else 0 for one in workers]
    axes.fill_between(times, ready, step="post", color="C2", alpha=0.5, linewidth=0, label="ready")
    axes.step(times, [point.target[index] for point in points], where="post", color="black", linewidth=1, label="asked")
    needed = [(point.time_s / seconds, need) for point in run.points if (need := point.needed[index]) is not None]
    if needed:
        axes.step(*zip(*needed, strict=True), where="post", color="C3", linewidth=0.8, linestyle=":", label="needed")
    scale_of_counts(axes)
    finish(axes, title, "workers", 3)


def _draw_latency(axes: Any, times: Sequence[float], points: Sequence[Point], ttft_ms: float, itl_ms: float) -> None:
    for label, target, mean, quantiles, colour in (
        ("TTFT", ttft_ms, "ttft_ms", "ttft_quantiles_ms", "C3"),
        ("ITL", itl_ms, "itl_ms", "itl_quantiles_ms", "C4"),
    ):
        seen = [point.observation for point in points]
        axes.plot(times, [_over(getattr(one, mean), target) for one in seen], color=colour, label=f"{label} mean")
        p95 = [_over((getattr(one, quantiles) or {}).get(0.95), target) for one in seen]
        axes.plot(times, p95, color=colour, linewidth=0.7, linestyle="--", label=f"{label} p95")
    scale_of_ratios(axes)
    finish(axes, f"Latency over target (TTFT {ttft_ms:g} ms, ITL {itl_ms:g} ms)", "over target", 4)


def _draw_attained(axes: Any, times: Sequence[float], attained: Sequence[float | None], wanted: float) -> None:
    shares = [math.nan if share is None else 100 * share for share in attained[: len(times)]]
    # Each share is of the time before its point.
    edges, values = [0.0, *times], [*shares[:1], *shares]
    axes.fill_between(edges, values, step="pre", color="C0", alpha=0.35, linewidth=0)
    axes.step(edges, values, where="pre", color="C0", linewidth=1)
    axes.axhline(100 * wanted, color="black", linewidth=0.8, linestyle=":")
    lowest = min((share for share in shares if not math.isnan(share)), default=100.0)
    # What is missed shall be seen, also where it is little.
    axes.set_ylim(max(0.0, min(lowest - 5, 90.0)), 100)
    finish(axes, f"Requests within both targets, by arrival ({100 * wanted:g} % wanted)", "%")


def _draw_gpus(axes: Any, times: Sequence[float], points: Sequence[Point]) -> None:
    gpus = [point.gpus for point in points]
    spans = [
        later - earlier for earlier, later in itertools.pairwise([0.0, *(point.time_s / 3600 for point in points)])
    ]
    used = list(itertools.accumulate(count * span for count, span in zip(gpus, spans, strict=True)))
    axes.step(times, gpus, where="post", color="black", linewidth=1, label="in use")
    axes.plot([], [], color="C0", linewidth=1, linestyle="--", label="GPU-hours so far")
    scale_of_counts(axes)
    finish(axes, "GPUs", "GPUs", 2)
    beside = axes.twinx()
    beside.spines.right.set_visible(True)
    beside.plot(times, used, color="C0", linewidth=1, linestyle="--")
    beside.set_ylim(bottom=0)
    beside.set_ylabel("GPU-hours")


def draw_overview(runs: Mapping[str, Run], file: Path) -> None:
    """Draw what every run attained over what it spent."""
    with picture(file, 11, max(3.6, 0.24 * len(runs) + 1.2)) as figure:
        axes = figure.subplots()
        for number, (name, run) in enumerate(runs.items()):
            score = run.score
            said = f"{name}: {share_text(score.within_both, 2)}, {gpu_hours_text(score.gpu_hours)} GPU-h"
            # The colours run out after ten; then the marks change.
            style: dict[str, Any] = {
                "marker": "osD^v"[number // 10 % 5],
                "color": f"C{number % 10}",
                "markersize": 7 + 2 * (number == 0),
            }
            axes.plot(score.gpu_hours, 100 * score.within_both, linestyle="", label=said, **style)
        spent = [run.score.gpu_hours for run in runs.values()]
        if min(spent) > 0 and max(spent) > _WIDE * min(spent):
            axes.set_xscale("log")
            plain_decades(axes.xaxis)
        axes.margins(x=0.08, y=0.15)
        axes.grid(alpha=0.3, linewidth=0.6, which="both")
        axes.set_xlabel("GPU-hours")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelspacing=0.7)
        finish(axes, "Requests within both targets, and what that cost: the upper left is best", "%")


def _over(value: float | None, target: float) -> float | None:
    return None if value is None else value / target
