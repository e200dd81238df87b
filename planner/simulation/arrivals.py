"""Where requests come from: recorded traces, recorded rates, or a pattern."""

from __future__ import annotations

import csv
import heapq
import itertools
import math
import statistics
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.simulation.trace import MOST_TOKENS, Trace, TraceError, open_text

# Copies of a request, when rates are scaled up, come within this time of the original.
_COPY_SPREAD_S = 2.0
_CSV_FIELDS = ("timestamp_s", "request_rate", "isl", "osl")
# The most that a row may say; no deployment serves more.
_MOST = {"request_rate": 1e6, "isl": MOST_TOKENS, "osl": MOST_TOKENS}
# Arrivals are sampled about so many at a time.
_AT_ONCE = 100_000
_SPREAD = 0.5
_MOST_DISORDER_S = 10.0
# Nobody has nothing to do for so long; rather are the timestamps of two clocks, or of another unit.
_LONGEST_GAP_S = 31 * 86_400.0


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


def cut(arrivals: Iterator[Arrival], how: Cut, *, origin_s: float | None = None) -> Iterator[Arrival]:
    """A part of a stream, beginning at time 0, stretched.

    Args:
        arrivals: The stream.
        how: Which part, and how stretched.
        origin_s: When the stream begins; None if with its first arrival.

    Raises:
        TraceError: The stream is not in the order of time.
    """
    generator = np.random.default_rng(how.seed)
    origin = origin_s
    waiting: list[Arrival] = []
    whole, part = int(how.rate_scale), how.rate_scale % 1
    end_s = math.inf if how.duration_s is None else how.duration_s
    last = 0.0
    for time, isl, osl in arrivals:
        origin = time if origin is None else origin
        since_s = time - origin - how.start_s
        if since_s < 0:
            continue
        if since_s >= end_s:
            break
        moment = since_s / how.time_scale
        if moment < last:
            _check_order(last - moment, time)
            moment = last
        if moment - last > _LONGEST_GAP_S:
            raise TraceError(
                f"nothing arrives for {(moment - last) / 86_400:.0f} days before the request at {time:.15g} s; "
                "expected timestamps of one clock, in the unit that --help names; if the gap is real, cut it off "
                "with --start or --duration"
            )
        last = moment
        if whole == 1 and not part:
            yield Arrival(moment, isl, osl)
            continue
        while waiting and waiting[0].time <= moment:
            yield heapq.heappop(waiting)
        copies = whole + (generator.random() < part if part else 0)
        for number in range(copies):
            late_s = generator.random() * _COPY_SPREAD_S if number else 0.0
            heapq.heappush(waiting, Arrival(moment + late_s, isl, osl))
    while waiting:
        yield heapq.heappop(waiting)


def _check_order(late_s: float, time: float) -> None:
    """Requests that several frontends wrote down may overtake each other a little; they come at once.

    Raises:
        TraceError: It is more than that.
    """
    if late_s > _MOST_DISORDER_S:
        raise TraceError(
            f"the trace is not in the order of time: a request at {time:.15g} s comes {late_s:g} s late; "
            "sort it by timestamp, for instance with jq -cs 'sort_by(.timestamp)[]'"
        )


def read(path: Path, how: Cut) -> Iterator[Arrival]:
    """A part of the requests of a file, as a stream: JSON lines, or CSV whose arrivals are sampled.

    Time is counted from the first request of JSON lines, and from the first row of a CSV file, whatever it says.

    Raises:
        TraceError: The file cannot be read.
    """
    if not holds_rates(path):
        return cut(recorded(Trace(path)), how)
    spans = read_rates(path)
    return cut(sample(spans, how.seed), how, origin_s=spans[0].begin)


def recorded(trace: Trace) -> Iterator[Arrival]:
    """The requests of a trace, as a stream.

    Raises:
        TraceError: The file cannot be read.
    """
    return (Arrival(one.time_s, max(1, round(one.isl)), max(1, round(one.osl))) for one in trace)


def holds_rates(path: Path) -> bool:
    """Whether a file is by its name of rates, ``.csv`` or ``.csv.gz``, rather than of requests."""
    return path.name.lower().removesuffix(".gz").endswith(".csv")


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
        TraceError: It cannot be read, has other columns, a row that is no row of numbers, or rows out of order.
    """
    try:
        with open_text(path) as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            if missing := set(_CSV_FIELDS) - set(reader.fieldnames or ()):
                raise TraceError(
                    f"{path} has no column {', '.join(sorted(missing))}; expected {','.join(_CSV_FIELDS)}, "
                    f"found {','.join(reader.fieldnames or ()) or 'nothing'}; a file of a row a request is to become "
                    "JSON lines, as docs/simulation.md shows"
                )
            rows: list[list[float]] = []
            for row in reader:
                rows.append([_number(path, reader.line_num, row[name], name) for name in _CSV_FIELDS])
                if len(rows) > 1 and rows[-1][0] <= rows[-2][0]:
                    raise TraceError(
                        f"{path}, line {reader.line_num}: timestamp_s is {rows[-1][0]:g} after {rows[-2][0]:g}; "
                        "expected rows in the order of time, each instant once"
                    )
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise TraceError(f"{path} cannot be read: {error}") from error
    if len(rows) < 2:
        raise TraceError(
            f"{path} has {len(rows) or 'no'} row{'s' * (not rows)}; expected two or more, to tell how long one lasts"
        )
    begins = [row[0] for row in rows]
    lengths = [later - earlier for earlier, later in itertools.pairwise(begins)]
    # How long the last row lasts is not told: as long as rows do.
    return [
        Rates(row[0], length, *row[1:])
        for row, length in zip(rows, [*lengths, statistics.median_low(lengths)], strict=True)
    ]


def _number(path: Path, line: int, text: str | None, name: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise TraceError(f"{path}, line {line}: {name} is {text!r}; expected a number of 0 or more")
    if value > (most := _MOST.get(name, math.inf)):
        raise TraceError(f"{path}, line {line}: {name} is {text!r}; expected {most:,.0f} at most")
    return value


def sample(spans: list[Rates], seed: int) -> Iterator[Arrival]:
    """Poisson arrivals at recorded rates, with log-normal lengths around the recorded means."""
    generator = np.random.default_rng(seed)
    for span in itertools.chain.from_iterable(map(_pieces, spans)):
        count = generator.poisson(span.rate_rps * span.length_s)
        times = np.sort(generator.random(count)) * span.length_s + span.begin
        isl, osl = _lengths(generator, span.isl, count), _lengths(generator, span.osl, count)
        yield from map(Arrival, times.tolist(), isl, osl)


def _pieces(span: Rates) -> Iterator[Rates]:
    """A span in parts of so few arrivals that they fit into memory."""
    parts = max(1, math.ceil(span.rate_rps * span.length_s / _AT_ONCE))
    length_s = span.length_s / parts
    return (span._replace(begin=span.begin + part * length_s, length_s=length_s) for part in range(parts))


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
        gaps: Distribution of that time, a key of GAPS.
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
    gaps: str = "gamma"
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


Gaps = Callable[[int], NDArray[np.float64]]


def _gamma(generator: np.random.Generator, variation: float) -> Gaps:
    """Gaps of mean 1 and a coefficient of variation."""
    shape = 1 / variation**2
    return lambda count: generator.gamma(shape, 1 / shape, count)


def _weibull(generator: np.random.Generator, variation: float) -> Gaps:
    """Gaps of mean 1 and a coefficient of variation, whose shape is found by halving."""
    low, high = 0.05, 100.0
    for _ in range(60):
        shape = math.sqrt(low * high)
        # cv^2 + 1 = gamma(1 + 2 / k) / gamma(1 + 1 / k)^2, which falls as the shape k grows.
        ratio = math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)
        low, high = (shape, high) if ratio > math.log1p(variation**2) else (low, shape)
    scale = 1 / math.gamma(1 + 1 / shape)
    return lambda count: scale * generator.weibull(shape, count)


GAPS: dict[str, Callable[[np.random.Generator, float], Gaps]] = {"gamma": _gamma, "weibull": _weibull}


def generate(pattern: Pattern) -> Iterator[Arrival]:
    """The arrivals of a pattern: gaps of one distribution, on a clock that runs as fast as the rate is high."""
    generator = np.random.default_rng(pattern.seed)
    rate = PATTERNS[pattern.kind]
    draw = GAPS[pattern.gaps](generator, pattern.burstiness)
    time = 0.0
    while True:
        isl, osl = _lengths(generator, pattern.isl, 1000), _lengths(generator, pattern.osl, 1000)
        for gap, *lengths in zip(draw(1000), isl, osl, strict=True):
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
