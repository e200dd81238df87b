"""``python -m planner forecast``: which predictor knows one's traffic best."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from planner.cli import EXIT_FAILED, EXIT_INTERRUPTED, Invocation, failed, interrupted
from planner.dashboard.recording import finite
from planner.settings import ConfigurationError, Settings
from planner.simulate.backtest import BAND, Course, backtest
from planner.simulate.crew import Crew, LostWorkError, results, until_over
from planner.simulate.curves import draw
from planner.simulate.output import prepare, unwritable
from planner.simulate.series import UNITS, Recorded, read_series
from planner.simulate.table import fits
from planner.simulate.watch import Ends, bars
from planner.simulation.trace import TraceError
from predictors import MODELS, Forecast

Courses = Mapping[str, Mapping[str, Course]]
"""Backtests by predictor, and by series."""

_MOST_AHEAD = 100
# Losses that differ by less say nothing.
_ALIKE = 0.02
# Fewer intervals than this beyond the farthest horizon say nothing of a predictor.
_LEAST_JUDGED = 10
# What is fitted anew as values come in, slowest first: begun first, and said to take its time.
_FITTED = {"prophet": "prophet, fits every interval", "arima": "arima, fits now and then"}


def forecast(invocation: Invocation) -> int:
    """Carry out the command.

    Returns:
        The exit code: 0, 1 if a process was lost, 2 if what was given cannot be used, 130 after Ctrl-C, with what had
        ended by then.
    """
    extras, settings = invocation.extras, invocation.settings
    aside = Console(stderr=True, highlight=False)
    try:
        names, horizons = _names(extras.predictors), _steps(extras.horizons)
        prepare(extras.output)
        recorded = _read(invocation, horizons, aside)
        courses = _backtest_all(recorded, names, horizons, settings=settings, processes=extras.processes, console=aside)
        _hand_out(recorded, courses, horizons, invocation)
    except (ConfigurationError, TraceError) as error:
        return failed(invocation, error)
    except LostWorkError as error:
        return failed(invocation, error, EXIT_FAILED)
    except KeyboardInterrupt:
        return interrupted(invocation, "stopped before any predictor had ended")
    if left_out := [name for name in names if name not in courses]:
        print(f"Stopped before these had ended: {', '.join(left_out)}", file=sys.stderr)  # noqa: T201
        return EXIT_INTERRUPTED
    return 0


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in MODELS]:
        raise ConfigurationError(f"--predictors {unknown[0]!r} is unknown; accepted are {', '.join(MODELS)}")
    if not names:
        raise ConfigurationError(f"--predictors {text!r} names none; accepted are {', '.join(MODELS)}")
    return names


def _steps(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= _MOST_AHEAD for part in parts):
        raise ConfigurationError(
            f"--horizons {text!r}: expected whole numbers from 1 to {_MOST_AHEAD}, separated by commas"
        )
    return sorted({int(part) for part in parts})


def _read(invocation: Invocation, horizons: Sequence[int], console: Console) -> Recorded:
    """The trace by intervals.

    Raises:
        TraceError: It cannot be read, or is too short to judge anyone.
    """
    extras, interval_s = invocation.extras, invocation.settings.adjustment_interval
    with console.status("reading the trace"):
        recorded = read_series(extras.trace, interval_s, start_s=extras.start, duration_s=extras.duration)
    if recorded.trace and recorded.trace.complaint:
        console.print(f"Note: {recorded.trace.complaint}", style="yellow", soft_wrap=True)
    least = horizons[-1] + _LEAST_JUDGED
    length = f"{recorded.intervals} interval{'s' * (recorded.intervals != 1)} of {interval_s:g} s"
    if recorded.intervals < least:
        raise TraceError(
            f"{extras.trace} has {length} (--adjustment-interval), too few to judge forecasts {horizons[-1]} ahead, "
            f"which takes {least} or more: give a longer trace or a shorter interval; timestamps of JSON lines are in "
            "ms"
        )
    if not any(recorded.values["requests"]):
        raise TraceError(f"{extras.trace}: nothing arrives in {length}")
    console.print(length)
    return recorded


def _backtest_all(
    recorded: Recorded,
    names: Sequence[str],
    horizons: Sequence[int],
    *,
    settings: Settings,
    processes: int | None,
    console: Console,
) -> Courses:
    """Backtests of all predictors on all series, side by side; after Ctrl-C those of the predictors that had ended.

    Raises:
        KeyboardInterrupt: Ctrl-C, before any predictor had ended.
    """
    first = [*(name for name in _FITTED if name in names), *(name for name in names if name not in _FITTED)]
    pieces = [(name, kind) for name in first for kind in UNITS]
    ends = Ends(console)
    futures: dict[tuple[str, str], Future[Course]] = {}
    try:
        with bars(console) as progress, Crew(len(pieces), processes=processes) as crew:
            for piece, (name, kind) in enumerate(pieces):
                work = (name, recorded.values[kind], horizons, settings)
                futures[name, kind] = crew.submit(piece, backtest, *work)
            total = recorded.intervals * len(UNITS)
            rows = {name: progress.add_task(_FITTED.get(name, name), total=total) for name in names}
            for _ in until_over(futures.values()):
                for name, row in rows.items():
                    come = sum(crew.progress(piece) for piece, (of, _) in enumerate(pieces) if of == name)
                    progress.update(row, completed=come)
                    if come == total:
                        ends.tell([name])
            ends.tell(names)
    except KeyboardInterrupt:
        names = [name for name in names if all((name, kind) in results(futures) for kind in UNITS)]
        if not names:
            raise
    ended = results(futures)
    return {name: {kind: ended[name, kind] for kind in UNITS} for name in names}


def _hand_out(recorded: Recorded, courses: Courses, horizons: Sequence[int], invocation: Invocation) -> None:
    interval_s, output = invocation.settings.adjustment_interval, invocation.extras.output
    picture, document = output / "forecast.png", output / "forecast.json"
    try:
        document.write_text(_as_json(recorded, courses, horizons, invocation), encoding="utf-8")
        title = f"Forecasts of {invocation.extras.trace.name}"
        draw(recorded, courses, horizons=horizons, interval_s=interval_s, title=title, file=picture)
    except OSError as error:
        raise unwritable(output, error) from error
    finally:
        # Last, as whoever reads it may close the pipe.
        _show(courses, horizons, interval_s)
    Console(highlight=False).print(f"The curves: {picture}; all of it for machines: {document}", soft_wrap=True)


def _show(courses: Courses, horizons: Sequence[int], interval_s: float) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140
    whole = _table(courses, horizons, interval_s)
    for shown in [whole] if fits(whole, console.width) else [_table(courses, [step], interval_s) for step in horizons]:
        console.print(shown)
    console.print(_legend(horizons))
    console.print(_ranking_sentence(courses, horizons))


def _table(courses: Courses, horizons: Sequence[int], interval_s: float) -> Table:
    shown = Table(title=f"Backtest, intervals of {interval_s:g} s", title_justify="left", pad_edge=False)
    for heading in ("series", "predictor"):
        shown.add_column(heading, no_wrap=True)
    for step in horizons:
        for heading in (f"WAPE +{step}", f"loss +{step}", f"<p90 +{step}"):
            shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("ms", justify="right", no_wrap=True)
    for kind in UNITS:
        of_kind = [course[kind] for course in courses.values()]
        for name, course in courses.items():
            cells = _cells(course[kind], of_kind, horizons)
            shown.add_row(kind, name, *cells, _milliseconds(course[kind].cost_s))
        shown.add_section()
    return shown


def _cells(course: Course, rivals: Sequence[Course], horizons: Sequence[int]) -> Iterator[str]:
    for step in horizons:
        verdict = course.verdicts[step]
        for measure in ("wape", "pinball"):
            value, best = getattr(verdict, measure), min(getattr(other.verdicts[step], measure) for other in rivals)
            text = _percent(value, 2)
            yield f"[bold green]{text}[/]" if value == best and len(rivals) > 1 else text
        yield _percent(verdict.below)


def _milliseconds(seconds: float) -> str:
    milliseconds = 1000 * seconds
    return f"{milliseconds:.1f}" if milliseconds < 10 else f"{milliseconds:.0f}"


def _percent(share: float, digits: int = 0) -> str:
    return "-" if math.isnan(share) else f"{share:.{digits}%}"


def _legend(horizons: Sequence[int]) -> str:
    return (
        f"+{horizons[0]}: {horizons[0]} interval{'s' * (horizons[0] > 1)} ahead. WAPE: sum of absolute errors over sum "
        "of values. loss: pinball loss of the 0.9 quantile over the mean value: what it costs to prepare for "
        "it. <p90: values not above it, 90% if it is honest. ms: to learn from a value and forecast, fits included."
    )


def ranking(courses: Courses, horizons: Sequence[int]) -> dict[str, float]:
    """Predictors by their pinball loss, averaged over all series and horizons, best first."""
    losses = {
        name: math.fsum(one.verdicts[step].pinball for one in course.values() for step in horizons)
        / (len(course) * len(horizons))
        for name, course in courses.items()
    }
    return dict(sorted(losses.items(), key=lambda item: (math.isnan(item[1]), item[1])))


def _ranking_sentence(courses: Courses, horizons: Sequence[int]) -> str:
    ranks = ranking(courses, horizons)
    order = ", ".join(f"{name} {_percent(loss, 2)}" for name, loss in ranks.items())
    first, *others = ranks
    text = f"Mean loss, best first: {order}. To use the first: --load-predictor {first}"
    default = Settings.model_fields["load_predictor"].default
    if default in others:
        worse = ranks[default] / ranks[first] - 1
        text += f"; {default}, the default, is {'as good' if worse < _ALIKE else f'{worse:.0%} worse'}"
    return f"{text}."


def _as_json(recorded: Recorded, courses: Courses, horizons: Sequence[int], invocation: Invocation) -> str:
    trace = recorded.trace
    content = {
        "planner_version": version("sla-planner"),
        "trace": str(invocation.extras.trace),
        "interval_s": invocation.settings.adjustment_interval,
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
