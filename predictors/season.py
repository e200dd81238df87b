"""The season of a series: its period, and what was a period ago."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from predictors.series import Model

_MOST_HISTORY = 4096
_LEAST_PERIOD = 6
# A period counts if values a period apart are so alike, and is looked for again when history has grown by a quarter.
_ALIKE = 0.3
_NEARLY = 0.85
_GROWTH = 1.25


class Season(Model):
    """What was a period ago, moved to today's level; it speaks once two periods were seen and are alike.

    The period is the lag at which the series' autocorrelation peaks, by fast Fourier transform.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._history: deque[float] = deque(maxlen=_MOST_HISTORY)
        self._period: int | None = None
        # The level of the last few values against theirs a period ago, as a logarithm; None without a season.
        self._drift: float | None = None
        self._look_at = 2 * _LEAST_PERIOD

    def take(self, value: float | None, time: float | None) -> None:
        """Remember the value, or what was expected of one that is unknown."""
        del time
        if value is None:
            value = self.expect(1) or (math.exp(self._history[-1]) if self._history else 0.0)
        self._history.append(math.log(max(value, 1e-9)))
        if len(self._history) >= self._look_at:
            self._look_at = min(math.ceil(self._look_at * _GROWTH), self._look_at + 200)
            self._period = find_period(np.array(self._history))
        self._drift = self._measure_drift()

    def _measure_drift(self) -> float | None:
        history, period = self._history, self._period
        if period is None or len(history) < 2 * period:
            return None
        recent = min(3, period)
        return sum(history[-1 - back] - history[-1 - back - period] for back in range(recent)) / recent

    def expect(self, horizon_steps: int) -> float | None:
        """What was a period before, moved to the level of the last values."""
        if self._period is None or self._drift is None:
            return None
        then = self._history[(horizon_steps - 1) % self._period - self._period]
        return math.exp(min(then + self._drift, 700.0))


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
