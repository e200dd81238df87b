"""What the makers of profiles show and leave."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from planner.profile.reading import Target
from planner.profile.tables import facts, print_sheets
from profiles import ProfileData, ProfileError, read_data, write_data
from profiles.making.progress import OnProgress, Progress

if TYPE_CHECKING:
    from rich.console import Console


def refuse_to_overwrite(folder: Path, *, allowed: bool) -> None:
    """See that no profile is lost.

    Raises:
        ProfileError: The folder has one already.
    """
    try:
        there = read_data(folder)
    except ProfileError:
        return
    if not allowed:
        raise ProfileError(
            f"{there.prefill.file} exists already; give --overwrite, or another folder with --profile-results-dir"
        )


def leave(data: ProfileData, folder: Path, layout: str, target: Target) -> None:
    """Write a profile and print what it promises.

    Raises:
        ProfileError: It cannot be written.
    """
    files = write_data(data, folder, layout)
    engines = data.engines()
    print_sheets([facts(data, engines, target)])
    for warning in engines.warnings:
        print(f"odd: {warning}")  # noqa: T201
    for role, engine in (("prefill", data.provenance.prefill), ("decode", data.provenance.decode)):
        if engine.gpus is None:
            print(f"note: GPUs of a {role} engine were not told and are taken for 1: --{role}-engine-num-gpu")  # noqa: T201
    print(f"wrote {', '.join(map(str, files))}")  # noqa: T201
    print(f"look at it with: python -m planner profile show {folder}")  # noqa: T201


@contextmanager
def showing(console: Console) -> Iterator[OnProgress]:
    """Show progress: a bar with the time left on a terminal, a line for each point elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn  # noqa: PLC0415 - slow to import
    from rich.progress import Progress as Bar  # noqa: PLC0415

    if not console.is_terminal:
        yield _Lines().tell
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"), TextColumn("{task.description}"))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, left="")

        def tell(moment: Progress) -> None:
            left = "" if moment.left_s is None else f"{clock(moment.left_s)} left"
            bar.update(task, completed=moment.done, total=moment.total, description=moment.doing, left=left)

        yield tell


class _Lines:
    """Progress as lines on standard error, one for each point that is begun."""

    def __init__(self) -> None:
        self._last = ""

    def tell(self, moment: Progress) -> None:
        if moment.doing == self._last:
            return
        self._last = moment.doing
        left = "" if moment.left_s is None else f", {clock(moment.left_s)} left"
        print(f"{moment.done} of {moment.total}{left}: {moment.doing}", file=sys.stderr, flush=True)  # noqa: T201


def clock(seconds: float) -> str:
    """A span as people say it: ``1:05:00`` or ``2:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
