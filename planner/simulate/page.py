"""Runs as one page that needs nothing else, and beside it as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from planner.dashboard.facts import planner_facts
from planner.dashboard.recording import RecordedRun, Recording, Scores
from planner.engines import load_profile
from planner.report.record import Kind, Record
from planner.settings import Settings
from planner.simulate.pictures import draw, draw_overview
from planner.simulate.table import COLUMNS, cells, footnote
from planner.simulation.loop import Run

_OVERVIEW = "overview"


def write_report(
    runs: Mapping[str, Run],
    title: str,
    folder: Path,
    *,
    settings: Settings,
    decided: Mapping[str, Settings],
    notes: Sequence[str] = (),
) -> Path:
    """Draw every run as a PNG, and all of them with their scores as one HTML page.

    Args:
        runs: The runs by name.
        title: What was simulated.
        folder: Where to write; made if need be.
        settings: What they are scored by.
        decided: What each ran with, by name.
        notes: What to keep in mind, a sentence each.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _file_names(runs)
    for name, run in runs.items():
        if run.points:
            picture = folder / f"{pictures[name]}.png"
            draw(run, f"{title}: {name}", picture, decided[name])
    if len(runs) > 1:
        draw_overview(runs, folder / f"{_OVERVIEW}.png")
    page = folder / "report.html"
    recording = _recording(runs, title, settings, decided)
    page.write_text(replace(recording, note=" ".join([recording.note, *notes])).to_html(), encoding="utf-8")
    return page


def _file_names(names: Iterable[str]) -> dict[str, str]:
    """What to call the picture of each run; no two are alike but for case, and none is the overview."""
    found: dict[str, str] = {}
    taken = {_OVERVIEW}
    for name in names:
        plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
        free = next(text for text in _numbered(plain) if text.casefold() not in taken)
        taken.add(free.casefold())
        found[name] = free
    return found


def _numbered(text: str) -> Iterator[str]:
    yield text
    yield from (f"{text}-{number}" for number in count(2))


def _recording(runs: Mapping[str, Run], title: str, settings: Settings, decided: Mapping[str, Settings]) -> Recording:
    targets = f"targets TTFT {settings.ttft:g} ms, ITL {settings.itl:g} ms"
    return Recording(
        title=title,
        subtitle=f"{targets} · every {settings.adjustment_interval:g} s",
        clock="elapsed",
        runs=[
            RecordedRun(name=name, planner=_facts(decided[name]), records=_records(run)) for name, run in runs.items()
        ],
        # Headings are folded between words, not at the hyphen of GPU-h.
        scores=Scores(
            columns=[heading.replace("-", "\N{NON-BREAKING HYPHEN}") for heading in COLUMNS],
            rows=[cells(run.score) for run in runs.values()],
        ),
        note=footnote(runs),
    )


def _facts(settings: Settings) -> dict[str, Any]:
    """What the page has to know of a run; nothing was read from anywhere."""
    profile = load_profile(settings)
    return planner_facts(settings, (profile.prefill.gpus, profile.decode.gpus)) | {"source": "simulated"}


def _records(run: Run) -> list[dict[str, Any]]:
    """A run as records; nothing was handed over, and nothing read from a source."""
    between = {point.time_s for point in run.reactions}
    records = [
        Record(
            observation=point.observation,
            decision=point.decision,
            applied=None,
            duration_s=0.0,
            kind=Kind.REACTION if point.time_s in between else Kind.ADJUSTMENT,
        ).to_dict()
        | {"simulated": True, "duration_s": None}
        for point in run.decisions
    ]
    if records:
        records[-1]["gpu_hours"] = run.score.gpu_hours
    return records
