"""Requests as the rows of a CSV file."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from typing import NamedTuple, Self

# What the columns of time, input and output length may be called, in any case. The latter are those of Azure's traces.
_TIME = ("timestamp", "timestamp_ms", "timestamp_s")
_ISL = ("input_length", "isl", "contexttokens")
_OSL = ("output_length", "osl", "generatedtokens")
# A file with this column has rates in its rows, not requests.
_OF_RATES = "request_rate"
_IN_SECONDS = "timestamp_s"
_MS_PER_S = 1000.0


class RequestColumns(NamedTuple):
    """Where in a row the time, the input and the output length of a request are, and how many of the time make 1 s."""

    time: int
    isl: int
    osl: int
    per_s: float

    @classmethod
    def of(cls, line: str) -> Self | None:
        """The columns by the first line of a file; None if it is no heading of requests."""
        names = [name.strip().lower() for name in _cells(line)]
        places = [next((names.index(name) for name in known if name in names), None) for known in (_TIME, _ISL, _OSL)]
        time, isl, osl = places
        if time is None or isl is None or osl is None or _OF_RATES in names:
            return None
        return cls(time, isl, osl, 1.0 if names[time] == _IN_SECONDS else _MS_PER_S)

    def request(self, line: str) -> tuple[float, float, float]:
        """Time (s), input and output length (tokens) of a row.

        Raises:
            ValueError: It has no numbers there.
            IndexError: It is too short.
        """
        cells = _cells(line)
        return seconds(cells[self.time], self.per_s), float(cells[self.isl]), float(cells[self.osl])


def seconds(value: str | float, per_s: float) -> float:
    """A time in seconds: a number, of which so many make a second, or a date and time, UTC unless it has an offset.

    Raises:
        ValueError: It is neither.
    """
    try:
        return float(value) / per_s
    except ValueError:
        moment = datetime.fromisoformat(str(value).strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _cells(line: str) -> list[str]:
    """The cells of a row; none of what is no row."""
    try:
        return next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error:
        return []
