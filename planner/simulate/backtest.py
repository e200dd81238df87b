"""A predictor run along a series that is over, and judged by what it said before each value."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from planner.forecasting import predictor_options
from planner.settings import Settings
from planner.simulate.series import Values
from predictors import Forecast, InlineFitter, make_predictor

BAND = (0.1, 0.9)
"""The quantiles of a forecast that are judged and shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a predictor did at one horizon; NaN where there was nothing to judge.

    Attributes:
        wape: Sum of absolute errors over the sum of values.
        pinball: Pinball loss of the 0.9 quantile over the mean value.
        below: Share of values that were not above the 0.9 quantile.
        above_p10: Share of values that were not below the 0.1 quantile.
    """

    wape: float
    pinball: float
    below: float
    above_p10: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A backtest of one predictor on one series.

    Attributes:
        forecasts: Forecasts by horizon, each at the place of the value it was made for.
        verdicts: How good they were, by horizon.
        cost_s: Time that it took to take in a value and forecast all horizons, fits included, seconds on average.
    """

    forecasts: Mapping[int, Sequence[Forecast | None]]
    verdicts: Mapping[int, Verdict]
    cost_s: float


Courses = Mapping[str, Mapping[str, Course]]
"""Backtests by predictor, and by series."""


def backtest(
    name: str,
    values: Values,
    horizons: Sequence[int],
    settings: Settings,
    report: Callable[[int], None] = lambda _: None,
) -> Course:
    """Run a predictor along a series, and judge what it said before each value.

    Args:
        name: The predictor.
        values: The series; None where unknown.
        horizons: Intervals to look ahead.
        settings: Options of predictors.
        report: Told how many values it has taken in.
    """
    predictor = make_predictor(name, predictor_options(settings), InlineFitter())
    said: dict[int, list[Forecast | None]] = {step: [None] * len(values) for step in horizons}
    begun = time.perf_counter()
    for index, value in enumerate(values):
        for step in horizons:
            if index + step - 1 < len(values):
                said[step][index + step - 1] = predictor.forecast(step)
        predictor.observe(value, index * settings.adjustment_interval)
        report(index + 1)
    return Course(
        forecasts=said,
        verdicts={step: _judge(values, said[step]) for step in horizons},
        cost_s=(time.perf_counter() - begun) / max(1, len(values)),
    )


def _judge(values: Values, forecasts: Sequence[Forecast | None]) -> Verdict:
    pairs = [(value, one) for value, one in zip(values, forecasts, strict=True) if value is not None and one]
    total = math.fsum(value for value, _ in pairs)
    if not total:
        return Verdict(wape=math.nan, pinball=math.nan, below=math.nan, above_p10=math.nan)
    low, high = ([one.quantile(p) for _, one in pairs] for p in BAND)
    tail = BAND[1]
    losses = [max(tail * (v - q), (1 - tail) * (q - v)) for (v, _), q in zip(pairs, high, strict=True)]
    return Verdict(
        wape=math.fsum(abs(value - one.mean) for value, one in pairs) / total,
        pinball=math.fsum(losses) / total,
        below=sum(value <= edge for (value, _), edge in zip(pairs, high, strict=True)) / len(pairs),
        above_p10=sum(value >= edge for (value, _), edge in zip(pairs, low, strict=True)) / len(pairs),
    )
