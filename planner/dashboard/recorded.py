"""Recorded runs, wherever they are kept: in a history, in what ``--log-dir`` left, or in what the API gave."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.dashboard.facts import facts_of
from planner.dashboard.recording import RecordedRun, Recording
from planner.engines import load_profile
from planner.report.database import HistoryError, not_there
from planner.report.decision_log import DECISION_FILE, decision_files, lines_of
from planner.report.life import Run
from planner.report.reader import Filter, HistoryReader
from planner.report.record import Record
from planner.settings import Settings
from profiles import ProfileError

_SQLITE = b"SQLite format 3\0"
# A page of more records than this is slow to open; of a longer history it holds what matters of each slice.
_MOST_RECORDS = 6000
_SLICES = 2000
_THINNED = f"thinned to every change and the peaks of {_SLICES} slices of time"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    begin: float
    end: float

    def __contains__(self, record: Document) -> bool:
        return bool(self.begin <= record["decision"]["time"] <= self.end)


@dataclass(slots=True, kw_only=True)
class _Found:
    """What was read: facts of the planner, records oldest first, and what is to be said of them."""

    planner: Document | None = None
    records: list[Document] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def record_of(place: Path, settings: Settings, *, since: float | None = None, until: float | None = None) -> Recording:
    """What there is to show of a recorded run.

    Args:
        place: An SQLite history; a folder with one, or of ``--log-dir``; or a file of decisions in JSON, as
            ``/api/v1/decisions`` and ``--log-dir`` give them.
        settings: What is taken for the planner's where the file does not tell.
        since: Begin, seconds since the epoch; its own if None.
        until: End; its own if None.

    Raises:
        HistoryError: Nothing is there, it is none of these, or holds nothing.
        OSError: It cannot be read.
    """
    span = _Span(begin=-math.inf if since is None else since, end=math.inf if until is None else until)
    found = _read(place, settings, span)
    if not found.records:
        raise HistoryError(f"{place} holds no decision" + (" of that time" if since or until else ""))
    planner = found.planner or _facts(None, settings)
    first, last = found.records[0]["decision"]["time"], found.records[-1]["decision"]["time"]
    subtitle = " · ".join(filter(None, [planner["model"], f"{_minute(first)} to {_minute(last)} UTC"]))
    run = RecordedRun(name=planner["namespace"], planner=planner, records=found.records)
    note = f"From {'; '.join(found.notes)}."
    return Recording(title=planner["namespace"], subtitle=subtitle, clock="wall", runs=[run], note=note)


def _read(place: Path, settings: Settings, span: _Span) -> _Found:
    if not place.exists():
        raise not_there(place)
    if place.is_dir():
        database = place / settings.history_file.name
        if database.is_file():
            return _from_database(database, settings, span)
        if files := decision_files(place):
            return _from_log(files, span)
        raise HistoryError(
            f"the folder {place} holds neither {database.name}, as below --state-dir, nor {DECISION_FILE}, which "
            "--log-dir leaves"
        )
    with place.open("rb") as start:
        if start.read(len(_SQLITE)) == _SQLITE:
            return _from_database(place, settings, span)
    return _from_json(place, span)


def _minute(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment))


def _from_database(file: Path, settings: Settings, wanted: _Span) -> _Found:
    reader = HistoryReader(file)
    span, runs = reader.span(), reader.runs()
    found = _Found(planner=_facts(runs[-1] if runs else None, settings), notes=[file.name])
    if span is not None:
        begin, end = max(span[0], wanted.begin), min(span[1], wanted.end)
        if reader.count(Filter(since=begin, until=end)) <= _MOST_RECORDS:
            found.records = reader.documents(begin, end)
        else:
            found.records = reader.thinned(begin, end, _SLICES)
            found.notes.append(_THINNED)
    return found


def _from_log(files: list[Path], span: _Span) -> _Found:
    found = _Found(notes=[", ".join(file.name for file in files)])
    records, damaged = dict[tuple[str, float], Document](), 0
    for line in lines_of(files):
        try:
            if line is not None and isinstance(line.get("planner"), dict):
                found.planner = facts_of({}, (None, None), "") | line["planner"]
                continue
            record = Record.from_dict(line or {}).to_dict()
        except _NO_RECORD:
            damaged += 1
        else:
            records[record["kind"], record["decision"]["time"]] = record
    if damaged and not records:
        raise HistoryError(f"{files[-1]} is neither an SQLite history nor decisions in JSON: no line is a decision")
    if damaged:
        found.notes.append(f"{damaged} damaged line{'' if damaged == 1 else 's'} left out")
    return _within(found, list(records.values()), span)


def _from_json(file: Path, span: _Span) -> _Found:
    """One document as the API and ``history --format json`` give it, or else a line each."""
    try:
        content = json.loads(file.read_text(encoding="utf-8", errors="replace"))
    except ValueError:
        return _from_log([file], span)
    if isinstance(content, dict):
        content = content.get("decisions", [content])
    try:
        records = [Record.from_dict(one).to_dict() for one in content]
    except _NO_RECORD as error:
        raise HistoryError(
            f"{file} is neither an SQLite history nor decisions in JSON: {type(error).__name__}: {error}"
        ) from None
    return _within(_Found(notes=[file.name]), records, span)


_NO_RECORD = (ValueError, KeyError, TypeError, AttributeError)


def _within(found: _Found, records: list[Document], span: _Span) -> _Found:
    wanted = [record for record in records if record in span]
    found.records = sorted(wanted, key=lambda record: record["decision"]["time"])
    if len(found.records) > _MOST_RECORDS:
        found.records = _thinned(found.records)
        found.notes.append(_THINNED)
    return found


def _thinned(records: Sequence[Document]) -> list[Document]:
    """What ``HistoryReader.thinned`` keeps: of each slice the last and the peaks, and every change."""
    first, last = records[0]["decision"]["time"], records[-1]["decision"]["time"]
    width = max(last - first, 1e-6) / _SLICES
    kept = {place for place, record in enumerate(records) if record["decision"]["action"] == "scale"}
    best = dict[tuple[int, str], tuple[float, int]]()
    for place, record in enumerate(records):
        part = int((record["decision"]["time"] - first) / width)
        for name, value in (*_heights(record["observation"]), ("last", float(place))):
            if value is not None:
                best[part, name] = max(best.get((part, name), (-math.inf, 0)), (value, place))
    kept |= {place for _, place in best.values()}
    return [records[place] for place in sorted(kept)]


def _heights(seen: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    rate = None if seen["requests_started"] is None else seen["requests_started"] / seen["interval"]
    return [("rate", rate), ("ttft", seen["ttft_ms"]), ("itl", seen["itl_ms"])]


def _facts(run: Run | None, settings: Settings) -> Document:
    """Of the newest run, or else of the settings given; how large engines are the profile may have to tell."""
    told = dict(run.settings) if run else settings.model_dump(mode="json")
    gpus: tuple[int | None, int | None] = told.get("prefill_engine_num_gpu"), told.get("decode_engine_num_gpu")
    if None in gpus:
        try:
            profile = load_profile(
                settings.model_copy(update={"profile_results_dir": told.get("profile_results_dir", "")})
            )
            gpus = gpus[0] or profile.prefill.gpus, gpus[1] or profile.decode.gpus
        except (ProfileError, TypeError, ValueError, OSError):
            pass  # GPUs are left out of the page then
    return facts_of(told, gpus, run.version if run else "")
