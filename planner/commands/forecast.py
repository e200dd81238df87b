"""The flags of ``forecast``."""

from __future__ import annotations

from pathlib import Path

from planner.commands.values import Group, add_output, add_part, add_processes


def add_flags(group: Group) -> None:
    """Declare them."""
    add = group.add_argument
    add("--trace", type=Path, metavar="FILE", required=True, help="Recorded requests, as for simulate.")
    add(
        "--predictors",
        metavar="NAMES",
        default="auto,constant,kalman,arima,prophet",
        help="Predictors to try, separated by commas; the last two take far longer than the others. "
        "(default: auto,constant,kalman,arima,prophet)",
    )
    add(
        "--horizons",
        metavar="STEPS",
        default="1,2,3",
        help="Intervals to look ahead, separated by commas. (default: 1,2,3)",
    )
    add_part(group, "the trace", "all of it")
    add_processes(group, "Backtests")
    add_output(group, "forecast-output", "plot and JSON")
