"""Recorded rates, and requests sampled from them."""

from __future__ import annotations

import csv
import itertools
import math
import statistics
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from planner.simulation.arrival import Arrival, draw_lengths
from planner.simulation.rows import RequestColumns
from planner.simulation.trace import MOST_TOKENS, TraceError, open_text

_CSV_FIELDS = ("timestamp_s", "request_rate", "isl", "osl")
# The most that a row may say; no deployment serves more.
_MOST = {"request_rate": 1e6, "isl": MOST_TOKENS, "osl": MOST_TOKENS}
# Arrivals are sampled about so many at a time.
_AT_ONCE = 100_000


def holds_rates(path: Path) -> bool:
    """Whether a file is of rates rather than of requests: named ``.csv`` or ``.csv.gz``, without a row a request."""
    if not path.name.lower().removesuffix(".gz").endswith(".csv"):
        return False
    try:
        with open_text(path) as stream:
            return RequestColumns.of(stream.readline()) is None
    except (OSError, EOFError, zlib.error):
        # Whoever reads it tells what is wrong with it.
        return True


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
            headings = list(reader.fieldnames or ())
            reader.fieldnames = [heading.strip().lower() for heading in headings]
            if missing := set(_CSV_FIELDS) - set(reader.fieldnames):
                raise TraceError(
                    f"{path} has no column {', '.join(sorted(missing))}; expected {','.join(_CSV_FIELDS)}, "
                    f"found {','.join(headings) or 'nothing'}; where a row is a request, expected "
                    "timestamp,input_length,output_length"
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
        isl, osl = draw_lengths(generator, span.isl, count), draw_lengths(generator, span.osl, count)
        yield from map(Arrival, times.tolist(), isl, osl)


def _pieces(span: Rates) -> Iterator[Rates]:
    """A span in parts of so few arrivals that they fit into memory."""
    parts = max(1, math.ceil(span.rate_rps * span.length_s / _AT_ONCE))
    length_s = span.length_s / parts
    return (span._replace(begin=span.begin + part * length_s, length_s=length_s) for part in range(parts))
