"""The series that a trace is made of: what predictors forecast."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.simulation.rates import Rates, holds_rates, read_rates
from planner.simulation.trace import Trace, TraceError, TraceInterval

Values = Sequence[float | None]
"""A value for each interval; None where it is unknown."""

UNITS: Mapping[str, str] = {"requests": "requests", "isl": "tokens", "osl": "tokens"}
"""The series there are, and the unit of each."""

# Intervals made of rows may be so much longer or shorter than asked for.
_ROUNDING = 1e-3
# Rows may be so far from where regular ones would be, as a share of their length.
_JITTER = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A trace by intervals.

    Attributes:
        values: Every series: request count, mean ISL and mean OSL; lengths are unknown where nothing came.
        trace: The file as it was read, with what was left out of it; None for recorded rates.
    """

    values: Mapping[str, Values]
    trace: Trace | None = None

    @property
    def intervals(self) -> int:
        """How many there are."""
        return len(self.values["requests"])


def read_series(path: Path, interval_s: float, *, start_s: float = 0.0, duration_s: float | None = None) -> Recorded:
    """Read a trace, plain or gzip, JSON lines or CSV.

    Args:
        path: The file.
        interval_s: Length of an interval, seconds.
        start_s: Seconds to leave out at its beginning.
        duration_s: Seconds to take; None for all.

    Raises:
        TraceError: It cannot be read.
    """
    first = round(start_s / interval_s)
    end = None if duration_s is None else first + round(duration_s / interval_s)
    if holds_rates(path):
        columns = _of_rates(read_rates(path), path, interval_s)
        return Recorded(values={name: column[first:end] for name, column in columns.items()})
    trace = Trace(path)
    intervals = trace.intervals(interval_s, whole=True)[first:end]
    return Recorded(values=_of_intervals(intervals), trace=trace)


def _of_intervals(intervals: Sequence[TraceInterval]) -> dict[str, Values]:
    return {
        "requests": [float(one.requests) for one in intervals],
        "isl": [one.isl for one in intervals],
        "osl": [one.osl for one in intervals],
    }


def _of_rates(rows: Sequence[Rates], path: Path, interval_s: float) -> dict[str, Values]:
    """Rows put together; an interval of which a row is missing is unknown."""
    length_s = statistics.median_low(row.length_s for row in rows)
    group = round(interval_s / length_s)
    if group < 1 or abs(group * length_s - interval_s) > _ROUNDING * interval_s:
        raise TraceError(
            f"{path}: its rows are {length_s:g} s long, from which no intervals of {interval_s:g} s can be made; "
            f"give --adjustment-interval {max(1, group) * length_s:g}"
        )
    at = {_place(row, rows[0].begin, length_s, path): row for row in rows}
    chunks = [[at.get(place + offset) for offset in range(group)] for place in range(0, max(at) + 2 - group, group)]
    requests, isl, osl = list[float | None](), list[float | None](), list[float | None]()
    for chunk in chunks:
        known = [row for row in chunk if row is not None]
        counts = [row.rate_rps * length_s for row in known]
        total = sum(counts) if len(known) == group else None
        requests.append(total)
        isl.append(sum(n * row.isl for n, row in zip(counts, known, strict=True)) / total if total else None)
        osl.append(sum(n * row.osl for n, row in zip(counts, known, strict=True)) / total if total else None)
    return {"requests": requests, "isl": isl, "osl": osl}


def _place(row: Rates, begin: float, length_s: float, path: Path) -> int:
    place = (row.begin - begin) / length_s
    if abs(place - round(place)) > _JITTER:
        raise TraceError(
            f"{path}: its rows are not regular: most last {length_s:g} s, and the one at {row.begin:.15g} s begins "
            f"{place:.2f} rows after the first; expected rows at equal distances, of which some may be missing"
        )
    return round(place)
