"""A mixture of light models, each weighted by how well it did lately."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

import numpy as np

from predictors.experts import Level, Median, Regressions, Trend
from predictors.kalman import KalmanModel
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
        )
        # One goes by all levels and the last change, one by a single level.
        self._regressions = Regressions((0.5, 0.2, 0.05), (((0, 1, 2, 3), 0.99), ((1,), 0.995)), HORIZONS)
        # By horizon and model.
        self._prior = np.array([_PRIOR_OF_LAST] + [1.0] * (len(self._models) + 1))
        self._weights = np.tile(self._prior, (HORIZONS, 1))
        self._losses = np.zeros(self._weights.shape)
        self._counts = [0.0] * HORIZONS
        self._past: deque[np.ndarray] = deque(maxlen=HORIZONS)
        self._expected = [math.nan] * HORIZONS
        self._values = 0.0
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
        self._regressions.take(value)
        said = self._said(HORIZONS)
        self._expected = _means(said, self._weights)
        self._past.appendleft(said)

    def _said(self, steps: int) -> np.ndarray:
        """What models say 1, 2, ... intervals ahead, as far as it is believed, (steps, models); NaN is not said."""
        paths = [*(model.path(steps) for model in self._models), *self._regressions.paths(steps)]
        most = _MOST_GROWTH * max(self._recent, default=0.0)
        said: np.ndarray = np.minimum(np.maximum(np.array(paths, dtype=float).T, 0.0), most)
        return said

    def _judge(self, value: float) -> None:
        judged = len(self._past)
        errors = np.abs(np.array([said[step] for step, said in enumerate(self._past)]) - value)
        unknown = np.isnan(errors)
        if unknown.any():
            # A model that joins late has the loss of a middling one until then: it has to earn its weight.
            middling = [[median([error for error in row if not math.isnan(error)])] for row in errors.tolist()]
            errors = np.where(unknown, middling, errors)
        self._losses[:judged] = _MEMORY * self._losses[:judged] + errors
        self._counts[:judged] = [_MEMORY * count + 1 for count in self._counts[:judged]]
        self._values = _MEMORY * self._values + value
        self._weigh(judged)

    def _weigh(self, judged: int) -> None:
        """Weigh the models at each of the first horizons by how they did; at the others, as if none were better."""
        losses = np.log(self._losses[:judged] + max(_TINY * self._values, 1e-300))
        standings = (1 - _SHARED) * losses + _SHARED / judged * losses.sum(axis=0)
        standings -= standings.min(axis=1, keepdims=True)
        sharpness = np.array([[_SHARPNESS * count / (count + _CHANCE)] for count in self._counts[:judged]])
        self._weights[:judged] = self._prior * np.exp(-sharpness * standings)

    def _restart_after_shift(self, value: float, time: float | None) -> None:
        expected = _means(self._past[0][:1], self._weights[:1])[0]
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
            said = self._said(horizon_steps)[-1:]
            expected = _means(said, self._weights[-1:])[0]
        return None if math.isnan(expected) else expected


def _means(said: np.ndarray, weights: np.ndarray) -> list[float]:
    """Weighted mean of each row of what is said, (rows, models); NaN is not said, and NaN where nothing is."""
    told = np.isfinite(said)
    counted = np.where(told, weights, 0.0)
    sums = np.einsum("hm,hm->h", counted, np.where(told, said, 0.0))
    return [
        weighted / weight if weight > 0 else math.nan
        for weighted, weight in zip(sums.tolist(), counted.sum(axis=1).tolist(), strict=True)
    ]
