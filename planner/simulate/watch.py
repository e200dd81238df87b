"""Work as its user watches it: bars in a terminal, a line for each piece that ended elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


def bars(console: Console) -> Progress:
    """Bars with what is left of the time; nothing where there is no terminal."""
    columns = (TextColumn("{task.description:28}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)


class Ends:
    """Tells of what ended, once each, where bars do not."""

    def __init__(self, console: Console) -> None:
        """Begin with nothing told.

        Args:
            console: Where to tell it.
        """
        self._console = console
        self._told: set[str] = set()

    def tell(self, ended: Iterable[str]) -> None:
        """Tell of what has ended so far, except for what was told before."""
        for what in ended:
            if not self._console.is_terminal and what not in self._told:
                self._told.add(what)
                self._console.print(f"ended: {what}")
