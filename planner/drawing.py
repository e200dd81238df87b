"""What pictures have in common: their style, their scales, and how a forecast of the load is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from planner.core.decision import LoadForecast

# What is counted has so much room above it.
_HEADROOM = 1.05


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


def finish(axes: Any, title: str, unit: str, columns: int = 0) -> None:
    """Name what was drawn.

    Args:
        axes: What has been drawn on.
        title: What it is.
        unit: Of the vertical axis.
        columns: How many curves the legend names, in a row; 0 for no legend.
    """
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_ylabel(unit)
    if columns:
        # Beside the title, where no curve runs through it.
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=columns, frameon=False, borderpad=0)


def scale_of_counts(axes: Any) -> None:
    """A vertical scale of whole numbers from 0 on, with room above the highest."""
    axes.set_ylim(0, max(1.0, axes.get_ylim()[1]) * _HEADROOM)
    axes.yaxis.get_major_locator().set_params(integer=True)


def scale_of_ratios(axes: Any) -> None:
    """A logarithmic vertical scale with a line at 1."""
    axes.axhline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    plain_decades(axes.yaxis)


def plain_decades(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers: 1, 2 and 5 of every decade, as more would run into each other."""
    for label in (axis.set_major_formatter, axis.set_minor_formatter):
        label(lambda value, _=None: f"{value:g}" if f"{value:e}"[0] in "125" else "")


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
