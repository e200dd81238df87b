"""``python -m planner simulate``: what the planner would do to one's traffic, and how others compare."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from planner.cli import EXIT_BAD_CONFIGURATION, Invocation
from planner.engines import load_profile
from planner.settings import NO_BUDGET, ConfigurationError, Found, Settings, validate
from planner.simulate.contest import Conditions, Contest, Entry, Load, Survey, smallest_static, starting_workers, survey
from planner.simulate.page import write_report
from planner.simulate.table import as_json, footnote, held_back, table
from planner.simulation.arrivals import Cut, Pattern
from planner.simulation.loop import Run
from planner.simulation.trace import TraceError
from profiles import ProfileError

PUBLISHED = ("constant", "arima", "kalman", "prophet")


def simulate(invocation: Invocation) -> int:
    """Carry out the command.

    Returns:
        The exit code.
    """
    console = Console(stderr=True, highlight=False)
    try:
        runs, decided = _contest(invocation, console)
    except (ConfigurationError, ProfileError, TraceError, ValueError) as error:
        print(f"python -m planner simulate: error: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_BAD_CONFIGURATION
    except KeyboardInterrupt:
        return 130
    settings = invocation.settings
    shown = Console(highlight=False)
    if not shown.is_terminal:
        shown.width = 200
    shown.print(table(runs))
    shown.print(footnote(runs))
    if settings.max_gpu_budget != NO_BUDGET:
        for sentence in held_back(runs, settings.max_gpu_budget):
            shown.print(f"Note: {sentence}", style="yellow")
    output: Path = invocation.extras.output
    page = write_report(runs, _title(invocation.extras), output, settings=settings, decided=decided)
    (output / "simulation.json").write_text(as_json(runs), encoding="utf-8")
    shown.print(f"The curves: {page}")
    return 0


def _title(extras: Namespace) -> str:
    return f"Simulation of {extras.trace.name if extras.trace else 'pattern ' + extras.pattern}"


def _contest(invocation: Invocation, console: Console) -> tuple[Mapping[str, Run], Mapping[str, Settings]]:
    """The runs by name, and the settings of each."""
    extras, settings = invocation.extras, invocation.settings
    load_profile(settings)
    load = _load(extras, settings)
    with console.status("looking at the arrivals"):
        seen = survey(load)
    if not seen.requests:
        raise TraceError("nothing arrives: check --start, --duration and --rate-scale")
    guess = starting_workers(seen, settings)
    initial = (
        guess[0] if extras.initial_prefill is None else extras.initial_prefill,
        guess[1] if extras.initial_decode is None else extras.initial_decode,
    )
    if settings.aggregated and initial[0]:
        raise ConfigurationError("--initial-prefill has no meaning with --mode agg; --initial-decode is the one pool's")
    conditions = Conditions(
        load=load,
        initial=initial,
        startup_cv=extras.startup_cv,
        worker_mtbf_s=extras.worker_mtbf,
        missing_reads=extras.missing_reads,
        ttft_factor=extras.ttft_factor,
        itl_factor=extras.itl_factor,
        seed=extras.seed,
    )
    entries = [*_named(invocation), *_baselines(extras.baseline, settings)]
    entries = [_at_home(entry, settings, seen) for entry in entries]
    runs = dict(_run(entries, conditions, seen.requests, extras.processes or os.cpu_count() or 1, console))
    decided = {entry.name: entry.settings for entry in entries}
    if "static" in extras.baseline:
        with console.status("looking for the smallest static pool"):
            wanted = 0.95 if settings.slo_percentile == "mean" else settings.slo_percentile / 100
            workers, run = smallest_static(settings, conditions, wanted, guess)
        name = f"static {workers[1] if settings.aggregated else '+'.join(map(str, workers))}"
        runs[name], decided[name] = run, settings
    return runs, decided


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
    if extras.trace is not None:
        return Load(trace=extras.trace, cut=how)
    pattern = Pattern(
        kind=extras.pattern,
        rps=extras.rps,
        peak_rps=extras.peak_rps or 3 * extras.rps,
        period_s=extras.period,
        duration_s=extras.duration or 7200.0,
        isl=settings.isl,
        osl=settings.osl,
        burstiness=extras.burstiness,
        gaps=extras.arrivals,
        seed=extras.seed,
    )
    return Load(pattern=pattern, cut=replace(how, start_s=0.0, duration_s=None))


def _named(invocation: Invocation) -> Iterator[Entry]:
    """The settings as given, and every variant of them that is to be compared."""
    yield Entry(name="planner", kind="planner", settings=invocation.settings)
    for text in invocation.extras.compare:
        name, separator, flags = text.partition("=")
        if not separator or not name:
            raise ConfigurationError(f"--compare {text!r}: expected NAME=flag=value,flag=value")
        yield Entry(name=name, kind="planner", settings=_variant(invocation.settings, text, flags))


def _variant(settings: Settings, text: str, flags: str) -> Settings:
    found = {name: Found(getattr(settings, name), "the settings above") for name in settings.model_fields_set}
    for flag in filter(None, flags.split(",")):
        key, _, value = flag.strip().removeprefix("--").partition("=")
        name = key.replace("-", "_")
        if name not in Settings.model_fields:
            raise ConfigurationError(f"--compare {text!r}: {key!r} is no option; see --help for those there are")
        found[name] = Found(value or "true", f"--compare {text}")
    return validate(found)


def _baselines(names: Sequence[str], settings: Settings) -> Iterator[Entry]:
    for name in names:
        match name.partition(":"):
            case ("published", _, _):
                for predictor in PUBLISHED:
                    rules = settings.model_copy(update={"sizing": "throughput", "load_predictor": predictor})
                    yield Entry(name=f"published, {predictor}", kind="planner", settings=rules)
            case ("hpa", _, _):
                yield Entry(name="hpa", kind="hpa", settings=settings)
            case ("clairvoyant", _, _):
                free = settings.model_copy(update={"max_gpu_budget": NO_BUDGET})
                yield Entry(name="clairvoyant", kind="clairvoyant", settings=free)
            case ("static", ":", workers):
                yield Entry(
                    name=f"static {workers}",
                    kind="static",
                    settings=settings,
                    workers=_workers(name, workers, settings),
                )
            case ("static", _, _):
                continue
            case _:
                raise ConfigurationError(
                    f"--baseline {name!r} is unknown; accepted are published, hpa, clairvoyant, static, static:P,D"
                )


def _workers(name: str, text: str, settings: Settings) -> tuple[int, int]:
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


def _run(
    entries: Sequence[Entry], conditions: Conditions, requests: int, processes: int, console: Console
) -> Iterator[tuple[str, Run]]:
    if duplicates := {entry.name for entry in entries if sum(other.name == entry.name for other in entries) > 1}:
        raise ConfigurationError(f"several contestants are called {', '.join(sorted(duplicates))}; names must differ")
    contest = Contest(entries, conditions, processes=processes)
    columns = (TextColumn("{task.description:24}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress, contest as futures:
        bars = [progress.add_task(entry.name, total=requests) for entry in entries]
        while not all(future.done() for future in futures.values()):
            for index, bar in enumerate(bars):
                progress.update(bar, completed=contest.seen(index))
            time.sleep(0.1)
            _fail_early(futures)
        for name, future in futures.items():
            yield name, future.result()


def _fail_early(futures: Mapping[str, Future[Run]]) -> None:
    for future in futures.values():
        if future.done() and (error := future.exception()) is not None:
            raise error
