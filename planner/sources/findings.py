"""What checks of every source have to say alike."""

from __future__ import annotations

from planner.finding import Finding, Health
from planner.sources.base import SourceError


def of_labels(error: SourceError) -> Finding:
    """No series could be chosen by their labels."""
    return Finding(subject="metrics labels", health=Health.FAILED, detail=str(error), remedy="as it says")


def of_series(subject: str, number: int) -> Finding:
    """So many series were found of a field."""
    if number:
        return Finding(subject=subject, health=Health.OK, detail=f"{number} series")
    return Finding(
        subject=subject,
        health=Health.WARNING,
        detail="no series",
        remedy="none if nothing was served yet or this version has no such metric; else check --metrics-preset",
    )
