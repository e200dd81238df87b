"""A mixture of light models, each weighted by how well it did lately."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

import numpy as np

from predictors.experts import Level, Median, Regression, Trend
from predictors.kalman import KalmanModel
from predictors.sample import medians
from predictors.season import Season
from predictors.series import Model
from predictors.uncertainty import HORIZONS

# What an interval's loss counts after another: some hundred intervals weigh the models.
_MEMORY = 0.99
# How strongly a better model is preferred: a tenth more loss, a tenth of the weight, ...
_SHARPNESS = 25.0
# ... once so many losses were seen that differences are more than chance.
_CHANCE = 5.0
# Share of the losses at all horizons in a model's standing at one: a model that is good at one is so at others.
_SHARED = 0.5
# The last value is hard to beat where loads wander: it is believed as so many models before they have shown better.
_PRIOR_OF_LAST = 5.0
# Losses below so small a share of the values are all alike.
_TINY = 1e-6
# No model is believed that expects more than so many times the largest of so many recent values.
_MOST_GROWTH, _RECENT = 2.0, 30
# Two values in a row that are so many times farther off than usual, to the same side, are a new level.
_SHIFT = 5.0
_USUAL_ERRORS = 20


class MixtureModel(Model):
    """Expects the mean of its models' forecasts, each weighted by its recent absolute errors.

    Weights fall with a power of a model's discounted loss over that of the best one, so that it comes close to the best
    of them whatever the scale, and forgets. (N. Cesa-Bianchi and G. Lugosi, "Prediction, Learning, and Games", 2006,
    sections 2.2 and 2.11; J. M. Bates and C. W. J. Granger, "The Combination of Forecasts", Operational Research
    Quarterly 20(4), 1969.) When the level shifts, what models had averaged of the old one is forgotten.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._averages: tuple[Level | Median | Trend, ...] = (
            *(Level(alpha) for alpha in (0.7, 0.45, 0.25, 0.12, 0.05)),
            Level(0.1, logarithmic=True),
            Median(5),
            Median(21),
            Trend(0.5, 0.2, 0.9),
            Trend(0.3, 0.1, 0.95),
            Trend(0.6, 0.3, 1.0),
        )
        self._models: tuple[Model, ...] = (
            Level(1.0),
            *self._averages,
            KalmanModel(q_level=1.0, q_trend=0.1, r=10.0, min_points=5),
            Season(),
            Regression((0.5, 0.2, 0.05), with_change=True, horizons=HORIZONS, memory=0.99),
            Regression((0.2,), with_change=False, horizons=HORIZONS, memory=0.995),
        )
        self._prior = np.ones(len(self._models))
        self._prior[0] = _PRIOR_OF_LAST
        self._losses = np.zeros((HORIZONS, len(self._models)))
        self._counts = np.zeros(HORIZONS)
        self._values = 0.0
        self._weights = np.tile(self._prior, (HORIZONS, 1))
        self._said = np.full((HORIZONS, len(self._models)), np.nan)
        self._expected = np.full(HORIZONS, np.nan)
        self._past: deque[np.ndarray] = deque(maxlen=HORIZONS)
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._errors: deque[float] = deque(maxlen=_USUAL_ERRORS)
        self._surprise = 0.0

    def take(self, value: float | None, time: float | None) -> None:
        """Let every model see the value, and judge what each had said of it."""
        if value is not None:
            if self._past:
                self._judge(value)
                self._restart_after_shift(value, time)
            self._recent.append(value)
        for model in self._models:
            model.take(value, time)
        self._said = np.array([self._expectations(step) for step in range(1, HORIZONS + 1)])
        self._expected = _mean(self._said, self._weights)
        self._past.append(self._said)

    def _expectations(self, horizon_steps: int) -> list[float]:
        most = _MOST_GROWTH * max(self._recent, default=0.0)
        said = (model.expect(horizon_steps) for model in self._models)
        return [math.nan if one is None else min(max(one, 0.0), most) for one in said]

    def _judge(self, value: float) -> None:
        count = len(self._past)
        errors = np.abs(np.array([self._past[-1 - step][step] for step in range(count)]) - value)
        unknown = np.isnan(errors)
        if unknown.any():
            # A model that joins late has the loss of a middling one until then: it has to earn its weight.
            errors = np.where(unknown, medians(errors)[:, None], errors)
        self._losses[:count] = _MEMORY * self._losses[:count] + errors
        self._counts[:count] = _MEMORY * self._counts[:count] + 1
        self._values = _MEMORY * self._values + value
        self._weigh()

    def _restart_after_shift(self, value: float, time: float | None) -> None:
        expected = float(_mean(self._said[:1], self._weights[:1])[0])
        error = 0.0 if math.isnan(expected) else value - expected
        usual = max(median(self._errors), _TINY * value) if len(self._errors) >= 3 else math.inf
        surprise = error if abs(error) > _SHIFT * usual else 0.0
        if surprise * self._surprise > 0:
            for model in self._averages:
                model.forget()
                model.take(self._recent[-1], time)
            surprise = 0.0
        elif not surprise:
            self._errors.append(abs(error))
        self._surprise = surprise

    def expect(self, horizon_steps: int) -> float | None:
        """The weighted mean of what the models expect."""
        if horizon_steps <= HORIZONS:
            expected = self._expected[horizon_steps - 1]
        else:
            expected = _mean(np.array([self._expectations(horizon_steps)]), self._weights[-1:])[0]
        return None if math.isnan(expected) else float(expected)

    def _weigh(self) -> None:
        """Weigh the models at each horizon by how they did; before one was judged, as if none were better."""
        judged = int(np.count_nonzero(self._counts))
        losses = np.log(self._losses[:judged] + max(_TINY * self._values, 1e-300))
        standings = losses - losses.min(axis=1, keepdims=True)
        standings = (1 - _SHARED) * standings + _SHARED * standings.mean(axis=0)
        counts = self._counts[:judged, None]
        sharpness = _SHARPNESS * counts / (counts + _CHANCE)
        self._weights[:judged] = self._prior * np.exp(-sharpness * (standings - standings.min(axis=1, keepdims=True)))


def _mean(said: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of each row of what is said, (rows, models); NaN is not said, and NaN where nothing is."""
    told = np.isfinite(said)
    counted = weights * told
    total = counted.sum(axis=1)
    sums = (counted * np.where(told, said, 0.0)).sum(axis=1)
    means = np.full(len(said), np.nan)
    np.divide(sums, total, out=means, where=total > 0)
    return means
