"""Recorded and replayed decisions in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from planner.drawing import picture
from planner.history.replay import Replayed


def draw(replayed: Sequence[Replayed], file: Path, pools: Mapping[str, str]) -> None:
    """Draw the load, and the workers of every pool as recorded and as replayed.

    Args:
        replayed: What to draw, oldest first.
        file: The PNG.
        pools: The pools there are, and what to call them.
    """
    times = [datetime.fromtimestamp(one.record.decision.time, UTC) for one in replayed]
    rows = 1 + len(pools)
    with picture(file, 11, 8 * rows / 3) as figure:
        load, *workers = figure.subplots(rows, 1, sharex=True)
        rates = [one.record.observation.request_rate_rps for one in replayed]
        load.plot(times, [float("nan") if rate is None else rate for rate in rates], color="#31688e", lw=1.2)
        load.set_ylabel("requests/s")
        load.set_ylim(bottom=0)
        for axes, (pool, label) in zip(workers, pools.items(), strict=True):
            before = [getattr(one.record.decision, pool) for one in replayed]
            now = [getattr(one.decision, pool) for one in replayed]
            axes.step(times, before, where="post", color="#8a8f98", lw=3, alpha=0.6, label="recorded")
            axes.step(times, now, where="post", color="#d1495b", lw=1.4, label="replayed")
            axes.set_ylabel(label if label == "workers" else f"{label} workers")
            axes.set_ylim(0, max(*before, *now) + 1)
            axes.yaxis.get_major_locator().set_params(integer=True)
        workers[0].legend(loc="upper left", ncols=2, frameon=False)
        _show_dates(load.xaxis)
        workers[-1].set_xlabel("UTC")
        for axes in (load, *workers):
            axes.grid(alpha=0.25)


def _show_dates(axis: Any) -> None:
    from matplotlib import dates  # noqa: PLC0415 - heavy, and only drawing needs it

    locator = dates.AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    axis.set_major_locator(locator)
    formatter = dates.ConciseDateFormatter(locator, tz=UTC)  # type: ignore[no-untyped-call]
    axis.set_major_formatter(formatter)
