"""How far forecasts have been off lately, at every horizon, and what that says of the next ones."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from operator import mul
from statistics import NormalDist

from predictors.base import Forecast
from predictors.sample import TAIL, Sample
from predictors.tail import Excess, Highest

# Horizons whose errors are followed; farther ones are judged by the last of them.
HORIZONS = 4
_SHARE = 1 - TAIL
_Z = NormalDist().inv_cdf(_SHARE)
# What is usual: how far 99 of 100 values go when nothing unusual happens, in standard deviations.
_USUAL = NormalDist().inv_cdf(0.99)
_LEVEL_WEIGHT = 0.02
_TINY = 1e-12
# Errors to expect before there was any, relative to the forecast: normal, with a standard deviation of 15 percent.
_PRIOR = tuple(0.15 * NormalDist().inv_cdf(p / 10) for p in range(1, 10))
# What weighs the ways to tell an edge: the memory of their losses, and how strongly a better one is preferred.
_MEMORY = 0.98
_SHARPNESS = 15.0
_CHANCE = 5.0
# How far a band that misses a value widens, as a logarithm: at first, by the root of the errors seen, and at the least.
_FIRST_PACE, _PACE, _LEAST_PACE = 0.1, 0.5, 0.03
# How far it may widen and narrow in all.
_WIDEST, _NARROWEST = math.log(3.0), -math.log(2.0)
# A band is never narrower, relative to the forecast: no series is as certain as a few lucky intervals look.
_LEAST = 0.005


class _Edge:
    """One edge of a band: a mean of the ways to tell it, weighed by their pinball losses, then held to its share.

    The band is widened by every value beyond the edge and narrowed by every other, so that in the long run one in ten
    lies beyond, whatever the errors' distribution. (I. Gibbs and E. Candes, "Adaptive Conformal Inference Under
    Distribution Shift", NeurIPS 2021; A. N. Angelopoulos, R. F. Barber and S. Bates, "Online conformal prediction with
    decaying step sizes", ICML 2024.)

    Attributes:
        factor: What holds the edge to its share: its distance from the mean is so many times what the ways tell.
    """

    def __init__(self, *, upper: bool) -> None:
        self._sign = 1.0 if upper else -1.0
        # Until losses tell better, the first way counts alone.
        self._losses, self._weights, self._weight = [0.0] * 3, [1.0, 0.0, 0.0], 1.0
        self._widening, self.factor = 0.0, 1.0

    def distance(self, mean: float, ways: list[float]) -> float:
        """How far the edge is from the mean, before it is held to its share."""
        edge: float = sum(map(mul, self._weights, ways)) / self._weight
        return self._sign * (edge - mean)

    def learn(self, ways: list[float], edge: float, actual: float, sharpness: float, pace: float) -> None:
        """Take in a value.

        Args:
            ways: Where each way had put the edge.
            edge: Where it was put.
            actual: The value.
            sharpness: How strongly a better way is preferred.
            pace: How far a miss widens the band, as a logarithm.
        """
        self._weigh([self._sign * (actual - way) for way in ways], sharpness)
        outside = self._sign * (actual - edge) > 0
        widening = self._widening + pace * ((1 if outside else 0) - TAIL)
        self._widening = min(_WIDEST, max(_NARROWEST, widening))
        self.factor = math.exp(self._widening)

    def _weigh(self, beyond: list[float], sharpness: float) -> None:
        """Weigh the ways anew, once it is known how far beyond each the value was."""
        self._losses = losses = [
            _MEMORY * loss + (_SHARE * one if one > 0 else -TAIL * one)
            for loss, one in zip(self._losses, beyond, strict=True)
        ]
        least = max(min(losses), _TINY)
        self._weights = [(least / loss) ** sharpness if loss > least else 1.0 for loss in losses]
        self._weight = sum(self._weights)


@dataclass(slots=True)
class _Said:
    """What was said of one value: a forecast, and where each way to tell its edges put them."""

    mean: float
    std: float
    std_below: float
    tail: float
    most: float | None
    low: list[float]
    high: list[float]

    @property
    def edges(self) -> tuple[float, float]:
        return max(0.0, self.mean - _Z * self.std_below), max(0.0, self.mean + _Z * self.std)

    def forecast(self, wider: float) -> Forecast:
        return Forecast(self.mean, wider * self.std, wider * self.std_below, wider * self.tail, self.most)


class _Horizon:
    """Errors at one horizon, and the band that holds four of five values.

    Its edges are told in three ways: by errors in proportion to the forecast, which suit loads that grow; by errors as
    they are, which suit noise around a level; and by the values themselves, which suit bursts that no mean foretells.
    """

    def __init__(self, step: int, values: Sample, highest: Highest) -> None:
        self._step = step
        self._values, self._highest = values, highest
        self._scaled = Sample(_PRIOR)
        self._errors = Sample()
        self._seen, self._count = 0, 0.0
        self._level = 0.0
        self._low, self._high = _Edge(upper=False), _Edge(upper=True)
        self._excess = Excess(step)

    def learn(self, said: _Said, actual: float) -> None:
        self._level += _LEVEL_WEIGHT * (actual - self._level) if self._level else actual
        if not self._seen:
            scale = self._scale(said.mean)
            self._errors = Sample(relative * scale for relative in _PRIOR)
        self._seen += 1
        self._count = _MEMORY * self._count + 1
        scale = self._scale(max(said.mean, 0.1 * actual, _TINY))
        self._scaled.add((actual - said.mean) / scale)
        self._errors.add(actual - said.mean)
        low, high = said.edges
        sharpness = _SHARPNESS * self._count / (self._count + _CHANCE)
        pace = max(_LEAST_PACE, min(_FIRST_PACE, _PACE / math.sqrt(self._seen)))
        self._high.learn(said.high, high, actual, sharpness, pace)
        self._low.learn(said.low, low, actual, sharpness, pace)
        self._excess.learn((actual - high) / scale)

    @property
    def usual(self) -> float:
        """How far off forecasts are at the most when nothing unusual happens, in proportion."""
        return _USUAL * self._scaled.usual

    def _scale(self, mean: float) -> float:
        """What errors around a mean are in proportion to: neither the mean nor what is usual, but between them."""
        return max(_TINY, math.sqrt(mean * self._level) if self._level else mean)

    def around(self, mean: float, usual: float) -> _Said:
        """What is said of a value.

        Args:
            mean: What is expected.
            usual: How far off forecasts of the next value are at the most when nothing unusual happens, in proportion.
        """
        scale = self._scale(mean)
        low = [mean + scale * self._scaled.low]
        high = [mean + scale * self._scaled.high]
        if self._seen:
            low += [mean + self._errors.low, self._values.low]
            high += [mean + self._errors.high, self._values.high]
        else:
            # Before there are errors all ways are alike.
            low, high = low * 3, high * 3
        least = _LEAST * scale
        above = max(least, self._high.distance(mean, high)) * self._high.factor
        below = max(least, self._low.distance(mean, low)) * self._low.factor
        tail = self._excess.mean * scale
        top = self._top(mean, usual)
        # A load that was watched for a short while has not shown yet how far it goes: the next of less than ten values
        # is the largest of them more often than one in ten.
        chance = self._highest.chance
        edge = min(mean + above, top + max(0.0, 2 * chance - 1) * max(0.0, mean + above - top))
        most = top + chance / (1 - chance) * max(0.0, edge + tail - top) if chance < 1 else None
        return _Said(mean, max(least, edge - mean) / _Z, below / _Z, tail, most, low, high)

    def _top(self, mean: float, usual: float) -> float:
        """How far values go as a rule: as far as lately, or as the mean goes and what is usual on top of that."""
        # Errors of a random walk grow with the root of the horizon.
        beyond = usual * math.sqrt(self._step) * self._scale(mean)
        return max(mean + beyond, self._highest.value) + self._highest.growth(self._step)

    def bound(self, said: _Said, nearest: _Said, nearer: _Said) -> None:
        """Hold a band between that of the step before and what a misjudged trend makes of that of the first step.

        It may be wider where it is seen to miss more. A single jump is an error of every forecast made in the steps
        before it; counted once, as one step ahead, it is an outlier.
        """
        above, below = self._step * self._high.factor, self._step * self._low.factor
        said.std = max(nearer.std, min(above * nearest.std, said.std))
        said.std_below = max(nearer.std_below, min(below * nearest.std_below, said.std_below))


class Uncertainty:
    """Makes distributions of means, from what became of the forecasts before.

    A model's own idea of its variance stands on noises that a user set in the dark; its errors stand on the series.
    """

    def __init__(self) -> None:
        self._values, self._highest = Sample(), Highest(HORIZONS)
        self._horizons = [_Horizon(step, self._values, self._highest) for step in range(1, HORIZONS + 1)]
        # Newest last: what was forecast for 1, 2, ... steps ahead; None where it was after a value that is unknown.
        self._past: deque[list[_Said] | None] = deque(maxlen=HORIZONS)
        # What was said 1, 2, ... steps ahead since the last known value: it is asked for more than once.
        self._said: list[_Said] = []
        self._usual = self._horizons[0].usual
        # Intervals since a value was known: forecasts reach back to it.
        self._blind = 0

    def begin(self, value: float | None) -> None:
        """Take in the first value, of which nothing was forecast."""
        if value is not None:
            self._take(value)

    def _take(self, value: float) -> None:
        self._values.add(value)
        self._highest.add(value)
        self._usual = self._horizons[0].usual
        self._said = []

    def around(self, mean: Callable[[int], float], horizon_steps: int) -> Forecast:
        """The distribution around a mean so many intervals ahead.

        Args:
            mean: The mean so many intervals ahead; those of nearer ones are asked for, too.
            horizon_steps: How many intervals ahead, counted from the last one that passed.
        """
        # Since then it may be longer that a value was known.
        reach = horizon_steps + self._blind
        known = min(reach, HORIZONS)
        means = [mean(min(horizon_steps, max(1, step - self._blind))) for step in range(1, known)]
        told = self._told([*means, mean(horizon_steps)])[-1]
        # Errors of a random walk grow with the root of the horizon.
        return told.forecast(wider=math.sqrt(reach / known))

    def _told(self, means: list[float]) -> list[_Said]:
        """What is said of the next values; the farther, the less certain, whatever chance the errors have had."""
        told = self._said
        for step, (mean, horizon) in enumerate(zip(means, self._horizons, strict=False)):
            if step < len(told) and told[step].mean == mean:
                continue
            said = horizon.around(mean, self._usual)
            if step:
                horizon.bound(said, told[0], told[step - 1])
            told[step:] = [said]
        return told[: len(means)]

    def learn(self, means: list[float], actual: float | None) -> None:
        """Take in the next value.

        Args:
            means: What was expected before it came, for 1, 2, ... HORIZONS steps ahead.
            actual: The value; None if it is unknown.
        """
        self._past.append(None if self._blind else self._told(means))
        if actual is None:
            self._blind += 1
            return
        self._blind = 0
        for step, horizon in enumerate(self._horizons[: len(self._past)]):
            said = self._past[-1 - step]
            if said is not None:
                horizon.learn(said[step], actual)
        self._take(actual)
