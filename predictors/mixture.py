"""A mixture of light models, each weighted by how well it did lately."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from predictors.kalman import KalmanModel
from predictors.series import Model
from predictors.uncertainty import HORIZONS

# Memory of the losses that weigh the models: some fifty intervals, long enough to outlast noise.
_WEIGHT = 0.02
# How strongly a better model is preferred: a tenth more loss, a seventh of the weight.
_SHARPNESS = 20.0
# No model is believed that expects more than so many times the largest of so many recent values.
_MOST_GROWTH, _RECENT = 2.0, 30
_MOST_HISTORY = 4096
_LEAST_PERIOD = 6
# A period counts if values a period apart are so alike, and is looked for again when history has grown by a quarter.
_ALIKE = 0.3
_NEARLY = 0.85
_GROWTH = 1.25


class _Level(Model):
    """Exponential smoothing: the level moves towards every value by a share ``alpha``; 1 is the last value."""

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha
        self._level: float | None = None

    def take(self, value: float | None, time: float | None) -> None:
        del time
        if value is not None:
            self._level = value if self._level is None else self._level + self._alpha * (value - self._level)

    def expect(self, horizon_steps: int) -> float | None:
        del horizon_steps
        return self._level


class _Trend(Model):
    """Level and trend on the logarithm, the trend fading.

    Source: E. S. Gardner and E. McKenzie, "Forecasting Trends in Time Series", Management Science 31(10), 1985.
    """

    def __init__(self, alpha: float, beta: float, fading: float) -> None:
        self._alpha, self._beta, self._fading = alpha, beta, fading
        self._level: float | None = None
        self._trend = 0.0

    def take(self, value: float | None, time: float | None) -> None:
        del time
        expected = self._ahead(1)
        if value is None:
            self._level, self._trend = expected, self._fading * self._trend
            return
        seen = math.log1p(value)
        if expected is None or self._level is None:
            self._level = seen
            return
        error = seen - expected
        self._level = expected + self._alpha * error
        self._trend = self._fading * self._trend + self._alpha * self._beta * error

    def _ahead(self, steps: int) -> float | None:
        if self._level is None:
            return None
        return self._level + self._trend * sum(self._fading**step for step in range(1, steps + 1))

    def expect(self, horizon_steps: int) -> float | None:
        ahead = self._ahead(horizon_steps)
        return None if ahead is None else math.expm1(min(ahead, 700.0))


class _Season(Model):
    """What was a period ago, moved to today's level; it speaks once two periods were seen and are alike.

    The period is the lag at which the series' autocorrelation peaks, by fast Fourier transform.
    """

    def __init__(self) -> None:
        self._history: deque[float] = deque(maxlen=_MOST_HISTORY)
        self._period: int | None = None
        self._look_at = 2 * _LEAST_PERIOD

    def take(self, value: float | None, time: float | None) -> None:
        del time
        if value is None:
            value = self.expect(1) or (math.exp(self._history[-1]) if self._history else 0.0)
        self._history.append(math.log(max(value, 1e-9)))
        if len(self._history) >= self._look_at:
            self._look_at = min(math.ceil(self._look_at * _GROWTH), self._look_at + 200)
            self._period = find_period(np.array(self._history))

    def expect(self, horizon_steps: int) -> float | None:
        history, period = self._history, self._period
        if period is None or len(history) < 2 * period:
            return None
        ahead = (horizon_steps - 1) % period + 1
        then = history[len(history) - period + ahead - 1]
        # The level of the last few values against theirs a period ago.
        recent = min(3, period)
        drift = sum(history[-1 - back] - history[-1 - back - period] for back in range(recent)) / recent
        return math.exp(min(then + drift, 700.0))


def find_period(series: np.ndarray) -> int | None:
    """The period of a series, in steps; None if it has none that was seen twice."""
    length = len(series)
    centred = series - series.mean()
    size = 1 << (2 * length - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    correlation = np.fft.irfft(spectrum * spectrum.conj(), size)[: length // 2 + 1]
    if correlation[0] <= 0:
        return None
    # Fewer pairs are that far apart: without this, long periods would look weak.
    correlation = correlation / correlation[0] * length / (length - np.arange(length // 2 + 1))
    below = np.flatnonzero(correlation < 0)
    start = max(_LEAST_PERIOD, int(below[0]) if len(below) else length)
    if start >= len(correlation) - 1:
        return None
    highest = float(correlation[start:].max())
    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:]) & (inner >= _NEARLY * highest))
    # Multiples of the period are as alike as the period itself: the first of the highest peaks is the one.
    peaks = peaks[peaks > start]
    return int(peaks[0]) if len(peaks) and highest >= _ALIKE else None


class MixtureModel(Model):
    """Expects the mean of its models' forecasts, each weighted by its recent absolute errors at that horizon.

    A mean of forecasts is rarely worse than the best of them and never as bad as the worst. (J. M. Bates and
    C. W. J. Granger, "The Combination of Forecasts", Operational Research Quarterly 20(4), 1969.)
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._models: tuple[Model, ...] = (
            _Level(1.0),
            _Level(0.6),
            _Level(0.3),
            _Level(0.1),
            _Trend(0.9, 0.2, 0.8),
            _Trend(0.5, 0.2, 0.9),
            _Trend(0.3, 0.1, 0.95),
            _Trend(0.6, 0.3, 1.0),
            KalmanModel(q_level=1.0, q_trend=0.1, r=10.0, min_points=5),
            _Season(),
        )
        self._losses = np.full((HORIZONS, len(self._models)), np.nan)
        self._past: deque[np.ndarray] = deque(maxlen=HORIZONS)
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def take(self, value: float | None, time: float | None) -> None:
        """Let every model see the value, and judge what each had said of it."""
        self._past.append(np.array([self._expectations(step) for step in range(1, HORIZONS + 1)]))
        if value is not None:
            self._recent.append(value)
            for step in range(len(self._past)):
                self._judge(step, np.abs(self._past[-1 - step][step] - value))
        for model in self._models:
            model.take(value, time)

    def _expectations(self, horizon_steps: int) -> list[float]:
        most = _MOST_GROWTH * max(self._recent, default=0.0)
        said = (model.expect(horizon_steps) for model in self._models)
        return [math.nan if one is None else min(max(one, 0.0), most) for one in said]

    def _judge(self, step: int, errors: np.ndarray) -> None:
        losses = self._losses[step]
        fresh = np.isnan(losses) & ~np.isnan(errors)
        # A model that joins late starts with the loss of a middling one: it has to earn its weight.
        if fresh.any():
            known = losses[~np.isnan(losses)]
            losses[fresh] = np.median(known) if len(known) else errors[fresh]
        told = ~np.isnan(errors)
        losses[told] += _WEIGHT * (errors[told] - losses[told])

    def expect(self, horizon_steps: int) -> float | None:
        """The weighted mean of what the models expect."""
        said = np.array(self._expectations(horizon_steps))
        told = np.isfinite(said)
        if not told.any():
            return None
        losses = self._losses[min(horizon_steps, HORIZONS) - 1]
        if np.isnan(losses).all():
            return float(said[told][0])
        told &= ~np.isnan(losses)
        if not told.any():
            return float(said[np.isfinite(said)][0])
        best = max(float(losses[told].min()), 1e-12)
        weights = (best / np.maximum(losses[told], 1e-12)) ** _SHARPNESS
        return float((weights @ said[told]) / weights.sum())
