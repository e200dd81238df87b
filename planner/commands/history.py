"""The flags of ``history`` and ``replay``."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime
from pathlib import Path

from planner.commands.values import Group, add_output

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_history_flags(group: Group) -> None:
    """Declare those of ``history``."""
    add_file(group)
    add_span(group)
    group.add_argument("--action", choices=("scale", "hold"), default=None, help="Only decisions of this kind.")
    group.add_argument("--pool", choices=("prefill", "decode"), default=None, help="Only those that changed this pool.")
    group.add_argument(
        "--limit",
        type=_count,
        metavar="N",
        default=None,
        help="Newest so many; 0 for all. (default: 20 as a table, all otherwise)",
    )
    group.add_argument(
        "--format",
        choices=("table", "csv", "json"),
        default="table",
        help="What to print: a table, one line each, or whole records. (default: table)",
    )


def add_replay_flags(group: Group) -> None:
    """Declare those of ``replay``."""
    add_file(group)
    add_span(group)
    add_output(group, "replay-output", "the plot and replay.json")


def moment(text: str) -> float:
    """A time: seconds since the epoch, ``2026-03-01T12:00`` (UTC unless it says otherwise), or ``90m`` ago."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        return time.time() - float(ago[1]) * _UNITS_S[ago[2]]
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; give 2026-03-01T12:00 (UTC unless it has an offset), seconds since the epoch, or "
            "how long ago, such as 90m, 12h or 7d"
        ) from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of 0 or more")
    return int(text)


def add_file(group: Group, what: str = "History to read.") -> None:
    """The flag ``--history``."""
    group.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        default=None,
        help=f"{what} (default: history.sqlite of --namespace in --state-dir)",
    )


def add_span(group: Group) -> None:
    """The flags ``--since`` and ``--until``."""
    group.add_argument(
        "--since", type=moment, metavar="TIME", default=None, help="Begin: 2026-03-01T12:00 (UTC), or 12h for 12 h ago."
    )
    group.add_argument("--until", type=moment, metavar="TIME", default=None, help="End, given likewise.")
