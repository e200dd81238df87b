"""Backtests as one JSON document, for machines; docs/simulation.md tells its keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from planner.dashboard.recording import finite
from planner.simulate.backtest import BAND, Course, Courses
from planner.simulate.series import UNITS, Recorded
from planner.simulate.verdicts import ranking
from predictors import Forecast


def courses_as_json(
    file: Path, recorded: Recorded, courses: Courses, horizons: Sequence[int], interval_s: float
) -> str:
    """The document; null where a number is unknown.

    Args:
        file: The trace.
        recorded: What it holds.
        courses: Backtests by predictor and series.
        horizons: Intervals looked ahead.
        interval_s: Length of an interval, seconds.
    """
    trace = recorded.trace
    content = {
        "planner_version": version("sla-planner"),
        "trace": str(file),
        "interval_s": interval_s,
        "intervals": recorded.intervals,
        "bad_lines": trace.bad_lines if trace else 0,
        "bad_line_numbers": trace.bad_line_numbers if trace else [],
        "mean_pinball_p90": ranking(courses, horizons),
        "series": {
            kind: {
                "unit": unit,
                "observed": recorded.values[kind],
                "predictors": {name: _course(course[kind]) for name, course in courses.items()},
            }
            for kind, unit in UNITS.items()
        },
    }
    return json.dumps(finite(content), separators=(",", ":"), allow_nan=False)


def _course(course: Course) -> dict[str, Any]:
    return {
        "seconds_per_interval": course.cost_s,
        "horizons": {
            str(step): {
                "wape": verdict.wape,
                "pinball_p90": verdict.pinball,
                "share_not_above_p90": verdict.below,
                "share_not_below_p10": verdict.above_p10,
                "mean": [None if one is None else one.mean for one in course.forecasts[step]],
                "p10": _quantiles(course.forecasts[step], BAND[0]),
                "p90": _quantiles(course.forecasts[step], BAND[1]),
            }
            for step, verdict in course.verdicts.items()
        },
    }


def _quantiles(forecasts: Sequence[Forecast | None], p: float) -> list[float | None]:
    return [None if one is None else one.quantile(p) for one in forecasts]
