"""The flags of ``check``."""

from __future__ import annotations

from planner.commands.values import Group


def add_flags(group: Group) -> None:
    """Declare them."""
    group.add_argument(
        "--format",
        choices=("table", "json"),
        default="table",
        help="What to print: a table, or for machines what was checked, found and is to be done. (default: table)",
    )
