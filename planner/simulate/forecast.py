"""``python -m planner forecast``: which predictor knows one's traffic best."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Future

from rich.console import Console

from planner.cli import EXIT_FAILED, EXIT_INTERRUPTED, Invocation, failed, interrupted
from planner.output import prepare, unwritable
from planner.settings import ConfigurationError, Settings
from planner.simulate.backtest import Course, Courses, backtest
from planner.simulate.crew import Crew, LostWorkError, results, until_over
from planner.simulate.curves import draw
from planner.simulate.forecast_document import courses_as_json
from planner.simulate.series import UNITS, Recorded, read_series
from planner.simulate.table import fits
from planner.simulate.verdicts import advice, legend, table
from planner.simulate.watch import Ends, bars
from planner.simulation.trace import TraceError
from predictors import MODELS

_MOST_AHEAD = 100
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
            f"which takes {least} or more: give a longer trace or a shorter interval; timestamps that are numbers "
            "are in ms"
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
    interval_s, extras = invocation.settings.adjustment_interval, invocation.extras
    trace, output = extras.trace, extras.output
    picture, document = output / "forecast.png", output / "forecast.json"
    try:
        document.write_text(courses_as_json(trace, recorded, courses, horizons, interval_s), encoding="utf-8")
        title = f"Forecasts of {trace.name}"
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
    whole = table(courses, horizons, interval_s)
    for shown in [whole] if fits(whole, console.width) else [table(courses, [step], interval_s) for step in horizons]:
        console.print(shown)
    console.print(legend(horizons))
    console.print(advice(courses, horizons))
