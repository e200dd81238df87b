"""The last numbers of a series, of which older ones count less."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

# Numbers that are remembered, and what each older one still counts.
REMEMBERED = 60
FADING = 0.97
WEIGHTS = FADING ** np.arange(REMEMBERED - 1, -1, -1)
# Share of the numbers below the lower quantile, and beyond the upper one.
TAIL = 0.1
# A normal distribution's standard deviation over the median of its absolute values.
_DEVIATION = 1.4826


def medians(rows: np.ndarray) -> np.ndarray:
    """Median of each row, (rows, values), NaN left out; each has a number. For short rows numpy's is slow."""
    ordered = np.sort(rows, axis=1)
    known = np.count_nonzero(~np.isnan(ordered), axis=1)
    row = np.arange(len(rows))
    middles: np.ndarray = (ordered[row, (known - 1) // 2] + ordered[row, known // 2]) / 2
    return middles


class Sample:
    """Weighted quantiles of the last numbers.

    Attributes:
        low: The 0.1 quantile; 0 before there were numbers.
        high: The 0.9 quantile; 0 before there were numbers.
        usual: Standard deviation of the numbers around 0 as their median tells it, which outliers do not move.
    """

    def __init__(self, start: Iterable[float] = ()) -> None:
        """Begin.

        Args:
            start: Numbers to begin with.
        """
        self._numbers: deque[float] = deque(start, maxlen=REMEMBERED)
        self.low = self.high = self.usual = 0.0
        if self._numbers:
            self._measure()

    def add(self, number: float) -> None:
        """Take in the next number."""
        self._numbers.append(number)
        self._measure()

    def _measure(self) -> None:
        """Quantiles linear between the middles of the weights of the numbers in order."""
        numbers = np.array(self._numbers)
        self.usual = _DEVIATION * float(medians(np.abs(numbers)[None])[0])
        # Which of equal numbers comes first would otherwise depend on the processor.
        order = numbers.argsort(kind="stable")
        weights = WEIGHTS[-len(numbers) :][order]
        reached = weights.cumsum()
        ranks = (TAIL * reached[-1], (1 - TAIL) * reached[-1])
        self.low, self.high = np.interp(ranks, reached - weights / 2, numbers[order]).tolist()
