"""``python -m planner dashboard``: a recorded run as one page that can be opened, kept and sent."""

from __future__ import annotations

from pathlib import Path

from planner.cli import Invocation, failed
from planner.dashboard.recorded import record_of
from planner.report.database import HistoryError
from planner.report.decision_log import decision_files
from planner.settings import Settings


def dashboard(invocation: Invocation) -> int:
    """Carry out the command.

    Returns:
        The exit code.
    """
    extras, settings = invocation.extras, invocation.settings
    try:
        place = extras.history or _usual_place(settings)
        recording = record_of(place, settings, since=extras.since, until=extras.until)
        extras.output.parent.mkdir(parents=True, exist_ok=True)
        extras.output.write_text(recording.to_html(), encoding="utf-8")
    except (HistoryError, OSError) as error:
        return failed(invocation, error)
    count = len(recording.runs[0].records)
    print(f"{count} record{'' if count == 1 else 's'}: {extras.output}")  # noqa: T201
    return 0


def _usual_place(settings: Settings) -> Path:
    """Where a planner with these settings keeps its history; or else its log."""
    if settings.log_dir is not None and not settings.history_file.exists() and decision_files(settings.log_dir):
        return settings.log_dir
    return settings.history_file
