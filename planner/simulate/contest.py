"""Contestants on the same arrivals, on as many cores as there are."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from planner.core.sizing import Targets
from planner.engines import load_profile
from planner.planner import Planner
from planner.settings import Settings
from planner.simulation.arrivals import Arrival, Cut, Pattern, cut, generate, read
from planner.simulation.baselines import Reactive, Static, foresee
from planner.simulation.distortion import slower
from planner.simulation.loop import Decider, Run, Simulation, World

# A static pool that is not enough at this size never will be.
_MOST_STATIC = 4096

# Progress is reported once for so many requests.
_BATCH = 2000


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

    def arrivals(self) -> Iterator[Arrival]:
        """The requests, as a stream that begins at time 0; the same ones every time.

        Raises:
            TraceError: The file cannot be read.
        """
        if self.trace is not None:
            return cut(read(self.trace, self.cut.seed), self.cut)
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
    """

    name: str
    kind: str
    settings: Settings
    workers: tuple[int, int] | None = None


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
        reaction_s = settings.reaction_interval_s
        return World(
            engines=slower(profile, ttft=self.ttft_factor, itl=self.itl_factor),
            targets=Targets(ttft_ms=settings.ttft, itl_ms=settings.itl),
            interval_s=settings.adjustment_interval,
            reactions=max(1, round(settings.adjustment_interval / reaction_s)) if reaction_s else 1,
            startup_s=settings.worker_startup,
            startup_cv=self.startup_cv,
            initial=self.initial,
            step_tokens=settings.max_num_batched_tokens if settings.aggregated else None,
            worker_mtbf_s=self.worker_mtbf_s,
            missing_reads=self.missing_reads,
            seed=self.seed,
        )


def decider(entry: Entry, load: Load) -> Decider:
    """Whoever decides for an entry."""
    settings = entry.settings
    match entry.kind:
        case "static":
            return Static(*(entry.workers or (1, 1)))
        case "hpa":
            targets, minimum = Targets(ttft_ms=settings.ttft, itl_ms=settings.itl), max(1, settings.min_endpoint)
            return Reactive(targets, minimum=minimum, aggregated=settings.aggregated)
        case "clairvoyant":
            return Planner(settings, predictors=foresee(load.arrivals(), settings.adjustment_interval))
        case _:
            return Planner(settings)


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
    for number, arrival in enumerate(arrivals):
        if number % _BATCH == 0:
            report(number)
        yield arrival


# Requests that each run has seen so far, shared between processes.
_progress: Any = None


def _share_progress(progress: Any) -> None:
    global _progress  # noqa: PLW0603 - the one way to hand shared memory to a pool's processes
    _progress = progress


def _compete_in_process(index: int, entry: Entry, conditions: Conditions) -> Run:
    def report(count: int) -> None:
        _progress[index] = count

    return compete(entry, conditions, report)


class Contest:
    """Runs of several entries side by side."""

    def __init__(self, entries: Sequence[Entry], conditions: Conditions, *, processes: int) -> None:
        """Prepare; nothing runs before the context is entered.

        Args:
            entries: Who takes part.
            conditions: What all go through.
            processes: Runs at a time.
        """
        self._entries = entries
        self._conditions = conditions
        context = multiprocessing.get_context("spawn")
        self._counts = context.Array("q", max(1, len(entries)), lock=False)
        self._pool = ProcessPoolExecutor(
            min(processes, max(1, len(entries))),
            mp_context=context,
            initializer=_share_progress,
            initargs=(self._counts,),
        )
        self._futures: dict[str, Future[Run]] = {}

    def __enter__(self) -> Mapping[str, Future[Run]]:
        """Start all runs; their futures by name."""
        for index, entry in enumerate(self._entries):
            self._futures[entry.name] = self._pool.submit(_compete_in_process, index, entry, self._conditions)
        return self._futures

    def __exit__(self, *_: object) -> None:
        """Give up what has not begun, and wait for the rest."""
        self._pool.shutdown(cancel_futures=True)

    def seen(self, index: int) -> int:
        """Requests that a run has seen so far, roughly."""
        return int(self._counts[index])


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to serve: requests, length (s), the mean rate and lengths of the first ten minutes."""

    requests: int
    length_s: float
    rate_rps: float
    isl: float
    osl: float


def survey(load: Load, first_s: float = 600.0) -> Survey:
    """Look at all arrivals once.

    Raises:
        TraceError: They cannot be read, or there are none.
    """
    count, early, isl_sum, osl_sum, last = 0, 0, 0, 0, 0.0
    for time, isl, osl in load.arrivals():
        count += 1
        last = time
        if time < first_s:
            early += 1
            isl_sum += isl
            osl_sum += osl
    span = min(first_s, last) or 1.0
    return Survey(count, last, early / span, isl_sum / max(1, early), osl_sum / max(1, early))


def starting_workers(seen: Survey, settings: Settings) -> tuple[int, int]:
    """Workers that serve the first minutes at two thirds of their throughput: nobody is judged by a cold start."""
    profile = load_profile(settings)
    if not seen.rate_rps:
        return (0 if settings.aggregated else settings.min_endpoint), settings.min_endpoint
    prefill = seen.rate_rps * profile.prefill.ttft_ms(max(1.0, seen.isl)) / 1000
    context = seen.isl + seen.osl / 2
    per_worker = profile.decode.best_throughput_per_gpu(settings.itl, max(1.0, context)) * profile.decode.gpus
    decode = seen.rate_rps * seen.osl / per_worker
    if settings.aggregated:
        return 0, max(1, math.ceil(1.5 * (prefill + decode)))
    return max(1, math.ceil(1.5 * prefill)), max(1, math.ceil(1.5 * decode))


def smallest_static(
    settings: Settings, conditions: Conditions, wanted: float, start: tuple[int, int]
) -> tuple[tuple[int, int], Run]:
    """The static pool with the fewest GPUs, one pool made small after the other, that attains a share.

    Args:
        settings: What it is scored by.
        conditions: What it goes through.
        wanted: Share of requests within both targets.
        start: Where to begin to look.

    Returns:
        Its workers and its run.
    """

    @cache
    def run(prefill: int, decode: int) -> Run:
        entry = Entry(name="static", kind="static", settings=settings, workers=(prefill, decode))
        return compete(entry, conditions)

    prefill, decode = start
    if settings.aggregated:
        most = decode
        while run(0, most).score.within_both < wanted and most < _MOST_STATIC:
            most *= 2
        decode = _least(lambda number: run(0, number).score.within_both >= wanted, most)
        return (0, decode), run(0, decode)
    while run(prefill, decode).score.within_both < wanted and prefill + decode < _MOST_STATIC:
        score = run(prefill, decode).score
        prefill = prefill if score.within_ttft >= wanted and score.within_itl < wanted else math.ceil(1.4 * prefill)
        decode = decode if score.within_itl >= wanted and score.within_ttft < wanted else math.ceil(1.4 * decode)
    prefill = _least(lambda number: run(number, decode).score.within_both >= wanted, prefill)
    decode = _least(lambda number: run(prefill, number).score.within_both >= wanted, decode)
    return (prefill, decode), run(prefill, decode)


def _least(enough: Callable[[int], bool], most: int) -> int:
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
