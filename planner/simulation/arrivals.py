"""Streams of requests: those of a file, and parts of them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planner.simulation.arrival import Arrival
from planner.simulation.rates import holds_rates, read_rates, sample
from planner.simulation.trace import Trace, TraceError

# Copies of a request, when rates are scaled up, come within this time of the original.
_COPY_SPREAD_S = 2.0
_MOST_DISORDER_S = 10.0
# Nobody has nothing to do for so long; rather are the timestamps of two clocks, or of another unit.
_LONGEST_GAP_S = 31 * 86_400.0


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
            "sort it by timestamp, JSON lines for instance with jq -cs 'sort_by(.timestamp)[]'"
        )


def read(path: Path, how: Cut) -> Iterator[Arrival]:
    """A part of the requests of a file, as a stream: those recorded, or samples of recorded rates.

    Time is counted from the first request, or from the first row of rates, whatever it says.

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
