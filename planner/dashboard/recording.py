"""Runs that are over, as the page shows them: one file that needs nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

# Nothing from outside may be loaded, or told.
_POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">"
)
_STYLE = re.compile(r'<link rel="stylesheet" href="static/([^"]+)">')
_SCRIPT = re.compile(r'<script src="static/([^"]+)"></script>')


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """One course of events.

    Attributes:
        name: What it is called.
        planner: Facts of the planner, as ``planner.dashboard.facts`` gives them.
        records: Its records as ``Record.to_dict`` gives them, oldest first.
    """

    name: str
    planner: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """A table above the charts: a row for each run, in their order."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What one page shows.

    Attributes:
        title: Its heading.
        subtitle: A line below it.
        clock: Whether times are of the wall, or elapsed since the run began.
        runs: One or more runs.
        scores: How they compare.
        note: What they leave unsaid.
    """

    title: str
    subtitle: str
    clock: Literal["wall", "elapsed"]
    runs: Sequence[RecordedRun]
    scores: Scores | None = None
    note: str = ""

    def to_html(self) -> str:
        """The page with everything in it."""
        content = {
            "title": self.title,
            "subtitle": self.subtitle,
            "clock": self.clock,
            "runs": [{"name": run.name, "planner": run.planner, "records": run.records} for run in self.runs],
            "scores": {"columns": self.scores.columns, "rows": self.scores.rows} if self.scores else None,
            "note": self.note,
        }
        text = json.dumps(finite(content), separators=(",", ":"), allow_nan=False)
        # No time in the archive: the same runs give the same file.
        data = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
        page = _static("index.html").replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n  {_POLICY}')
        page = _STYLE.sub(lambda found: f"<style>{_static(found[1])}</style>", page)
        page = _SCRIPT.sub(lambda found: f"<script>{_static(found[1])}</script>", page)
        empty = '<script type="application/json" id="recording"></script>'
        return page.replace(empty, empty.replace("></", f">{data}</"))


def _static(name: str) -> str:
    return files("planner.dashboard").joinpath("static", name).read_text(encoding="utf-8")


def finite(content: Any) -> Any:
    """The same with null for what is no number: JSON has no other word for unknown."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return content
