"""How far the making of a profile has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class MakingError(Exception):
    """A profile cannot be made; the message says why and what to do."""


class NotInstalledError(MakingError):
    """A package that makes profiles is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A moment on the way.

    Attributes:
        done: Points that are settled, failed ones included.
        total: Points there are.
        doing: What is being done.
        left_s: Seconds left, roughly; None as long as nothing is known.
    """

    done: int
    total: int
    doing: str
    left_s: float | None = None


OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Tell nobody."""
