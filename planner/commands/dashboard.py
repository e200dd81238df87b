"""The flags of ``dashboard``."""

from __future__ import annotations

from pathlib import Path

from planner.commands.history import add_file, add_span
from planner.commands.values import Group


def add_flags(group: Group) -> None:
    """Declare them."""
    add_file(
        group,
        "History to show: history.sqlite, its folder, the folder of --log-dir, or a file of what /api/v1/decisions "
        "gave.",
    )
    add_span(group)
    group.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        default=Path("dashboard.html"),
        help="The page to write. (default: dashboard.html)",
    )
