"""Prophet: trend and seasons by the calendar."""

from __future__ import annotations

import logging
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from predictors.fitted import FittedModel
from predictors.fitting import Fitter

_LEAST_POINTS = 2
# Intervals that a fit forecasts ahead, so that it can answer for the instants to come while the next one is made.
_AHEAD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ProphetForecasts:
    """What a fit expects of the intervals after the last one it saw.

    Attributes:
        start: Time of the first of them, seconds.
        step_s: Time from one to the next, seconds.
        means: The values expected.
    """

    start: float
    step_s: float
    means: tuple[float, ...]

    def at(self, time: float) -> float:
        """The value expected at an instant: linear between two of them, the nearest one outside."""
        position = min(max((time - self.start) / self.step_s, 0.0), len(self.means) - 1.0)
        index = min(int(position), len(self.means) - 2)
        share = position - index
        return (1 - share) * self.means[index] + share * self.means[index + 1]


class ProphetModel(FittedModel):
    """Prophet over the last values, refitted at every one of them, in the fitter."""

    def __init__(self, fitter: Fitter, *, window_size: int, interval_s: float) -> None:
        """Start without a fit; the last value answers until the first one is done.

        Args:
            fitter: Where to fit.
            window_size: Values to fit.
            interval_s: Time from one value to the next, seconds.
        """
        super().__init__(fitter)
        self._interval_s = interval_s
        self._window: deque[tuple[float, float]] = deque(maxlen=window_size)
        self._time = 0.0
        self._forecasts: ProphetForecasts | None = None

    def take(self, value: float | None, time: float | None) -> None:
        """Add the value at its time and fit; values without a time follow each other at the interval."""
        self._adopt()
        self._time = self._time + self._interval_s if time is None else time
        if value is None:
            return
        self._window.append((self._time, value))
        if len(self._window) >= _LEAST_POINTS:
            self._fit.begin(fit_prophet, tuple(self._window), self._interval_s)

    def _adopt(self) -> None:
        self._forecasts = self._fit.collect() or self._forecasts

    def expect(self, horizon_steps: int) -> float | None:
        """What the last fit expects at the instant so many intervals after the last value."""
        self._adopt()
        if self._forecasts is None:
            return None
        return self._forecasts.at(self._time + horizon_steps * self._interval_s)


def fit_prophet(window: Sequence[tuple[float, float]], interval_s: float) -> ProphetForecasts:
    """Fit Prophet and forecast the intervals ahead.

    Args:
        window: Times, seconds since the epoch, and values, oldest first.
        interval_s: Time from one value to the next, seconds.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # It complains that it cannot plot, and its engine, once loaded, tells of every fit; what fails is raised.
        for name in ("prophet", "prophet.plot", "cmdstanpy"):
            logging.getLogger(name).disabled = True
        import pandas as pd  # noqa: PLC0415 - imported where the fit runs
        from prophet import Prophet  # noqa: PLC0415

        times, values = zip(*window, strict=True)
        model = Prophet(uncertainty_samples=0)
        model.fit(pd.DataFrame({"ds": pd.to_datetime(times, unit="s"), "y": values}))
        start = times[-1] + interval_s
        ahead = pd.to_datetime([start + step * interval_s for step in range(_AHEAD)], unit="s")
        expected = model.predict(pd.DataFrame({"ds": ahead}))["yhat"]
    return ProphetForecasts(start=start, step_s=interval_s, means=tuple(map(float, expected)))
