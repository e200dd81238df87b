"""``python -m planner simulate``: what the planner would do to one's traffic, and how others compare."""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from planner.cli import EXIT_FAILED, EXIT_INTERRUPTED, Invocation, failed, interrupted
from planner.engines import load_profile
from planner.output import prepare, unwritable
from planner.settings import ConfigurationError, Found, Settings, flag, nearest, validate
from planner.simulate.bout import Bout
from planner.simulate.contest import Conditions, Entry, Load, limits_of
from planner.simulate.crew import LostWorkError
from planner.simulate.document import Outcome, as_json
from planner.simulate.page import write_report
from planner.simulate.static import Size
from planner.simulate.survey import Survey, starting_workers, survey
from planner.simulate.table import arrived, footnote, share_text, size_name, tables
from planner.simulation.arrivals import Cut
from planner.simulation.pattern import Pattern
from planner.simulation.trace import TraceError
from profiles import ProfileError

PUBLISHED = ("constant", "arima", "kalman", "prophet")

_VARIANT_FORM = "NAME=flag=value,flag=value, such as p99=slo-percentile=99"
_DAY_S = 86_400.0
# What a pattern is where nothing is said of it.
_PATTERN: Mapping[str, Any] = {
    "pattern": "sinusoid",
    "rps": 5.0,
    "peak_rps": None,
    "period": 900.0,
    "burstiness": 1.0,
    "arrivals": "gamma",
}


def simulate(invocation: Invocation) -> int:
    """Carry out the command.

    Returns:
        The exit code: 0, 1 if it serves less than --fail-below or a process was lost, 2 if what was given cannot be
        used, 130 after Ctrl-C, with what had ended by then.
    """
    output: Path = invocation.extras.output
    shown = Console(highlight=False)
    if not shown.is_terminal:
        shown.width = 200
    try:
        prepare(output)
        bout = _bout(invocation, Console(stderr=True, highlight=False))
        outcome = bout.go()
        title = _title(invocation.extras)
        decided = {name: outcome.entries[name].settings for name in outcome.runs}
        try:
            page = write_report(
                outcome.runs, title, output, settings=outcome.settings, decided=decided, notes=outcome.notes
            )
            (output / "simulation.json").write_text(as_json(outcome), encoding="utf-8")
        except OSError as error:
            raise unwritable(output, error) from error
        finally:
            # Last, as whoever reads it may close the pipe.
            _show(outcome, shown)
    except (ConfigurationError, ProfileError, TraceError) as error:
        return failed(invocation, error)
    except LostWorkError as error:
        return failed(invocation, error, EXIT_FAILED)
    except KeyboardInterrupt:
        return interrupted(invocation, "stopped before any run had ended")
    shown.print(f"The curves: {page}; all of it for machines: {output / 'simulation.json'}", soft_wrap=True)
    if bout.given_up:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if _failed(outcome, invocation.extras.fail_below) else 0


def _failed(outcome: Outcome, least_percent: float | None) -> bool:
    """Whether the planner served less than was asked for, and say so."""
    share = next(iter(outcome.runs.values())).score.within_both
    # Where no request can be served within the targets, there is no share.
    if least_percent is None or 100 * share >= least_percent:
        return False
    served = "no request could be served" if math.isnan(share) else f"{share_text(share, 2)} of requests are"
    print(  # noqa: T201
        f"python -m planner simulate: {served} within both targets, fewer than --fail-below {least_percent:g} asks for",
        file=sys.stderr,
    )
    return True


def _show(outcome: Outcome, console: Console) -> None:
    for shown in tables(outcome.runs, console.width):
        console.print(shown)
    console.print(footnote(outcome.runs))
    for note in outcome.notes:
        console.print(f"Note: {note}", style="yellow")


def _title(extras: Namespace) -> str:
    return (
        f"Simulation of {extras.trace.name if extras.trace else 'pattern ' + (extras.pattern or _PATTERN['pattern'])}"
    )


def _bout(invocation: Invocation, console: Console) -> Bout:
    """The contest that was asked for, and what will arrive in it."""
    extras, settings = invocation.extras, invocation.settings
    warnings = load_profile(settings).warnings
    load = _load(extras, settings)
    entries = [*_named(invocation), *_baselines(extras.baseline, settings)]
    _check_names(entries)
    with console.status("looking at the arrivals"):
        seen = survey(load)
    console.print(arrived(seen), soft_wrap=True)
    guess = starting_workers(seen, settings)
    return Bout(
        settings=settings,
        conditions=_conditions(extras, load, _initial(extras, settings, guess)),
        seen=seen,
        notes=warnings,
        entries=[_at_home(entry, settings, seen) for entry in entries],
        smallest_from=guess if "static" in extras.baseline else None,
        processes=extras.processes,
        console=console,
    )


def _initial(extras: Namespace, settings: Settings, guess: Size) -> Size:
    initial = (
        guess[0] if extras.initial_prefill is None else extras.initial_prefill,
        guess[1] if extras.initial_decode is None else extras.initial_decode,
    )
    if settings.aggregated and initial[0]:
        raise ConfigurationError("--initial-prefill has no meaning with --mode agg; --initial-decode is the one pool's")
    limits = limits_of(settings)
    if not limits.holds(*initial):
        raise ConfigurationError(
            f"--initial-prefill {initial[0]} and --initial-decode {initial[1]} take {limits.gpus(*initial)} GPUs, more "
            f"than --max-gpu-budget {limits.max_gpus} holds"
        )
    return initial


def _conditions(extras: Namespace, load: Load, initial: Size) -> Conditions:
    return Conditions(
        load=load,
        initial=initial,
        startup_cv=extras.startup_cv,
        worker_mtbf_s=extras.worker_mtbf,
        missing_reads=extras.missing_reads,
        ttft_factor=extras.ttft_factor,
        itl_factor=extras.itl_factor,
        seed=extras.seed,
    )


def _at_home(entry: Entry, settings: Settings, seen: Survey) -> Entry:
    """A variant of another mode starts with workers of its own."""
    if entry.settings.mode == settings.mode:
        return entry
    return replace(entry, workers=starting_workers(seen, entry.settings))


def _load(extras: Namespace, settings: Settings) -> Load:
    how = Cut(
        start_s=extras.start,
        duration_s=extras.duration,
        time_scale=extras.time_scale,
        rate_scale=extras.rate_scale,
        seed=extras.seed,
    )
    given = {name: value for name in _PATTERN if (value := getattr(extras, name)) is not None}
    if extras.trace is not None:
        if given:
            raise ConfigurationError(f"{flag(next(iter(given)))} is of a made-up load; leave it out, or --trace")
        return Load(trace=extras.trace, cut=how)
    day = {"period": _DAY_S} if given.get("pattern") == "diurnal" else {}
    chosen = {**_PATTERN, **day, **given}
    length_s = extras.duration or (_DAY_S if chosen["pattern"] == "diurnal" else 7200.0)
    pattern = Pattern(
        kind=chosen["pattern"],
        rps=chosen["rps"],
        peak_rps=chosen["peak_rps"] or 3 * chosen["rps"],
        period_s=chosen["period"],
        duration_s=extras.start + length_s,
        isl=settings.isl,
        osl=settings.osl,
        burstiness=chosen["burstiness"],
        gaps=chosen["arrivals"],
        seed=extras.seed,
    )
    return Load(pattern=pattern, cut=replace(how, duration_s=None))


def _named(invocation: Invocation) -> Iterator[Entry]:
    """The settings as given, and every variant of them that is to be compared."""
    yield Entry(name="planner", kind="planner", settings=invocation.settings)
    for text in invocation.extras.compare:
        name, separator, flags = text.partition("=")
        if not separator or not name or not flags:
            raise ConfigurationError(f"--compare {text!r}: expected {_VARIANT_FORM}")
        yield Entry(name=name, kind="planner", settings=_variant(invocation.settings, text, flags))


def _variant(settings: Settings, text: str, flags: str) -> Settings:
    found = {name: Found(getattr(settings, name), "the settings above") for name in settings.model_fields_set}
    for given in filter(None, flags.split(",")):
        key, _, value = given.strip().removeprefix("--").partition("=")
        name = key.replace("-", "_")
        if name not in Settings.model_fields:
            near = nearest(name, Settings.model_fields)
            hint = f"did you mean {flag(near).removeprefix('--')}?" if near else f"expected {_VARIANT_FORM}"
            raise ConfigurationError(f"--compare {text!r}: {key!r} is no option; {hint}")
        found[name] = Found(value or "true", f"--compare {text}")
    return validate(found)


def _baselines(names: Sequence[str], settings: Settings) -> Iterator[Entry]:
    for name in names:
        match name.partition(":"):
            case ("published", "", _):
                yield from (_published(predictor, settings) for predictor in PUBLISHED)
            case ("published", _, predictor) if predictor in PUBLISHED:
                yield _published(predictor, settings)
            case ("hpa" | "clairvoyant", "", _):
                yield Entry(name=name, kind=name, settings=settings)
            case ("static", ":", text):
                size = _size(name, text, settings)
                yield Entry(name=f"static {size_name(size)}", kind="static", settings=settings, workers=size)
            case ("static", _, _):
                continue
            case _:
                raise ConfigurationError(
                    f"--baseline {name!r} is unknown; accepted are published, "
                    f"{', '.join(f'published:{predictor}' for predictor in PUBLISHED)}, hpa, clairvoyant, static, "
                    f"{'static:N' if settings.aggregated else 'static:P,D'}"
                )


def _published(predictor: str, settings: Settings) -> Entry:
    rules = settings.model_copy(update={"sizing": "throughput", "load_predictor": predictor})
    return Entry(name=f"published, {predictor}", kind="planner", settings=rules)


def _size(name: str, text: str, settings: Settings) -> Size:
    if settings.aggregated:
        if not text.isdecimal() or not int(text):
            raise ConfigurationError(
                f"--baseline {name!r}: expected static:N with --mode agg, N a whole number above 0"
            )
        return 0, int(text)
    parts = text.replace("+", ",").split(",")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigurationError(f"--baseline {name!r}: expected static:P,D with two whole numbers above 0")
    return int(parts[0]), int(parts[1])


def _check_names(entries: Sequence[Entry]) -> None:
    if duplicates := {entry.name for entry in entries if sum(other.name == entry.name for other in entries) > 1}:
        raise ConfigurationError(f"several contestants are called {', '.join(sorted(duplicates))}; names must differ")
