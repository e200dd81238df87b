"""The time axis of pictures."""

from __future__ import annotations

_MOST_MINUTES = 120.0
_MOST_HOURS = 72.0


def time_unit(length_s: float) -> tuple[str, float]:
    """What a span of so many seconds is best told in, and how many seconds that is."""
    if length_s <= _MOST_MINUTES * 60:
        return "minutes", 60.0
    return ("hours", 3600.0) if length_s <= _MOST_HOURS * 3600 else ("days", 86_400.0)
