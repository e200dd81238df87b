"""What pictures have in common: their style, and how a forecast of the load is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from planner.core.decision import LoadForecast


@contextmanager
def picture(file: Path, width: float, height: float) -> Iterator[Any]:
    """A figure to draw on, written when the context ends.

    Args:
        file: A PNG, its folder made if need be.
        width: In inches.
        height: In inches.
    """
    import matplotlib as mpl  # noqa: PLC0415 - it takes a second to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=110)


def draw_forecast(axes: Any, times: Sequence[float], loads: Sequence[LoadForecast]) -> None:
    """Draw request rates that were forecast, if any were, and their bands.

    Args:
        axes: Where, in requests/s.
        times: When each was forecast for, in the unit of the axis.
        loads: What was forecast.
    """
    if not loads:
        return
    axes.plot(times, [load.request_rate_rps for load in loads], "--", label="forecast", color="C1", linewidth=1)
    low = [load.requests_p10 / load.interval for load in loads]
    high = [load.requests_p90 / load.interval for load in loads]
    draw_band(axes, times, low, high, colour="C1")


def draw_band(axes: Any, times: ArrayLike, low: ArrayLike, high: ArrayLike, *, colour: str) -> None:
    """Draw what lies between the 0.1 and the 0.9 quantiles of forecasts."""
    axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0, label="10 % to 90 %")
