"""Recorded traffic: a request a line, mooncake-style JSON or CSV, plain or gzip."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from pydantic_core import from_json

from planner.simulation.rows import RequestColumns, seconds

_FIELDS = ("timestamp", "input_length", "output_length")
_NAMED_LINES = 5
# The first bytes of what gzip packed.
_GZIP = b"\x1f\x8b"
# Characters of a line that a message quotes.
_QUOTED = 100
# Longer than any context: what asks for more is no request.
MOST_TOKENS = 1e9
# More intervals are of timestamps of two clocks, or of another unit.
_MOST_INTERVALS = 1_000_000
# A last interval is whole if requests came until so shortly before its end, as a share of its length.
_LAST_SHARE = 0.05


class TraceError(Exception):
    """A trace that cannot be read or holds nothing; the message names the file and what is wrong."""


class TraceRequest(NamedTuple):
    """One request of a trace.

    Attributes:
        time_s: When it arrived, seconds on the trace's own clock.
        isl: Input sequence length, tokens.
        osl: Output sequence length, tokens.
    """

    time_s: float
    isl: float
    osl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceInterval:
    """What a trace asks for in one interval.

    Attributes:
        end_s: End of the interval, seconds after the first request's interval began.
        requests: Requests that arrived.
        isl: Their mean input sequence length, tokens; None if there were none.
        osl: Their mean output sequence length, tokens; None if there were none.
    """

    end_s: float
    requests: int
    isl: float | None
    osl: float | None


@dataclass(slots=True)
class Trace:
    """A trace file, read as a stream.

    Lines that are no request are left out; how many, and the numbers of the first of them, are known after reading.

    Attributes:
        path: The file, plain or gzip.
        bad_lines: How many lines were left out.
        bad_line_numbers: The numbers of the first few, counted from 1.
    """

    path: Path
    bad_lines: int = 0
    bad_line_numbers: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[TraceRequest]:
        """The requests, in the order of the file.

        Raises:
            TraceError: The file cannot be read, or no line of it is a request.
        """
        self.bad_lines, self.bad_line_numbers = 0, []
        found, first_bad, heading = False, "", ""
        try:
            with open_text(self.path) as lines:
                columns: RequestColumns | None = None
                for number, line in enumerate(lines, start=1):
                    if number == 1 and (columns := RequestColumns.of(line)) is not None:
                        heading = "a heading, and nothing below it"
                        continue
                    request = _parse(line, columns)
                    if request is None:
                        self._note(number, line)
                        first_bad = first_bad or _shortened(line)
                        continue
                    found = True
                    yield request
        except (OSError, EOFError, zlib.error) as error:
            raise TraceError(f"trace {self.path} cannot be read: {error}") from error
        if not found:
            raise TraceError(
                f"trace {self.path} holds no request; expected lines of JSON objects with {', '.join(_FIELDS)} "
                "(timestamp in ms, lengths in tokens), or CSV with these columns; "
                f"found {first_bad or heading or 'no text'}"
            )

    def _note(self, number: int, line: str) -> None:
        if not line.strip():
            return
        self.bad_lines += 1
        if len(self.bad_line_numbers) < _NAMED_LINES:
            self.bad_line_numbers.append(number)

    def intervals(self, interval_s: float, *, whole: bool = False) -> list[TraceInterval]:
        """The trace by intervals, silent ones included, from the one with the first request to the one with the last.

        Requests may stand in any order.

        Args:
            interval_s: Length of an interval, seconds.
            whole: Whether intervals are counted from the first request of the file, whatever its time, and the first
                and the last one are left out where the trace begins or ends in their midst, so that none is of less
                time than the others.

        Raises:
            TraceError: The file cannot be read, no line of it is a request, or its timestamps are no times of one
                clock.
        """
        totals: dict[int, list[float]] = {}
        origin, last = None if whole else 0.0, 0.0
        for request in self:
            origin = request.time_s if origin is None else origin
            last = max(last, request.time_s)
            total = totals.setdefault(int((request.time_s - origin) // interval_s), [0, 0.0, 0.0])
            total[0] += 1
            total[1] += request.isl
            total[2] += request.osl
        first, end = min(totals), max(totals) + 1
        if end - first > _MOST_INTERVALS:
            raise TraceError(
                f"trace {self.path}: between its first and last timestamp are {end - first} intervals of "
                f"{interval_s:g} s; expected timestamps of one clock, in ms"
            )
        if whole and origin is not None and end - first > 1:
            # Requests that came before the first one of the file begin in the midst of an interval.
            first += int(first < 0)
            end -= int(last < origin + (end - _LAST_SHARE) * interval_s and end - first > 1)
        return [_interval((index - first + 1) * interval_s, totals.get(index)) for index in range(first, end)]

    @property
    def complaint(self) -> str | None:
        """What was left out, in words; None if every line was a request."""
        if not self.bad_lines:
            return None
        numbers = ", ".join(map(str, islice(self.bad_line_numbers, _NAMED_LINES)))
        more = ", ..." if self.bad_lines > len(self.bad_line_numbers) else ""
        what = "line is no request and was" if self.bad_lines == 1 else "lines are no requests and were"
        return f"trace {self.path}: {self.bad_lines} {what} left out: {numbers}{more}"


def open_text(path: Path) -> IO[str]:
    """A file to read as text, unpacked if it is gzip by its content; what is no UTF-8 becomes replacement characters.

    Raises:
        OSError: It cannot be read.
        TraceError: It is a pipe or the like, which can be read only once.
    """
    if not (path.is_file() or path.is_dir()) and path.exists():
        raise TraceError(
            f"{path} is no file but a pipe or device, and a trace is read several times; write it to a file"
        )
    with path.open("rb") as stream:
        packed = stream.read(len(_GZIP)) == _GZIP
    # Spreadsheets put a mark before the text, which utf-8-sig takes off.
    if packed:
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _interval(end_s: float, total: list[float] | None) -> TraceInterval:
    if total is None:
        return TraceInterval(end_s=end_s, requests=0, isl=None, osl=None)
    requests, isl, osl = total
    return TraceInterval(end_s=end_s, requests=int(requests), isl=isl / requests, osl=osl / requests)


def _shortened(line: str) -> str:
    """The beginning of a line, as it is quoted in messages; empty if the line is."""
    text = line.strip()
    return f"{text[:_QUOTED]}..." if len(text) > _QUOTED else text


def _parse(line: str, columns: RequestColumns | None) -> TraceRequest | None:
    try:
        time_s, isl, osl = _of_json(line) if columns is None else columns.request(line)
    except (ValueError, TypeError, LookupError):
        return None
    if not (0 <= time_s < math.inf and 0 < isl <= MOST_TOKENS and 0 <= osl <= MOST_TOKENS):
        return None
    return TraceRequest(time_s, isl, osl)


def _of_json(line: str) -> tuple[float, float, float]:
    content = from_json(line)
    return seconds(content["timestamp"], 1000.0), float(content["input_length"]), float(content["output_length"])
