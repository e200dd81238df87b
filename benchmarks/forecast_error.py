"""How far one-step forecasts of real traffic are off, and whether their uncertainty is honest.

    python benchmarks/forecast_error.py ../shared/traces/servegen-m-large-14d-600s.csv

The traces are CSV files of ``timestamp_s,request_rate,isl,osl``; without any, a made-up week is used. WAPE is the sum
of absolute errors over the sum of values. The band from the 0.1 to the 0.9 quantile should hold 80 % of the values,
and 90 % should lie below the 0.9 quantile. Windows without requests (outages of the collection) are left out.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from predictors import InlineFitter, PredictorOptions, make_predictor

STEP_S = 600.0

# WAPE of the request rate with the predictors of NVIDIA Dynamo 0.9.1, recorded on the first half of the file.
RECORDED = {("servegen-m-large-14d-600s", "constant"): 0.0845, ("servegen-m-large-14d-600s", "kalman"): 0.0975}
RECORDED |= {("servegen-m-large-14d-600s", "arima"): 0.233}


@dataclass(frozen=True)
class Score:
    """How a predictor did on a series."""

    wape: float
    within_band: float
    below_p90: float
    ms_per_step: float


def read(path: Path, share: float) -> dict[str, list[float | None]]:
    """The first share of a trace: request rate, ISL and OSL; None where nothing was collected."""
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    rows = rows[: round(len(rows) * share)]
    idle = [float(row["request_rate"]) == 0 for row in rows]
    return {
        name: [None if gone else float(row[name]) for row, gone in zip(rows, idle, strict=True)]
        for name in ("request_rate", "isl", "osl")
    }


def made_up(points: int = 1008, seed: int = 1) -> dict[str, list[float | None]]:
    """A week of days with noise that has a memory."""
    generator = np.random.default_rng(seed)
    noise = np.zeros(points)
    for index in range(1, points):
        noise[index] = 0.8 * noise[index - 1] + 0.05 * generator.normal()
    rate = 100 * (1 - 0.6 * np.cos(2 * np.pi * np.arange(points) / 144)) * np.exp(noise)
    return {"request_rate": list(map(float, rate))}


def score(name: str, values: list[float | None], window: int) -> Score:
    """Run a predictor along a series."""
    predictor = make_predictor(name, PredictorOptions(interval_s=STEP_S, prophet_window_size=window), InlineFitter())
    actual, means, lows, highs = [], [], [], []
    began = time.process_time()
    for index, value in enumerate(values):
        forecast = predictor.forecast()
        if forecast is not None and value is not None:
            actual.append(value)
            means.append(forecast.mean)
            lows.append(forecast.quantile(0.1))
            highs.append(forecast.quantile(0.9))
        predictor.observe(value, index * STEP_S)
    took_ms = (time.process_time() - began) / len(values) * 1000
    truth, low, high = np.array(actual), np.array(lows), np.array(highs)
    return Score(
        wape=float(np.abs(truth - np.array(means)).sum() / truth.sum()),
        within_band=float(((low <= truth) & (truth <= high)).mean()),
        below_p90=float((truth <= high).mean()),
        ms_per_step=took_ms,
    )


def main() -> None:
    """Score every predictor on every series and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="*", type=Path)
    parser.add_argument("--predictors", default="constant,kalman,arima", help="names, separated by commas")
    parser.add_argument("--share", type=float, default=0.5, help="first share of each trace (default: 0.5)")
    parser.add_argument("--prophet-window-size", type=int, default=50, help="values Prophet is fitted to (default: 50)")
    options = parser.parse_args()
    traces = {path.stem: read(path, options.share) for path in options.traces} or {"made up": made_up()}
    table = Table("trace", "series", "predictor", "WAPE", "in 80 % band", "below p90", "ms/step", "0.9.1 recorded")
    runs = [
        (trace, series, name)
        for trace, columns in traces.items()
        for series in columns
        for name in options.predictors.split(",")
    ]
    for trace, series, name in track(runs, description="forecasting", transient=True):
        result = score(name, traces[trace][series], options.prophet_window_size)
        recorded = RECORDED.get((trace, name), math.nan) if series == "request_rate" else math.nan
        table.add_row(
            *(trace, series, name, f"{result.wape:.4f}", f"{result.within_band:.0%}", f"{result.below_p90:.0%}"),
            *(f"{result.ms_per_step:.2f}", "" if math.isnan(recorded) else f"{recorded:g}"),
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
