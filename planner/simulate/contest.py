"""Contestants on the same arrivals, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from planner.core.budget import Limits
from planner.core.sizing import Targets
from planner.engines import load_profile
from planner.planner import Planner
from planner.settings import NO_BUDGET, Settings
from planner.simulate.crew import Crew
from planner.simulation.arrival import Arrival
from planner.simulation.arrivals import Cut, cut, read, recorded
from planner.simulation.baselines import Reactive, Static
from planner.simulation.distortion import slower
from planner.simulation.foresight import foresee
from planner.simulation.loop import Decider, Run, Simulation, World
from planner.simulation.pattern import Pattern, generate
from planner.simulation.trace import Trace

# Progress is reported once for so many requests.
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Which requests come.

    Attributes:
        trace: A file; None for a pattern.
        pattern: What to make up without a file.
        cut: Which part, and how stretched.
    """

    trace: Path | None = None
    pattern: Pattern | None = None
    cut: Cut = field(default_factory=Cut)

    def arrivals(self, trace: Trace | None = None) -> Iterator[Arrival]:
        """The requests, as a stream that begins at time 0; the same ones every time.

        Args:
            trace: The file, to know afterwards which lines of it were left out.

        Raises:
            TraceError: The file cannot be read.
        """
        if trace is not None:
            return cut(recorded(trace), self.cut)
        if self.trace is not None:
            return read(self.trace, self.cut)
        assert self.pattern is not None  # noqa: S101 - it is one or the other
        return cut(generate(self.pattern), self.cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Someone who takes part.

    Attributes:
        name: What to call it.
        kind: ``planner``, ``clairvoyant``, ``hpa`` or ``static``.
        settings: How a planner decides, and what everyone is scored by.
        workers: Prefill and decode workers at the start, instead of those of the conditions; a static one keeps them.
        planner: Makes the planner where it is one of one's own, in the process of its run: picklable.
    """

    name: str
    kind: str
    settings: Settings
    workers: tuple[int, int] | None = None
    planner: Callable[[Settings], Decider] = Planner


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What all go through.

    Attributes:
        load: The requests.
        initial: Prefill and decode workers at the start.
        startup_cv: Coefficient of variation of the time workers take to start; its mean is ``--worker-startup``.
        worker_mtbf_s: Mean time between failures of a worker; None if they never fail.
        missing_reads: Share of observations that fail.
        ttft_factor: True TTFT over the profile's.
        itl_factor: True ITL over the profile's.
        seed: Of everything random.
    """

    load: Load
    initial: tuple[int, int]
    startup_cv: float = 0.0
    worker_mtbf_s: float | None = None
    missing_reads: float = 0.0
    ttft_factor: float = 1.0
    itl_factor: float = 1.0
    seed: int = 0

    def world(self, settings: Settings) -> World:
        """The world of an entry with these settings."""
        profile = load_profile(settings)
        return World(
            engines=slower(profile, ttft=self.ttft_factor, itl=self.itl_factor),
            targets=Targets(ttft_ms=settings.ttft, itl_ms=settings.itl),
            interval_s=settings.adjustment_interval,
            reactions=_looks(settings),
            startup_s=settings.worker_startup,
            startup_cv=self.startup_cv,
            initial=self.initial,
            step_tokens=settings.max_num_batched_tokens if settings.aggregated else None,
            worker_mtbf_s=self.worker_mtbf_s,
            missing_reads=self.missing_reads,
            seed=self.seed,
        )


def _looks(settings: Settings) -> int:
    """How often the load is looked at in an interval: once for each reaction, and for the adjustment."""
    reaction_s = settings.reaction_interval_s
    return max(1, round(settings.adjustment_interval / reaction_s)) if reaction_s else 1


def limits_of(settings: Settings) -> Limits:
    """The minimum and the GPU budget that hold for whoever scales."""
    profile = load_profile(settings)
    return Limits(
        # An autoscaler that looks at latencies never sees any again once it has scaled to nothing.
        min_endpoint=max(1, settings.min_endpoint),
        max_gpus=None if settings.max_gpu_budget == NO_BUDGET else settings.max_gpu_budget,
        prefill_gpus=profile.prefill.gpus,
        decode_gpus=profile.decode.gpus,
        aggregated=settings.aggregated,
    )


def wanted_share(settings: Settings) -> float:
    """Share of requests that should be within both targets; where their means should be, that of the default."""
    return 0.95 if settings.slo_percentile == "mean" else settings.slo_percentile / 100


def decider(entry: Entry, load: Load) -> Decider:
    """Whoever decides for an entry."""
    settings = entry.settings
    match entry.kind:
        case "static":
            return Static(*(entry.workers or (1, 1)))
        case "hpa":
            return Reactive(Targets(ttft_ms=settings.ttft, itl_ms=settings.itl), limits_of(settings))
        case "clairvoyant":
            known = foresee(load.arrivals(), settings.adjustment_interval, _looks(settings))
            return Planner(settings, predictors=known)
        case _:
            return entry.planner(settings)


def compete(entry: Entry, conditions: Conditions, report: Callable[[int], None] | None = None) -> Run:
    """Let an entry go through the conditions.

    Args:
        entry: Who.
        conditions: What.
        report: Told now and then how many requests have come.
    """
    if entry.workers is not None:
        conditions = replace(conditions, initial=entry.workers)
    simulation = Simulation(conditions.world(entry.settings), decider(entry, conditions.load))
    arrivals = conditions.load.arrivals()
    return simulation.run(arrivals if report is None else _counted(arrivals, report))


def _counted(arrivals: Iterator[Arrival], report: Callable[[int], None]) -> Iterator[Arrival]:
    number = 0
    for number, arrival in enumerate(arrivals, start=1):
        yield arrival
        if number % _BATCH == 0:
            report(number)
    report(number)


class Contest:
    """Runs of several entries side by side."""

    def __init__(self, entries: Sequence[Entry], conditions: Conditions, *, processes: int | None) -> None:
        """Prepare; nothing runs before the context is entered.

        Args:
            entries: Who takes part.
            conditions: What all go through.
            processes: Runs at a time; None for as many as there are cores that this process may use.
        """
        self._entries = entries
        self._conditions = conditions
        self._crew = Crew(len(entries), processes=processes)

    def __enter__(self) -> Mapping[str, Future[Run]]:
        """Start all runs; their futures by name."""
        self._crew.__enter__()
        return {
            entry.name: self._crew.submit(index, compete, entry, self._conditions)
            for index, entry in enumerate(self._entries)
        }

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Wait for all runs; end them if the context ends by an exception."""
        self._crew.__exit__(kind, *rest)

    def seen(self, index: int) -> int:
        """Requests that a run has seen so far, roughly."""
        return self._crew.progress(index)
