"""``python -m planner forecast``: which predictor knows one's traffic best."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from planner.cli import EXIT_BAD_CONFIGURATION, Invocation
from planner.settings import ConfigurationError, Settings
from planner.simulation.arrivals import read_rates
from planner.simulation.trace import Trace, TraceError
from predictors import MODELS, Forecast, InlineFitter, PredictorOptions, make_predictor

SERIES = ("requests", "isl", "osl")
_TAIL = 0.9
# Intervals made of rows may be so much longer or shorter than asked for.
_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a predictor did at one horizon.

    Attributes:
        wape: Sum of absolute errors over the sum of values.
        pinball: Pinball loss of the 0.9 quantile over the mean value.
        below: Share of values that were not above the 0.9 quantile.
    """

    wape: float
    pinball: float
    below: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A backtest of one predictor on one series: forecasts by horizon, each for the interval it was made for."""

    forecasts: Mapping[int, Sequence[Forecast | None]]
    verdicts: Mapping[int, Verdict]


def forecast(invocation: Invocation) -> int:
    """Carry out the command.

    Returns:
        The exit code.
    """
    extras, settings = invocation.extras, invocation.settings
    try:
        names, horizons = _names(extras.predictors), _steps(extras.horizons)
        series = read_series(extras.trace, settings.adjustment_interval)
    except (ConfigurationError, TraceError) as error:
        print(f"python -m planner forecast: error: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_BAD_CONFIGURATION
    tasks = [(kind, name) for kind in SERIES for name in names]
    courses = {
        task: backtest(task[1], series[task[0]], horizons, settings)
        for task in track(tasks, description="forecasting", console=Console(stderr=True), transient=True)
    }
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(_table(courses, horizons, settings.adjustment_interval))
    file = extras.output / "forecast.png"
    _draw(series, courses, horizons[0], settings.adjustment_interval, file)
    console.print(f"The curves: {file}")
    return 0


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in MODELS]:
        raise ConfigurationError(f"--predictors {unknown[0]!r} is unknown; accepted are {', '.join(MODELS)}")
    return names


def _steps(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 100 for part in parts):
        raise ConfigurationError(f"--horizons {text!r}: expected whole numbers from 1 to 100, separated by commas")
    return [int(part) for part in parts]


def read_series(path: Path, interval_s: float) -> dict[str, list[float | None]]:
    """Request count, mean ISL and mean OSL of every interval of a trace; lengths are None where nothing came.

    Raises:
        TraceError: The trace cannot be read.
    """
    if path.suffix == ".csv":
        return _resampled(path, interval_s)
    intervals = Trace(path).intervals(interval_s, whole=True)
    return {
        "requests": [float(one.requests) for one in intervals],
        "isl": [one.isl for one in intervals],
        "osl": [one.osl for one in intervals],
    }


def _resampled(path: Path, interval_s: float) -> dict[str, list[float | None]]:
    spans = read_rates(path)
    length_s = spans[0].length_s
    group = round(interval_s / length_s)
    if group < 1 or abs(group * length_s - interval_s) > _ROUNDING * interval_s:
        raise TraceError(
            f"{path}: its rows are {length_s:g} s long, from which no intervals of {interval_s:g} s can be made; "
            f"give --adjustment-interval {max(1, group) * length_s:g}"
        )
    chunks = [spans[at : at + group] for at in range(0, len(spans) - group + 1, group)]
    requests, isl, osl = list[float | None](), list[float | None](), list[float | None]()
    for chunk in chunks:
        counts = [span.rate_rps * span.length_s for span in chunk]
        total = sum(counts)
        requests.append(total)
        isl.append(sum(n * span.isl for n, span in zip(counts, chunk, strict=True)) / total if total else None)
        osl.append(sum(n * span.osl for n, span in zip(counts, chunk, strict=True)) / total if total else None)
    return {"requests": requests, "isl": isl, "osl": osl}


def backtest(name: str, values: Sequence[float | None], horizons: Sequence[int], settings: Settings) -> Course:
    """Run a predictor along a series, and judge what it said before each value.

    Args:
        name: The predictor.
        values: The series; None where unknown.
        horizons: Intervals to look ahead.
        settings: Options of predictors.
    """
    options = PredictorOptions(
        interval_s=settings.adjustment_interval,
        log1p=settings.load_predictor_log1p,
        prophet_window_size=settings.prophet_window_size,
        kalman_q_level=settings.kalman_q_level,
        kalman_q_trend=settings.kalman_q_trend,
        kalman_r=settings.kalman_r,
        kalman_min_points=settings.kalman_min_points,
    )
    predictor = make_predictor(name, options, InlineFitter())
    said: dict[int, list[Forecast | None]] = {step: [None] * len(values) for step in horizons}
    for index, value in enumerate(values):
        for step in horizons:
            if index + step - 1 < len(values):
                said[step][index + step - 1] = predictor.forecast(step)
        predictor.observe(value, index * settings.adjustment_interval)
    return Course(forecasts=said, verdicts={step: _judge(values, said[step]) for step in horizons})


def _judge(values: Sequence[float | None], forecasts: Sequence[Forecast | None]) -> Verdict:
    pairs = [(value, one) for value, one in zip(values, forecasts, strict=True) if value is not None and one]
    total = math.fsum(value for value, _ in pairs)
    if not total:
        return Verdict(wape=math.nan, pinball=math.nan, below=math.nan)
    tails = [one.quantile(_TAIL) for _, one in pairs]
    losses = [max(_TAIL * (v - q), (1 - _TAIL) * (q - v)) for (v, _), q in zip(pairs, tails, strict=True)]
    return Verdict(
        wape=math.fsum(abs(value - one.mean) for value, one in pairs) / total,
        pinball=math.fsum(losses) / total,
        below=sum(value <= tail for (value, _), tail in zip(pairs, tails, strict=True)) / len(pairs),
    )


def _table(courses: Mapping[tuple[str, str], Course], horizons: Sequence[int], interval_s: float) -> Table:
    shown = Table(title=f"Backtest, intervals of {interval_s:g} s", title_justify="left", pad_edge=False)
    for heading in ("series", "predictor"):
        shown.add_column(heading)
    for step in horizons:
        for heading in (f"WAPE +{step}", "pinball 0.9", "below p90"):
            shown.add_column(heading, justify="right")
    for kind in SERIES:
        rows = [(name, course) for (of, name), course in courses.items() if of == kind]
        for name, course in rows:
            shown.add_row(kind, name, *_cells(course, rows, horizons))
        shown.add_section()
    return shown


def _cells(course: Course, rows: Sequence[tuple[str, Course]], horizons: Sequence[int]) -> Iterator[str]:
    for step in horizons:
        verdict = course.verdicts[step]
        best = min(other.verdicts[step].wape for _, other in rows)
        text = f"{verdict.wape:.4f}"
        yield f"[bold green]{text}[/]" if verdict.wape == best else text
        yield f"{verdict.pinball:.4f}"
        yield f"{verdict.below:.0%}"


def _draw(
    series: Mapping[str, Sequence[float | None]],
    courses: Mapping[tuple[str, str], Course],
    step: int,
    interval_s: float,
    file: Path,
) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - it takes a second to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(12, 9), layout="constrained")
        for axes, kind in zip(figure.subplots(3, 1, sharex=True), SERIES, strict=True):
            of_kind = {name: course for (of, name), course in courses.items() if of == kind}
            _draw_series(axes, series[kind], of_kind, step, interval_s)
            axes.set_title(f"{kind}, {step} interval{'s' * (step > 1)} ahead", loc="left", fontweight="bold")
        axes.set_xlabel("hours")
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=110)


def _draw_series(
    axes: Any,
    values: Sequence[float | None],
    courses: Mapping[str, Course],
    step: int,
    interval_s: float,
) -> None:
    hours = np.arange(len(values)) * interval_s / 3600
    axes.plot(hours, [math.nan if one is None else one for one in values], color="black", linewidth=1, label="observed")
    for number, (name, course) in enumerate(courses.items()):
        said = course.forecasts[step]
        means = [math.nan if one is None else one.mean for one in said]
        axes.plot(hours, means, linewidth=0.8, color=f"C{number % 10}", label=name)
        if name == "auto":
            low, high = ([math.nan if one is None else one.quantile(p) for one in said] for p in (0.1, 0.9))
            axes.fill_between(hours, low, high, color=f"C{number % 10}", alpha=0.2, linewidth=0)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", ncols=6, frameon=False)
