"""The runs of planners that a history tells of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One run of a planner with the same settings.

    Attributes:
        started: When it started, or took its settings anew, seconds since the epoch.
        version: The planner's version.
        settings: Its settings, by name, as JSON has them; secrets are masked.
    """

    started: float
    version: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Life):
    """A life in the history.

    Attributes:
        id: Its number.
    """

    id: int
