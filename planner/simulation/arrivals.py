"""Where requests come from: recorded traces, recorded rates, or a pattern."""

from __future__ import annotations

import csv
import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from planner.simulation.trace import Trace, TraceError

# Copies of a request, when rates are scaled up, come within this time of the original.
_COPY_SPREAD_S = 2.0
_CSV_FIELDS = ("timestamp_s", "request_rate", "isl", "osl")
_SPREAD = 0.5


class Arrival(NamedTuple):
    """A request to come: when (seconds), input and output length (tokens)."""

    time: float
    isl: int
    osl: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which part of a stream to take, and how to stretch it.

    Attributes:
        start_s: Seconds of the stream to leave out at its beginning.
        duration_s: Seconds of the stream to take; None for all.
        time_scale: Times faster than recorded; the rate grows with it.
        rate_scale: Times as many requests; below 1 some are left out, above 1 some are copied.
        seed: Of what is left out and copied.
    """

    start_s: float = 0.0
    duration_s: float | None = None
    time_scale: float = 1.0
    rate_scale: float = 1.0
    seed: int = 0


def cut(arrivals: Iterator[Arrival], how: Cut) -> Iterator[Arrival]:
    """A part of a stream, beginning at time 0, stretched."""
    generator = np.random.default_rng(how.seed)
    origin: float | None = None
    waiting: list[Arrival] = []
    for time, isl, osl in arrivals:
        origin = time if origin is None else origin
        since_s = time - origin - how.start_s
        if since_s < 0:
            continue
        if how.duration_s is not None and since_s >= how.duration_s:
            break
        moment = since_s / how.time_scale
        while waiting and waiting[0].time <= moment:
            yield heapq.heappop(waiting)
        copies = int(how.rate_scale) + (generator.random() < how.rate_scale % 1 if how.rate_scale % 1 else 0)
        for number in range(copies):
            late_s = generator.random() * _COPY_SPREAD_S if number else 0.0
            heapq.heappush(waiting, Arrival(moment + late_s, isl, osl))
    while waiting:
        yield heapq.heappop(waiting)


def read(path: Path, seed: int = 0) -> Iterator[Arrival]:
    """The requests of a file, as a stream: JSON lines, or CSV whose arrivals are sampled.

    Raises:
        TraceError: The file cannot be read.
    """
    if path.suffix == ".csv":
        return sample(read_rates(path), seed)
    return (Arrival(one.time_s, max(1, round(one.isl)), max(1, round(one.osl))) for one in Trace(path))


class Rates(NamedTuple):
    """A span of recorded load: its beginning and length (s), arrivals per second, mean lengths (tokens)."""

    begin: float
    length_s: float
    rate_rps: float
    isl: float
    osl: float


def read_rates(path: Path) -> list[Rates]:
    """The spans of a CSV file of ``timestamp_s,request_rate,isl,osl``; each lasts until the next begins.

    Raises:
        TraceError: It cannot be read, has other columns, or a row that is no row of numbers.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := set(_CSV_FIELDS) - set(reader.fieldnames or ()):
                raise TraceError(f"{path} has no column {', '.join(sorted(missing))}; expected {','.join(_CSV_FIELDS)}")
            rows = [[_number(path, reader.line_num, row[name], name) for name in _CSV_FIELDS] for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path} cannot be read: {error}") from error
    if len(rows) < 2:
        raise TraceError(f"{path} has {len(rows)} rows; expected two or more, to tell how long one lasts")
    begins = [row[0] for row in rows]
    lengths = [later - earlier for earlier, later in itertools.pairwise(begins)]
    return [Rates(row[0], length, *row[1:]) for row, length in zip(rows, [*lengths, lengths[-1]], strict=True)]


def _number(path: Path, line: int, text: str | None, name: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise TraceError(f"{path}, line {line}: {name} is {text!r}; expected a number of 0 or more")
    return value


def sample(spans: list[Rates], seed: int) -> Iterator[Arrival]:
    """Poisson arrivals at recorded rates, with log-normal lengths around the recorded means."""
    generator = np.random.default_rng(seed)
    for span in spans:
        count = generator.poisson(span.rate_rps * span.length_s)
        times = np.sort(generator.random(count)) * span.length_s + span.begin
        isl, osl = _lengths(generator, span.isl, count), _lengths(generator, span.osl, count)
        yield from map(Arrival, times.tolist(), isl, osl)


def _lengths(generator: np.random.Generator, mean: float, count: int) -> list[int]:
    drawn = generator.lognormal(math.log(max(1.0, mean)) - _SPREAD**2 / 2, _SPREAD, count)
    return [int(value) for value in np.maximum(1, drawn.round())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Made-up load.

    Attributes:
        kind: A key of PATTERNS.
        rps: Arrivals per second at the beginning, or at the lowest.
        peak_rps: Arrivals per second at the end, or at the highest.
        period_s: Length of a period: of the wave, from one burst to the next, until the step.
        duration_s: Length of the load.
        isl: Mean input sequence length, tokens.
        osl: Mean output sequence length, tokens.
        burstiness: Coefficient of variation of the time between arrivals; 1 for Poisson.
        seed: Of the arrivals.
    """

    kind: str
    rps: float
    peak_rps: float
    period_s: float = 900.0
    duration_s: float = 3600.0
    isl: float = 3000.0
    osl: float = 150.0
    burstiness: float = 1.0
    seed: int = 0


def _sinusoid(pattern: Pattern, time: float) -> float:
    height = (1 - math.cos(2 * math.pi * time / pattern.period_s)) / 2
    return pattern.rps + (pattern.peak_rps - pattern.rps) * height


def _burst(pattern: Pattern, time: float) -> float:
    return pattern.peak_rps if time % pattern.period_s > 0.9 * pattern.period_s else pattern.rps


def _diurnal(pattern: Pattern, time: float) -> float:
    """A working day: a long low night, a morning that climbs, two humps."""
    phase = time / pattern.period_s % 1
    humps = math.exp(-(((phase - 0.45) / 0.1) ** 2)) + 0.9 * math.exp(-(((phase - 0.65) / 0.12) ** 2))
    return pattern.rps + (pattern.peak_rps - pattern.rps) * min(1.0, humps)


PATTERNS: dict[str, Callable[[Pattern, float], float]] = {
    "constant": lambda pattern, _: pattern.rps,
    "step": lambda pattern, time: pattern.peak_rps if time >= pattern.period_s else pattern.rps,
    "ramp": lambda pattern, time: pattern.rps + (pattern.peak_rps - pattern.rps) * time / pattern.duration_s,
    "sinusoid": _sinusoid,
    "burst": _burst,
    "diurnal": _diurnal,
}


def generate(pattern: Pattern) -> Iterator[Arrival]:
    """The arrivals of a pattern: Gamma-distributed gaps on a clock that runs as fast as the rate is high."""
    generator = np.random.default_rng(pattern.seed)
    rate = PATTERNS[pattern.kind]
    shape = 1 / pattern.burstiness**2
    time = 0.0
    while True:
        isl, osl = _lengths(generator, pattern.isl, 1000), _lengths(generator, pattern.osl, 1000)
        for gap, *lengths in zip(generator.gamma(shape, 1 / shape, 1000), isl, osl, strict=True):
            time = _pass(pattern, rate, time, float(gap))
            if time >= pattern.duration_s:
                return
            yield Arrival(time, *lengths)


def _pass(pattern: Pattern, rate: Callable[[Pattern, float], float], time: float, expected: float) -> float:
    """When so many more arrivals are expected; the rate is taken to be constant for a second."""
    while time < pattern.duration_s:
        rps = max(rate(pattern, time), 1e-9)
        if expected <= rps * 1.0:
            return time + expected / rps
        expected -= rps
        time += 1.0
    return time
