"""``python -m planner dashboard``: a recorded run as one page that can be opened, kept and sent."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.cli import EXIT_BAD_CONFIGURATION, Invocation
from planner.dashboard.facts import facts_of
from planner.dashboard.recording import RecordedRun, Recording
from planner.planner import load_profile
from planner.report.database import HistoryError
from planner.report.record import Record
from planner.report.store import Filter, HistoryReader, Run
from planner.settings import Settings
from profiles import ProfileError

_SQLITE = b"SQLite format 3\0"
# A page of more records than this is slow to open; of a longer history it holds what matters of each slice.
_MOST_RECORDS = 6000
_SLICES = 2000


def dashboard(invocation: Invocation) -> int:
    """Carry out the command.

    Returns:
        The exit code.
    """
    extras, settings = invocation.extras, invocation.settings
    try:
        file = _file(extras.history, settings)
        recording = record_of(file, settings, since=extras.since, until=extras.until)
        extras.output.parent.mkdir(parents=True, exist_ok=True)
        extras.output.write_text(recording.to_html(), encoding="utf-8")
    except (HistoryError, OSError) as error:
        print(f"python -m planner dashboard: error: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_BAD_CONFIGURATION
    print(f"{len(recording.runs[0].records)} records: {extras.output}")  # noqa: T201
    return 0


def record_of(file: Path, settings: Settings, *, since: float | None = None, until: float | None = None) -> Recording:
    """What there is to show of a history.

    Args:
        file: An SQLite history, or JSON as ``/api/v1/decisions`` gives it.
        settings: What is taken for the planner's where the file does not tell.
        since: Begin, seconds since the epoch; its own if None.
        until: End; its own if None.

    Raises:
        HistoryError: The file is not there, is no history, or holds nothing.
    """
    if not file.is_file():
        raise HistoryError(f"there is no history at {file}")
    with file.open("rb") as start:
        is_database = start.read(len(_SQLITE)) == _SQLITE
    planner, records, note = (_from_database if is_database else _from_json)(file, settings, since, until)
    if not records:
        raise HistoryError(f"the history {file} holds no decision" + (" of that time" if since or until else ""))
    first, last = records[0]["decision"]["time"], records[-1]["decision"]["time"]
    subtitle = " · ".join(filter(None, [planner["model"], f"{_minute(first)} to {_minute(last)} UTC"]))
    run = RecordedRun(name=planner["namespace"], planner=planner, records=records)
    return Recording(title=planner["namespace"], subtitle=subtitle, clock="wall", runs=[run], note=note)


def _file(given: Path | None, settings: Settings) -> Path:
    path = given or settings.history_file
    return path / settings.history_file.name if path.is_dir() else path


def _minute(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment))


_Found = tuple[dict[str, Any], Sequence[Mapping[str, Any]], str]


def _from_database(file: Path, settings: Settings, since: float | None, until: float | None) -> _Found:
    reader = HistoryReader(file)
    span, runs = reader.span(), reader.runs()
    planner = _facts(runs[-1] if runs else None, settings)
    if span is None:
        return planner, [], ""
    begin, end = max(span[0], since or span[0]), min(span[1], until or span[1])
    if reader.count(Filter(since=begin, until=end)) <= _MOST_RECORDS:
        return planner, reader.documents(begin, end), f"From {file.name}."
    records = reader.thinned(begin, end, _SLICES)
    return planner, records, f"From {file.name}, thinned to every change and the peaks of {_SLICES} slices of time."


def _from_json(file: Path, settings: Settings, since: float | None, until: float | None) -> _Found:
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        try:
            content = json.loads(text)
        except ValueError:
            content = [json.loads(line) for line in text.splitlines() if line.strip()]
        found = content["decisions"] if isinstance(content, dict) and "decisions" in content else content
        records = [Record.from_dict(one).to_dict() for one in (found if isinstance(found, list) else [found])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryError(
            f"{file} is neither an SQLite history nor decisions in JSON: {type(error).__name__}: {error}"
        ) from None
    records.sort(key=lambda one: one["decision"]["time"])
    begin, end = since if since is not None else -math.inf, until if until is not None else math.inf
    wanted = [one for one in records if begin <= one["decision"]["time"] <= end]
    return _facts(None, settings), wanted, f"From {file.name}."


def _facts(run: Run | None, settings: Settings) -> dict[str, Any]:
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
