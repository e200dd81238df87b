"""One line of a check-up: what was looked at, how it stands, how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a thing that was checked stands."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of checking one thing.

    Attributes:
        subject: What was checked, in a few words.
        health: ``failed`` means that a run could not work.
        detail: What was found.
        remedy: What to do about it; empty when all is well.
    """

    subject: str
    health: Health
    detail: str
    remedy: str = ""
