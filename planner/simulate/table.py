"""Scores as a table, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from planner.simulation.loop import Point, Run
from planner.simulation.score import Score

COLUMNS: Mapping[str, Any] = {
    "both": lambda score: f"{score.within_both:.2%}",
    "TTFT": lambda score: f"{score.within_ttft:.2%}",
    "ITL": lambda score: f"{score.within_itl:.2%}",
    "worst 5 min": lambda score: f"{score.worst:.1%}",
    "TTFT mean/p50/p90/p99 ms": lambda score: _latency(score.ttft),
    "ITL mean/p50/p90/p99 ms": lambda score: _latency(score.itl, 1),
    "GPU-h": lambda score: f"{score.gpu_hours:.1f}",
    "x bound": lambda score: f"{score.over_bound:.2f}",
    "scalings/h": lambda score: f"{score.scalings_per_hour:.1f}",
    "wasted worker-min": lambda score: f"{score.wasted_worker_minutes:.0f}",
}


def _latency(latency: Any, digits: int = 0) -> str:
    return "/".join(f"{value:.{digits}f}" for value in (latency.mean, latency.p50, latency.p90, latency.p99))


def cells(score: Score) -> list[str]:
    """The cells of a row."""
    return [show(score) for show in COLUMNS.values()]


def table(runs: Mapping[str, Run]) -> Table:
    """A table of runs, for a terminal."""
    shown = Table(pad_edge=False)
    shown.add_column("", no_wrap=True)
    for heading in COLUMNS:
        shown.add_column(heading, justify="right")
    for name, run in runs.items():
        shown.add_row(name, *cells(run.score))
    return shown


def footnote(runs: Mapping[str, Run]) -> str:
    """What the table leaves unsaid."""
    score = next(iter(runs.values())).score
    bounds = [run.score.bound_gpu_hours for run in runs.values()]
    bound = f"{score.bound_gpu_hours:.1f} GPU-hours"
    if max(bounds) > 1.001 * min(bounds):
        bound = f"{min(bounds):.1f} to {max(bounds):.1f} GPU-hours by the targets and mode of each"
    return (
        f"{score.requests} requests; {score.infeasible} of them could not meet both targets even on idle engines and "
        f"are left out of the shares. Lower bound: {bound}, every worker always busy at its best throughput "
        "within target."
    )


def held_back(runs: Mapping[str, Run], budget: int) -> list[str]:
    """Who would have had more workers if the GPU budget allowed it, a sentence each.

    Args:
        runs: The runs by name.
        budget: The GPU budget.
    """
    found = []
    for name, run in runs.items():
        short = sum(any(need is not None and need > got for need, got in _needs(point)) for point in run.points)
        if short:
            found.append(
                f"{name} needed more than --max-gpu-budget {budget} holds in {short} of {len(run.points)} intervals; "
                "raise it, or -1 for none."
            )
    return found


def _needs(point: Point) -> Iterable[tuple[int | None, int]]:
    return zip(point.needed, point.target, strict=True)


def as_json(runs: Mapping[str, Run]) -> str:
    """Scores and courses, for machines."""
    content: dict[str, Any] = {
        name: {
            "score": asdict(run.score) | {"over_bound": run.score.over_bound},
            "points": [_point(point) for point in run.points],
        }
        for name, run in runs.items()
    }
    return json.dumps(content, separators=(",", ":"))


def _point(point: Point) -> dict[str, Any]:
    content = asdict(point)
    del content["decision"]  # what matters of it stands beside it
    seen = content["observation"]
    for name in ("ttft_quantiles_ms", "itl_quantiles_ms"):
        seen[name] = {str(p): value for p, value in (seen[name] or {}).items()} or None
    return content
