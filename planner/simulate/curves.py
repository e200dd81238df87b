"""Backtests as a picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.drawing import draw_band, picture
from planner.simulate.axes import time_unit
from planner.simulate.backtest import BAND, Course, Courses, Verdict
from planner.simulate.series import UNITS, Recorded, Values
from predictors import Forecast

_NAMES = {"requests": "Requests", "isl": "ISL", "osl": "OSL"}
# A forecast that is far off shall not press everything else to the bottom.
_MOST_OVER_PEAK = 1.5
# More intervals than these cannot be told apart.
_MOST_DRAWN = 500


def draw(
    recorded: Recorded,
    courses: Courses,
    *,
    horizons: Sequence[int],
    interval_s: float,
    title: str,
    file: Path,
) -> None:
    """Draw a column for each series and a row for each predictor, and below how the error grows with the horizon.

    Args:
        recorded: What there was.
        courses: Backtests by predictor and series.
        horizons: Intervals looked ahead; the curves are of the first.
        interval_s: Length of an interval, seconds.
        title: A heading.
        file: A PNG to write.
    """
    rows = len(courses) + 1
    with picture(file, 16, 2.1 * rows + 1.4) as figure:
        panels = figure.subplots(rows, len(UNITS), squeeze=False)
        ahead = f"{horizons[0]} interval{'s' * (horizons[0] > 1)} of {interval_s:g} s ahead"
        if recorded.intervals > _MOST_DRAWN:
            ahead += f", the last {_MOST_DRAWN} of {recorded.intervals}"
        figure.suptitle(f"{title}: {ahead}", fontweight="bold", fontsize=12)
        for column, kind in enumerate(UNITS):
            of_kind = {name: course[kind] for name, course in courses.items()}
            stack = [panels[row][column] for row in range(rows)]
            _draw_column(stack, recorded.values[kind], of_kind, horizons, _Scale(kind, interval_s, recorded.intervals))
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)


@dataclass(frozen=True, slots=True)
class _Scale:
    """What the axes of a series are in."""

    kind: str
    interval_s: float
    intervals: int

    @property
    def unit(self) -> tuple[str, float]:
        """What values are in, and how much of the series' unit that is."""
        return ("requests/s", self.interval_s) if self.kind == "requests" else (UNITS[self.kind], 1.0)

    @property
    def time(self) -> tuple[str, float]:
        """What times are in, and how many seconds that is."""
        return time_unit(self.intervals * self.interval_s)

    @property
    def drawn(self) -> slice:
        """The intervals that are drawn, the last ones."""
        return slice(max(0, self.intervals - _MOST_DRAWN), self.intervals)

    @property
    def times(self) -> NDArray[np.float64]:
        """When the intervals that are drawn begin."""
        return np.arange(self.intervals, dtype=np.float64)[self.drawn] * (self.interval_s / self.time[1])


def _draw_column(
    stack: Sequence[Any], values: Values, courses: Mapping[str, Course], horizons: Sequence[int], scale: _Scale
) -> None:
    step, *_ = horizons
    values = values[scale.drawn]
    said = {name: course.forecasts[step][scale.drawn] for name, course in courses.items()}
    peak = max((value for value in values if value is not None), default=0.0) or 1.0
    seen = [_quantiles(forecasts, BAND[1]) for forecasts in said.values()]
    top = min(_MOST_OVER_PEAK * peak, max(1.05 * peak, float(np.nanmax([*itertools.chain(*seen), 0.0]))))
    for number, (axes, (name, course)) in enumerate(zip(stack, courses.items(), strict=False)):
        _draw_course(axes, values, said[name], scale, f"C{number}")
        axes.set_ylim(0, top / scale.unit[1])
        axes.set_title(f"$\\bf{{{name}}}$   {_verdict(course.verdicts[step])}", loc="left", fontsize=9)
        axes.set_ylabel(scale.unit[0])
        axes.tick_params(labelbottom=number == len(courses) - 1)
    stack[0].annotate(
        _NAMES[scale.kind], (0.5, 1.3), xycoords="axes fraction", ha="center", fontweight="bold", fontsize=11
    )
    stack[-2].set_xlabel(scale.time[0])
    _draw_errors(stack[-1], courses, horizons)


def _verdict(verdict: Verdict) -> str:
    return f"WAPE {verdict.wape:.1%}, loss {verdict.pinball:.1%}, {verdict.below:.0%} not above p90"


def _draw_course(axes: Any, values: Values, said: Sequence[Forecast | None], scale: _Scale, colour: str) -> None:
    times, unit = scale.times, scale.unit[1]
    observed = [math.nan if value is None else value / unit for value in values]
    axes.plot(times, observed, color="0.35", linewidth=0.9, label="observed")
    means = [math.nan if one is None else one.mean / unit for one in said]
    axes.plot(times, means, color=colour, linewidth=0.9, label="forecast")
    low, high = (np.array(_quantiles(said, p)) / unit for p in BAND)
    draw_band(axes, times, low, high, colour=colour)
    axes.margins(x=0.01)
    axes.grid(alpha=0.25, linewidth=0.6)


def _draw_errors(axes: Any, courses: Mapping[str, Course], horizons: Sequence[int]) -> None:
    for number, (name, course) in enumerate(courses.items()):
        wape = [100 * course.verdicts[step].wape for step in horizons]
        axes.plot(horizons, wape, "o-", color=f"C{number}", linewidth=1.2, markersize=4, label=name)
    axes.set_title("Error by horizon", loc="left", fontsize=9)
    axes.set_xlabel("intervals ahead")
    axes.set_ylabel("WAPE, %")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.legend(loc="lower right", ncols=3, frameon=False, fontsize=8)


def _quantiles(forecasts: Sequence[Forecast | None], p: float) -> list[float]:
    return [math.nan if one is None else one.quantile(p) for one in forecasts]
