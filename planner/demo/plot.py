"""The demo as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.demo.story import Story
from planner.drawing import draw_forecast, finish, picture, scale_of_counts, scale_of_ratios


def plot(story: Story, file: Path) -> None:
    """Draw load and forecast, workers, and latencies over time.

    Args:
        story: What happened.
        file: A PNG, its folder made if need be.
    """
    pools = {"prefill": "Prefill workers", "decode": "Decode workers"}
    if story.settings.aggregated:
        pools = {"decode": "Workers"}
    with picture(file, 10, 5 + 2 * len(pools)) as figure:
        load, *workers, latency = figure.subplots(2 + len(pools), 1, sharex=True)
        _plot_load(load, story)
        for axes, (pool, title) in zip(workers, pools.items(), strict=True):
            _plot_workers(axes, story, pool, title)
        _plot_latency(latency, story)
        latency.set_xlabel("minutes")


def _minutes(story: Story, times: Sequence[float]) -> list[float]:
    return [(time - story.begin) / 60 for time in times]


def _plot_load(axes: Any, story: Story) -> None:
    seen = [record.observation for record in story.records]
    axes.plot(
        _minutes(story, [one.time for one in seen]),
        [one.request_rate_rps for one in seen],
        label="observed",
        color="C0",
    )
    ahead = [(record.observation.time, record.decision.explanation.forecast) for record in story.records]
    expected = [(time + forecast.interval, forecast) for time, forecast in ahead if forecast is not None]
    draw_forecast(axes, _minutes(story, [time for time, _ in expected]), [forecast for _, forecast in expected])
    axes.set_ylim(bottom=0)
    finish(axes, "Load and forecast", "requests/s", 3)


def _plot_workers(axes: Any, story: Story, pool: str, title: str) -> None:
    times = _minutes(story, [moment.time for moment in story.moments])
    workers = [getattr(moment, pool) for moment in story.moments]
    ready = [one.ready for one in workers]
    axes.fill_between(times, ready, step="post", color="C2", alpha=0.5, linewidth=0, label="serving")
    axes.fill_between(
        times,
        ready,
        [one.requested for one in workers],
        step="post",
        color="C8",
        alpha=0.6,
        linewidth=0,
        label="starting",
    )
    decided = [(record.observation.time, record.decision) for record in story.records]
    axes.step(
        _minutes(story, [time for time, _ in decided]),
        [getattr(decision, pool) for _, decision in decided],
        where="post",
        color="black",
        linewidth=1,
        label="decided",
    )
    scale_of_counts(axes)
    finish(axes, title, "workers", 3)


def _plot_latency(axes: Any, story: Story) -> None:
    seen = [record.observation for record in story.records]
    times = _minutes(story, [one.time for one in seen])
    targets = story.settings
    for values, target, label, colour in (
        ([one.ttft_ms for one in seen], targets.ttft, "TTFT", "C3"),
        ([one.itl_ms for one in seen], targets.itl, "ITL", "C4"),
    ):
        share = [None if value is None else value / target for value in values]
        axes.plot(times, share, color=colour, label=f"{label} mean")
    scale_of_ratios(axes)
    finish(axes, f"Latency over target (TTFT {targets.ttft:g} ms, ITL {targets.itl:g} ms)", "over target", 2)
