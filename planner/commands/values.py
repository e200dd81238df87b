"""Kinds of values that the flags of single commands take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

Group = argparse._ArgumentGroup


def above(least: float, *, including: bool = False) -> Callable[[str], float]:
    """A number above ``least``, or that at the least."""

    def number(text: str) -> float:
        value = float(text)
        if not (value >= least if including else value > least):
            raise argparse.ArgumentTypeError(f"{text} is not {'at least' if including else 'above'} {least:g}")
        return value

    return number


def whole(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return value


def add_output(group: Group, folder: str, what: str) -> None:
    """The flag ``--output``."""
    group.add_argument(
        "--output", type=Path, metavar="DIR", default=Path(folder), help=f"Folder for {what}. (default: {folder})"
    )
