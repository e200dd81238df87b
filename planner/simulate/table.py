"""Scores as a table, and what it leaves unsaid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from planner.settings import Settings
from planner.simulate.contest import Entry
from planner.simulate.static import SmallestStatic
from planner.simulate.survey import Survey
from planner.simulation.loop import Point, Run
from planner.simulation.score import Latency, Score

# Wider than any table.
_ENDLESS = 10_000

COLUMNS: Mapping[str, Any] = {
    "both": lambda score: share_text(score.within_both, 2),
    "TTFT": lambda score: share_text(score.within_ttft, 2),
    "ITL": lambda score: share_text(score.within_itl, 2),
    "worst 5 min": lambda score: share_text(score.worst, 1),
    "TTFT mean/p50/p90/p99 ms": lambda score: _latency(score.ttft),
    "ITL mean/p50/p90/p99 ms": lambda score: _latency(score.itl, 1),
    "GPU-h": lambda score: gpu_hours_text(score.gpu_hours),
    "x bound": lambda score: f"{score.over_bound:.2f}",
    "scalings/h": lambda score: f"{score.scalings_per_hour:.1f}",
    "wasted worker-min": lambda score: f"{score.wasted_worker_minutes:.0f}",
}


def share_text(share: float, digits: int) -> str:
    """A share in percent; a dash if there is none."""
    return "-" if math.isnan(share) else f"{share:.{digits}%}"


def gpu_hours_text(hours: float) -> str:
    """GPU-hours with three digits or more, so that a short run has some as well."""
    return f"{hours:.{0 if hours >= 1000 else 1 if hours >= 100 else 2}f}"


def _latency(latency: Latency, digits: int = 0) -> str:
    if math.isnan(latency.mean):
        return "-"
    return "/".join(f"{value:.{digits}f}" for value in (latency.mean, latency.p50, latency.p90, latency.p99))


def cells(score: Score) -> list[str]:
    """The cells of a row."""
    return [show(score) for show in COLUMNS.values()]


def tables(runs: Mapping[str, Run], width: int) -> list[Table]:
    """A table of runs for a terminal of so many columns; three where one would be too wide."""
    whole = _table(runs, list(COLUMNS))
    if fits(whole, width):
        return [whole]
    headings = list(COLUMNS)
    return [_table(runs, part) for part in (headings[:4], headings[4:6], headings[6:])]


def _table(runs: Mapping[str, Run], headings: Sequence[str]) -> Table:
    shown = Table(pad_edge=False)
    shown.add_column("", no_wrap=True)
    for heading in headings:
        texts = [COLUMNS[heading](run.score) for run in runs.values()]
        # A heading may be folded between its words, a number nowhere.
        shown.add_column(heading, justify="right", min_width=max(map(len, [*heading.split(), *texts])))
    for name, run in runs.items():
        shown.add_row(name, *(COLUMNS[heading](run.score) for heading in headings))
    return shown


def fits(table: Table, width: int) -> bool:
    """Whether a terminal of so many columns shows a table without folding or cutting anything."""
    endless = Console(width=_ENDLESS)
    return Measurement.get(endless, endless.options, table).maximum <= width


def footnote(runs: Mapping[str, Run]) -> str:
    """What the table leaves unsaid."""
    score = next(iter(runs.values())).score
    bounds = [run.score.bound_gpu_hours for run in runs.values()]
    bound = f"{gpu_hours_text(score.bound_gpu_hours)} GPU-hours"
    if max(bounds) > 1.001 * min(bounds):
        bound = (
            f"{gpu_hours_text(min(bounds))} to {gpu_hours_text(max(bounds))} GPU-hours by the targets and mode of each"
        )
    infeasible = "all could be served within both targets by idle engines"
    if score.infeasible:
        infeasible = (
            f"{score.infeasible:,} not even idle engines could serve within both targets: left out of the shares"
        )
    return (
        f"Of {_number(score.requests)}, {infeasible}. Lower bound: {bound}, every worker always busy at its best "
        "throughput within target."
    )


def arrived(seen: Survey) -> str:
    """What came, in a sentence that shows at a glance whether the file was understood."""
    rate = seen.requests / seen.length_s if seen.length_s else float(seen.requests)
    return (
        f"{_number(seen.requests)} in {_span(seen.length_s)}, {_rate(rate)}/s on average, "
        f"of {seen.isl:.0f} tokens in and {seen.osl:.0f} out."
    )


def _number(requests: int) -> str:
    return f"{requests:,} request{'s' * (requests != 1)}"


def _rate(rate_rps: float) -> str:
    """A rate with three digits, never as a power of ten."""
    return f"{rate_rps:,.0f}" if rate_rps >= 100 else f"{rate_rps:.3g}" if rate_rps >= 0.001 else f"{rate_rps:.6f}"


def _span(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def own_targets(entries: Iterable[Entry], settings: Settings) -> list[str]:
    """Who is scored by other targets than those given, a sentence each.

    Args:
        entries: Who takes part.
        settings: The settings as given.
    """
    return [
        f"{entry.name} is scored by its own targets, TTFT {entry.settings.ttft:g} ms and ITL {entry.settings.itl:g} ms."
        for entry in entries
        if (entry.settings.ttft, entry.settings.itl) != (settings.ttft, settings.itl)
    ]


def held_back(runs: Mapping[str, Run], budget: int) -> list[str]:
    """Who would have had more workers if the GPU budget allowed it, or had more than it allows, a sentence each.

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
        # Workers that drain beside their successors are within the rules; what is asked for counts.
        elif name.startswith("static") and (most := max((point.gpus for point in run.points), default=0)) > budget:
            found.append(f"{name} takes {most} GPUs, more than --max-gpu-budget {budget} holds.")
    return found


def _needs(point: Point) -> Iterable[tuple[int | None, int]]:
    return zip(point.needed, point.target, strict=True)


def tried(search: SmallestStatic, wanted: float) -> str:
    """How the smallest static pool was found, in a sentence."""
    others = ", ".join(f"{size_name(size)} {share:.2%}" for size, share in search.tried.items() if size != search.size)
    return (
        f"static {size_name(search.size)} is the smallest of {len(search.tried)} pools tried that attains "
        f"{wanted:.1%}; the others: {others}."
    )


def size_name(size: tuple[int, int]) -> str:
    """What to call a pool of so many prefill and decode workers."""
    return f"{size[0]}+{size[1]}" if size[0] else str(size[1])
