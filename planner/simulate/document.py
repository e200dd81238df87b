"""A simulation as one JSON document, for machines; docs/simulation.md tells its keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from planner.dashboard.recording import finite
from planner.settings import Settings
from planner.simulate.contest import Conditions, Entry
from planner.simulate.survey import Survey
from planner.simulation.loop import Point, Run
from planner.simulation.score import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All there is to tell of a simulation.

    Attributes:
        settings: The settings as given, by which a contest is scored.
        conditions: What all went through.
        seen: What arrived.
        entries: Who took part, by name.
        runs: How it went, by name; without those that were given up.
        tried: Share within both targets of every pool tried in search of the smallest, by prefill and decode workers.
        notes: What to keep in mind, a sentence each.
    """

    settings: Settings
    conditions: Conditions
    seen: Survey
    entries: Mapping[str, Entry]
    runs: Mapping[str, Run]
    tried: Mapping[tuple[int, int], float]
    notes: Sequence[str]


def as_json(outcome: Outcome) -> str:
    """The document; null where a number is unknown."""
    settings, trace = outcome.settings, outcome.seen.trace
    content = {
        "planner_version": version("sla-planner"),
        "load": {
            "trace": None if outcome.conditions.load.trace is None else str(outcome.conditions.load.trace),
            "pattern": asdict(outcome.conditions.load.pattern) if outcome.conditions.load.pattern else None,
            "cut": asdict(outcome.conditions.load.cut),
            "requests": outcome.seen.requests,
            "length_s": outcome.seen.length_s,
            "isl": outcome.seen.isl,
            "osl": outcome.seen.osl,
            "bad_lines": trace.bad_lines if trace else 0,
            "bad_line_numbers": trace.bad_line_numbers if trace else [],
        },
        "conditions": {name: value for name, value in asdict(outcome.conditions).items() if name != "load"}
        | {"initial": _pools(outcome.conditions.initial)},
        "adjustment_interval_s": settings.adjustment_interval,
        "ttft_target_ms": settings.ttft,
        "itl_target_ms": settings.itl,
        "max_gpu_budget": settings.max_gpu_budget,
        "runs": {name: _run(outcome.entries[name], run) for name, run in outcome.runs.items()},
        "static_sizes_tried": [_pools(size) | {"share_within_both": share} for size, share in outcome.tried.items()],
        "notes": outcome.notes,
    }
    return json.dumps(finite(content), separators=(",", ":"), allow_nan=False)


def _run(entry: Entry, run: Run) -> dict[str, Any]:
    settings = entry.settings.model_dump(mode="json", exclude_defaults=True)
    return {
        "kind": entry.kind,
        "settings": settings,
        "score": _score(run.score),
        "points": [
            _point(point) | {"share_within_both": share} for point, share in zip(run.points, run.attained, strict=False)
        ],
        "reactions": [_reaction(point) for point in run.reactions],
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "requests": score.requests,
        "infeasible_requests": score.infeasible,
        "share_within_both": score.within_both,
        "share_within_ttft": score.within_ttft,
        "share_within_itl": score.within_itl,
        "share_within_both_worst_5_min": score.worst,
        "ttft_ms": asdict(score.ttft),
        "itl_ms": asdict(score.itl),
        "gpu_hours": score.gpu_hours,
        "gpu_hours_lower_bound": score.bound_gpu_hours,
        "gpu_hours_over_lower_bound": score.over_bound,
        "scalings_per_hour": score.scalings_per_hour,
        "wasted_worker_minutes": score.wasted_worker_minutes,
    }


def _point(point: Point) -> dict[str, Any]:
    seen = asdict(point.observation)
    for name in ("ttft_quantiles_ms", "itl_quantiles_ms"):
        seen[name] = {str(p): value for p, value in (seen[name] or {}).items()} or None
    return {
        "time_s": point.time_s,
        "observation": seen,
        "forecast": asdict(point.forecast) if point.forecast else None,
        "target": _pools(point.target),
        "needed": _pools(point.needed),
        "gpus": point.gpus,
        "reason": point.reason,
    }


def _reaction(point: Point) -> dict[str, Any]:
    return {"time_s": point.time_s, "target": _pools(point.target), "reason": point.reason}


def _pools(workers: tuple[int | None, int | None]) -> dict[str, Any]:
    return {"prefill": workers[0], "decode": workers[1]}
