"""The last numbers of a series, of which older ones count less."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate
from statistics import median

# Numbers that are remembered, and what each counts by its age.
REMEMBERED = 60
FADED = tuple(0.97**age for age in range(REMEMBERED))
# What so many numbers count together.
_TOTALS = tuple(accumulate(FADED, initial=0.0))
# Share of the numbers below the lower quantile, and beyond the upper one.
TAIL = 0.1
# A normal distribution's standard deviation over the median of its absolute values.
_DEVIATION = 1.4826


class Sample:
    """Weighted quantiles of the last numbers.

    The numbers are kept in order, older ones first among equal ones, as a quantile is found from the near end.

    Attributes:
        low: The 0.1 quantile; 0 before there were numbers.
        high: The 0.9 quantile; 0 before there were numbers.
    """

    def __init__(self, start: Iterable[float] = ()) -> None:
        """Begin.

        Args:
            start: Numbers to begin with.
        """
        # Each in its slot, which the number after so many takes over.
        self._numbers: list[float] = []
        self._newest = -1
        self._ordered: list[float] = []
        self._slots: list[int] = []
        self.low = self.high = 0.0
        for number in start:
            self.add(number)

    @property
    def usual(self) -> float:
        """Standard deviation of the numbers around 0 as their median tells it, which outliers do not move."""
        return _DEVIATION * median(map(abs, self._ordered)) if self._ordered else 0.0

    def add(self, number: float) -> None:
        """Take in the next number."""
        numbers, ordered, slots = self._numbers, self._ordered, self._slots
        slot = self._newest = (self._newest + 1) % REMEMBERED
        if len(numbers) < REMEMBERED:
            numbers.append(number)
        else:
            place = bisect_left(ordered, numbers[slot])
            del ordered[place], slots[place]
            numbers[slot] = number
        place = bisect_right(ordered, number)
        ordered.insert(place, number)
        slots.insert(place, slot)
        self.low = self._quantile(ordered, slots)
        self.high = self._quantile(reversed(ordered), reversed(slots))

    def _quantile(self, numbers: Iterable[float], slots: Iterable[int]) -> float:
        """The quantile at the end at which the numbers begin, linear between them.

        The next number, which is not known yet, counts as the newest, so that it is beyond the quantile as often as it
        should be. (R. F. Barber, E. J. Candes, A. Ramdas and R. J. Tibshirani, "Conformal Prediction Beyond
        Exchangeability", Annals of Statistics 51(2), 2023.)
        """
        rank, newest = TAIL * (_TOTALS[len(self._ordered)] + 1), self._newest
        reached, before, number_before = 1.0, -1.0, 0.0
        for number, slot in zip(numbers, slots, strict=True):
            if reached >= rank:
                break
            before, number_before = reached, number
            # By its age; a negative one, of a slot that will be taken over, counts from the oldest.
            reached += FADED[newest - slot]
        if before < 0:
            return number
        return number_before + (number - number_before) / (reached - before) * (rank - before)
