"""What lies beyond the upper edge of a band: by how much it is exceeded, and how far values go at all."""

from __future__ import annotations

from collections import deque

import numpy as np

from predictors.sample import REMEMBERED, TAIL, WEIGHTS

# By how much values that exceed the edge do before one did, in proportion: as a normal distribution with a standard
# deviation of 15 percent; and how many values that counts for.
_PRIOR_EXCESS, _PRIOR_COUNT = 0.15 * 0.473, 1.0


class Excess:
    """By how much values exceed the upper edge on average when they do; jumps make it large.

    What happened once is no pattern: the jump with the largest excess is left out.

    Attributes:
        mean: The mean excess, in the unit of those taken in.
    """

    def __init__(self, reach: int) -> None:
        """Begin without an excess.

        Args:
            reach: Values in a row that exceed what was said of them before a single jump.
        """
        self._reach = reach
        self._excesses: deque[float] = deque(maxlen=REMEMBERED)
        self.mean = _PRIOR_EXCESS

    def learn(self, excess: float) -> None:
        """Take in by how much the next value exceeds the edge; 0 or less if it does not."""
        self._excesses.append(max(0.0, excess))
        excesses = np.array(self._excesses)
        weights = WEIGHTS[-len(excesses) :] * (excesses > 0)
        weights[self._largest_jump(excesses)] = 0.0
        total = float(weights @ excesses) + _PRIOR_COUNT * _PRIOR_EXCESS
        self.mean = total / (float(weights.sum()) + _PRIOR_COUNT)

    def _largest_jump(self, excesses: np.ndarray) -> slice:
        first = last = int(excesses.argmax())
        while first > 0 and excesses[first - 1] > 0 and last - first + 1 < self._reach:
            first -= 1
        while last + 1 < len(excesses) and excesses[last + 1] > 0 and last - first + 1 < self._reach:
            last += 1
        return slice(first, last + 1)


class Highest:
    """The largest of the last values, and how it has grown.

    Attributes:
        value: The largest value; 0 before there was one.
    """

    def __init__(self) -> None:
        """Begin without a value."""
        self._values: deque[float] = deque(maxlen=REMEMBERED)
        self._growths = np.zeros(0)
        self.value = 0.0

    def add(self, value: float) -> None:
        """Take in the next value."""
        self._values.append(value)
        highest = np.maximum.accumulate(np.array(self._values))
        self.value, self._growths = float(highest[-1]), np.diff(highest)

    def growth(self, steps: int) -> float:
        """By how much it has grown in so many steps, but for one in which it jumped."""
        growths = self._growths[-steps - 1 :]
        return float(growths.sum() - growths.max()) if len(growths) else 0.0

    @property
    def chance(self) -> float:
        """Chance that the next value is the largest of all, as far as those before tell; over that of the tail."""
        return min(1.0, 1 / (TAIL * (1 + len(self._values))))
