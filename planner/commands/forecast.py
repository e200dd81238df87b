"""The flags of ``forecast``."""

from __future__ import annotations

from pathlib import Path

from planner.commands.values import Group, above, add_output, whole


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
    add(
        "--start",
        type=above(0, including=True),
        metavar="S",
        default=0.0,
        help="Leave out so much of the beginning of the trace, s. (default: 0)",
    )
    add(
        "--duration",
        type=above(0),
        metavar="S",
        default=None,
        help="Take so much of the trace, s. (default: all of it)",
    )
    add(
        "--processes",
        type=whole,
        metavar="N",
        default=None,
        help="Backtests at a time. (default: as many as there are cores)",
    )
    add_output(group, "forecast-output", "plot and JSON")
