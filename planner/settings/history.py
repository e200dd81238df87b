"""What is remembered over a restart."""

from __future__ import annotations

from typing import ClassVar

from planner.settings.options import OptionGroup, option


class HistoryOptions(OptionGroup):
    """What is remembered over a restart."""

    title: ClassVar[str] = "History"

    history_days: float = option(
        30.0,
        "Age at which observations and decisions leave the history, which is history.sqlite in the namespace's folder "
        "of --state-dir; 0 keeps it in memory only.",
        unit="days",
        ge=0,
        le=3650,
    )
    history_size: float = option(256.0, "Size at which the oldest leave it.", unit="MB", ge=1, le=1_000_000)
    history_warm_start: int = option(
        1440,
        "Adjustments of the history that a starting planner learns from: forecasts, correction factors, start-up times "
        "and patience go on where they were; 0 to begin anew.",
        unit="adjustments",
        ge=0,
        le=100_000,
    )
