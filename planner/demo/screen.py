"""The demo in the terminal."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.text import Text

from planner.core.observation import Workers
from planner.demo.story import Story
from planner.report.record import Record
from planner.settings import NO_BUDGET, Settings

_BAR_CELLS = 24
_MOST_WORKERS = 14
_PLAIN_WIDTH = 120


class Screen:
    """Prints a line for each adjustment, with bars that make the curves visible, and a summary at the end."""

    def __init__(self, settings: Settings, story: Story, *, length_s: float, speed: float, most_rps: float) -> None:
        """Prepare.

        Args:
            settings: What the planner runs with.
            story: What is shown.
            length_s: Length of the demo, seconds on its own clock.
            speed: How many times faster than real time its clock runs.
            most_rps: The load that fills a bar, requests per second.
        """
        self._settings = settings
        self._story = story
        self._length_s = length_s
        self._speed = speed
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = _PLAIN_WIDTH
        self._most_rps = most_rps

    def __enter__(self) -> Self:
        """Say what is to be seen."""
        settings = self._settings
        unlimited = settings.max_gpu_budget == NO_BUDGET
        budget = "no GPU budget" if unlimited else f"budget {settings.max_gpu_budget} GPUs"
        self._console.print(
            f"[bold]SLA planner demo[/]: {self._length_s / 60:.0f} minutes in "
            f"{self._length_s / self._speed:.0f} seconds, an adjustment every {settings.adjustment_interval:g} s, "
            f"workers take {settings.worker_startup:g} s to start\n"
            f"targets: TTFT {settings.ttft:g} ms, ITL {settings.itl:g} ms; {budget}; "
            f"predictor {settings.load_predictor}\n"
            "[green]#[/] serves  [yellow]+[/] starts  [red]![/] latency above target\n"
        )
        heading = f"{'minute':>6}  {'req/s':>5} {'':{_BAR_CELLS}} {'forecast':>8}  {'TTFT ms':>9}  {'ITL ms':>7}"
        pools = ("workers",) if settings.aggregated else ("prefill", "decode")
        self._console.print(f"[dim]{heading}  {' '.join(f'{pool:{_MOST_WORKERS}}' for pool in pools)}[/]")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the lines on the screen."""

    def show(self, record: Record) -> None:
        """Print an adjustment."""
        seen, forecast = record.observation, record.decision.explanation.forecast
        rate_rps = seen.request_rate_rps
        self._most_rps = max(self._most_rps, rate_rps or 0.0)
        cells = round((rate_rps or 0.0) / self._most_rps * _BAR_CELLS)
        line = Text(f"{(seen.time - self._story.begin) / 60:6.0f}  ")
        line.append(f"{_number(rate_rps, 1):>5} ")
        line.append("\u2588" * cells + " " * (_BAR_CELLS - cells), style="cyan")
        line.append(f" {_number(forecast.request_rate_rps if forecast else None, 1):>8}")
        line.append_text(_latency(seen.ttft_ms, self._settings.ttft, 9, 0))
        line.append_text(_latency(seen.itl_ms, self._settings.itl, 7, 1))
        line.append(" ")
        for pool in (seen.decode,) if self._settings.aggregated else (seen.prefill, seen.decode):
            line.append(" ")
            line.append_text(_pool(pool))
        if record.decision.action == "scale":
            prefill = "" if self._settings.aggregated else f"{record.decision.prefill}+"
            line.append(f" -> {prefill}{record.decision.decode}", style="bold")
        self._console.print(line, overflow="crop", no_wrap=True)

    def summarise(self, picture: Path) -> None:
        """Print how it went."""
        outcome = self._story.outcome
        if outcome is None:
            return
        saved = 1 - outcome.gpu_hours / outcome.peak_gpu_hours if outcome.peak_gpu_hours else 0.0
        self._console.print(
            f"\n[bold]{outcome.requests}[/] requests: {outcome.within_both:.1%} within both targets "
            f"(TTFT {outcome.within_ttft:.1%}, ITL {outcome.within_itl:.1%})\n"
            f"[bold]{outcome.gpu_hours:.1f}[/] GPU-hours, {saved:.0%} less than the largest deployment all the time; "
            f"{_counted(outcome.scalings, 'scaling')} in {_counted(len(self._story.records), 'adjustment')}\n"
            f"The curves: {picture}"
        )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _number(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"


def _latency(value_ms: float | None, target_ms: float, width: int, digits: int) -> Text:
    broken = value_ms is not None and value_ms > target_ms
    text = f"{_number(value_ms, digits)}{'!' if broken else ' '}"
    return Text(f"  {text:>{width}}", style="red" if broken else "")


def _pool(workers: Workers | None) -> Text:
    text = Text()
    if workers is not None:
        text.append("#" * workers.ready, style="green")
        text.append("+" * workers.pending, style="yellow")
    text.append(" " * max(0, _MOST_WORKERS - len(text)))
    return text
