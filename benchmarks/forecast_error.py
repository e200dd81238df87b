r"""How far forecasts of real traffic are off, and whether their uncertainty is honest.

    python benchmarks/forecast_error.py TRACES/*.jsonl.gz TRACES/*.csv

Request count, ISL and OSL of every trace in intervals of 60, 180 and 600 s, 1 to 3 intervals ahead. For each series
the error of ``auto`` stands beside that of the best single predictor in hindsight; then each predictor's mean over all
series. WAPE is the sum of absolute errors over the sum of values, pinball the loss of the 0.9 quantile over the mean
value, coverage the share of values below that quantile; a step is to learn from a value and forecast the next one with
its band, after a thousand others, fits included. Intervals without requests are left out. Models that are fitted
(arima, prophet) take long: series are cut to their first ``--points`` values. Without a trace, a made-up week.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console

from planner.settings import Settings
from planner.simulate.backtest import BAND, Verdict, backtest
from planner.simulate.crew import Crew, Report, results, until_over
from planner.simulate.series import UNITS, read_series
from planner.simulate.watch import bars
from predictors import InlineFitter, PredictorOptions, make_predictor

HORIZONS = (1, 2, 3)
# A series shorter than this says nothing of a predictor.
_LEAST_POINTS = 20

Series = tuple[str, float, str]
Verdicts = Mapping[tuple[Series, str], Mapping[int, Verdict]]


def load(paths: list[Path], intervals_s: list[float], points: int) -> dict[Series, list[float | None]]:
    """Every series of every trace; intervals without requests are unknown, as outages of a collection are."""
    found: dict[Series, list[float | None]] = {}
    for path in paths:
        for interval_s in intervals_s:
            if path.suffix == ".csv" and interval_s < _step_s(path):
                continue
            columns = read_series(path, interval_s).values
            for kind in UNITS:
                values = [value or None for value in columns[kind]][:points]
                if sum(value is not None for value in values) >= _LEAST_POINTS:
                    found[path.name.split(".")[0], interval_s, kind] = values
    return found


def made_up(points: int = 1008, seed: int = 1) -> list[float | None]:
    """A week of days with noise that has a memory."""
    generator = np.random.default_rng(seed)
    noise = np.zeros(points)
    for index in range(1, points):
        noise[index] = 0.8 * noise[index - 1] + 0.05 * generator.normal()
    return list(map(float, 100 * (1 - 0.6 * np.cos(2 * np.pi * np.arange(points) / 144)) * np.exp(noise)))


def _step_s(path: Path) -> float:
    with path.open(encoding="utf-8") as stream:
        times = [float(line.split(",")[0]) for line in stream.readlines()[1:3]]
    return times[1] - times[0]


def judge(name: str, interval_s: float, values: list[float | None], report: Report) -> Mapping[int, Verdict]:
    """How a predictor did on a series, by horizon."""
    settings = Settings(environment="virtual", adjustment_interval=interval_s)
    return dict(backtest(name, values, HORIZONS, settings, report).verdicts)


def step_ms(name: str, *, history: int = 1000, steps: int = 100) -> float:
    """Median time to learn from a value and forecast the next one with its band, ms."""
    predictor = make_predictor(name, PredictorOptions(interval_s=60.0), InlineFitter())
    values = list(enumerate(made_up(history + steps)))
    predictor.warm((value, 60.0 * index) for index, value in values[:history])
    times = []
    for index, value in values[history:]:
        begun = time.perf_counter()
        predictor.observe(value, 60.0 * index)
        if forecast := predictor.forecast():
            for p in BAND:
                forecast.quantile(p)
        times.append(1000 * (time.perf_counter() - begun))
    return median(times)


def judge_all(series: Mapping[Series, list[float | None]], names: list[str], processes: int) -> Verdicts:
    """How every predictor did on every series, side by side."""
    tasks = [(one, name) for one in series for name in names]
    with bars(Console(stderr=True)) as progress, Crew(len(tasks), processes=processes) as crew:
        futures = {
            (one, name): crew.submit(piece, judge, name, one[1], series[one]) for piece, (one, name) in enumerate(tasks)
        }
        row = progress.add_task("forecasting", total=sum(len(series[one]) for one, _ in tasks))
        for _ in until_over(futures.values()):
            progress.update(row, completed=sum(map(crew.progress, range(len(tasks)))))
    return results(futures)


def table_of_series(verdicts: Verdicts, names: list[str]) -> None:
    """Print one row a series: the WAPE of ``auto`` over that of the best of the others, at each horizon."""
    others = [name for name in names if name != "auto"]
    print("\n| trace | interval | series | auto / best +1 | +2 | +3 | best |\n|---|---|---|---|---|---|---|")
    for series in dict.fromkeys(series for series, _ in verdicts):
        ratios, bests = [], []
        for step in HORIZONS:
            best = min(others, key=lambda name: verdicts[series, name][step].wape)
            ratio = verdicts[series, "auto"][step].wape / verdicts[series, best][step].wape
            ratios.append(f"{ratio:.3f}" + ("" if ratio <= 1.02 else " *"))
            bests.append(best)
        trace, interval_s, kind = series
        print(f"| {trace} | {interval_s:g} s | {kind} | " + " | ".join(ratios) + f" | {', '.join(bests)} |")


def table_of_predictors(verdicts: Verdicts, names: list[str]) -> None:
    """Print one row a predictor: means over all series and horizons, and what it costs."""
    print("\n| predictor | WAPE | pinball 0.9 | coverage of 0.9 | lowest | highest | a step |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        told = [by_step[step] for (_, of), by_step in verdicts.items() if of == name for step in HORIZONS]
        told = [one for one in told if not math.isnan(one.wape)]
        wape, pinball, below = (
            np.array([getattr(one, field) for one in told]) for field in ("wape", "pinball", "below")
        )
        print(
            f"| {name} | {wape.mean():.4f} | {pinball.mean():.4f} | {below.mean():.3f} "
            f"| {below.min():.2f} | {below.max():.2f} | {step_ms(name):.2g} ms |"
        )


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="*", type=Path)
    parser.add_argument("--predictors", default="auto,constant,kalman", help="names (default: auto,constant,kalman)")
    parser.add_argument("--intervals", default="60,180,600", help="interval lengths, s (default: 60,180,600)")
    parser.add_argument("--points", type=int, default=2000, help="values of a series at most (default: 2000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    names = options.predictors.split(",")
    if "auto" not in names:
        parser.error(f"--predictors {options.predictors!r}: auto must be among them, as it is what others are held to")
    series = load(options.traces, [float(text) for text in options.intervals.split(",")], options.points)
    series = series or {("made up", 600.0, "requests"): made_up()}
    verdicts = judge_all(series, names, options.processes)
    table_of_series(verdicts, names)
    table_of_predictors(verdicts, names)


if __name__ == "__main__":
    main()
