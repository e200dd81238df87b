"""What lies beyond the upper edge of a band: by how much it is exceeded, and how far values go at all."""

from __future__ import annotations

from itertools import accumulate, pairwise

from predictors.sample import FADED, REMEMBERED, TAIL

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
        self._now = 0
        # By when they were, oldest first: few values have one.
        self._excesses: dict[int, float] = {}
        # Of all but those of the largest jump.
        self._total = self._count = 0.0
        self.mean = _PRIOR_EXCESS

    def learn(self, excess: float) -> None:
        """Take in by how much the next value exceeds the edge; 0 or less if it does not."""
        self._now += 1
        self._total *= FADED[1]
        self._count *= FADED[1]
        forgotten = self._excesses.pop(self._now - REMEMBERED, None)
        if excess > 0:
            self._excesses[self._now] = excess
        if excess > 0 or forgotten is not None:
            self._sum_up()
        self.mean = (self._total + _PRIOR_COUNT * _PRIOR_EXCESS) / (self._count + _PRIOR_COUNT)

    def _sum_up(self) -> None:
        jump = self._largest_jump()
        counted = [(FADED[self._now - then], size) for then, size in self._excesses.items() if then not in jump]
        self._total = sum(weight * size for weight, size in counted)
        self._count = sum(weight for weight, _ in counted)

    def _largest_jump(self) -> range:
        excesses = self._excesses
        if not excesses:
            return range(0)
        first = last = max(excesses, key=excesses.__getitem__)
        while first - 1 in excesses and last - first + 1 < self._reach:
            first -= 1
        while last + 1 in excesses and last - first + 1 < self._reach:
            last += 1
        return range(first, last + 1)


class Highest:
    """The largest of the last values, and how it has grown.

    Attributes:
        value: The largest value; 0 before there was one.
        chance: Chance that the next value is the largest of all, as far as those before tell; over that of the tail.
    """

    def __init__(self, reach: int) -> None:
        """Begin without a value.

        Args:
            reach: Steps back that its growth may be asked for.
        """
        self._reach = reach
        self._values: list[float] = []
        self._growths: list[float] = []
        self.value = 0.0
        self.chance = 1.0

    def add(self, value: float) -> None:
        """Take in the next value."""
        self._values.append(value)
        del self._values[:-REMEMBERED]
        recent = self._values[-self._reach - 1 :]
        before = max(self._values[: -self._reach - 1], default=recent[0])
        self.value = max(before, *recent)
        grown = accumulate(recent, max, initial=before) if self.value > before else ()
        self._growths = [after - earlier for earlier, after in pairwise(grown)]
        self.chance = min(1.0, 1 / (TAIL * (1 + len(self._values))))

    def growth(self, steps: int) -> float:
        """By how much it has grown in so many steps, but for one in which it jumped."""
        growths = self._growths[-steps - 1 :]
        return sum(growths) - max(growths) if growths else 0.0
