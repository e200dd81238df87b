"""Kinds of values that the flags of single commands take."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

Group = argparse._ArgumentGroup


def above(least: float, *, including: bool = False, most: float = math.inf) -> Callable[[str], float]:
    """A finite number above ``least``, or that at the least, and ``most`` at the most."""

    def number(text: str) -> float:
        value = float(text)
        if not (value >= least if including else value > least):
            raise argparse.ArgumentTypeError(f"{text} is not {'at least' if including else 'above'} {least:g}")
        if value > most or math.isinf(value):
            raise argparse.ArgumentTypeError(f"{text} is not {f'at most {most:g}' if most < math.inf else 'finite'}")
        return value

    return number


def seed(text: str) -> int:
    """A whole number of 0 or more."""
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def whole(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return value


def span(text: str) -> tuple[int, int]:
    """Two whole numbers above 0, the larger one last, separated by a comma."""
    least, separator, most = text.partition(",")
    if not (separator and least.strip().isdecimal() and most.strip().isdecimal() and 0 < int(least) <= int(most)):
        raise argparse.ArgumentTypeError(f"{text!r} is not LEAST,MOST, such as 100,16384")
    return int(least), int(most)


def web_address(text: str) -> str:
    """An address such as http://host:8000."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as http://localhost:8000")
    return text


def add_part(group: Group, whole: str, everything: str) -> None:
    """The flags ``--start`` and ``--duration`` of a part of something.

    Args:
        group: Where to add them.
        whole: What it is a part of.
        everything: What the part is without them.
    """
    group.add_argument(
        "--start",
        type=above(0, including=True),
        metavar="S",
        default=0.0,
        help=f"Leave out so much of the beginning of {whole}, s. (default: 0)",
    )
    group.add_argument(
        "--duration",
        type=above(0),
        metavar="S",
        default=None,
        help=f"Take so much of {whole}, s. (default: {everything})",
    )


def add_processes(group: Group, what: str) -> None:
    """The flag ``--processes``."""
    group.add_argument(
        "--processes",
        type=whole,
        metavar="N",
        default=None,
        help=f"{what} at a time. (default: as many as there are cores that it may use)",
    )


def add_output(group: Group, folder: str, what: str) -> None:
    """The flag ``--output``."""
    group.add_argument(
        "--output", type=Path, metavar="DIR", default=Path(folder), help=f"Folder for {what}. (default: {folder})"
    )
