"""ARIMA: order and parameters found by pmdarima now and then, forecasts by a recursion in between."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from predictors.fitted import FittedModel
from predictors.fitting import Fitter

_LEAST_POINTS = 5
_MOST_POINTS = 500
# A refit is due when the history has grown by a quarter, and at the latest after so many values.
_GROWTH = 1.25
_LONGEST_WAIT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ArimaParameters:
    """An ARIMA(p, d, q) of a series y, or of log(1 + y).

        w = (1 - L)^d y;  w_t = intercept + sum ar_i w_(t-i) + e_t + sum ma_j e_(t-j)

    Attributes:
        d: Order of differencing.
        intercept: The constant.
        ar: Autoregressive coefficients, nearest lag first; as many as p.
        ma: Moving-average coefficients, nearest lag first; as many as q.
        log1p: Whether the model is of log(1 + y).
    """

    d: int
    intercept: float
    ar: tuple[float, ...]
    ma: tuple[float, ...]
    log1p: bool = False


class ArimaRecursion:
    """Follows a series with given parameters, a few operations a value.

    The residuals are conditional on the first p differences, whose own are taken as 0: G. E. P. Box, G. M. Jenkins,
    "Time Series Analysis", section 7.1 (conditional likelihood) and 5.1 (forecasts by the difference equation).
    """

    def __init__(self, parameters: ArimaParameters, history: Sequence[float]) -> None:
        self.parameters = parameters
        self._tails: list[float] = []
        self._differences: deque[float] = deque(maxlen=max(1, len(parameters.ar)))
        self._residuals: deque[float] = deque([0.0] * max(1, len(parameters.ma)), maxlen=max(1, len(parameters.ma)))
        for value in history:
            self.take(value)

    def take(self, value: float) -> None:
        """Take in the next value of the series."""
        difference = self._difference(math.log1p(value) if self.parameters.log1p else value)
        if difference is None:
            return
        known = len(self._differences) >= len(self.parameters.ar)
        residual = difference - self._next_difference(self._differences, self._residuals) if known else 0.0
        self._differences.appendleft(difference)
        self._residuals.appendleft(residual)

    def _difference(self, value: float) -> float | None:
        """The value differenced d times; None until there are enough. The tails are the last ones of each order."""
        for order in range(self.parameters.d):
            if order == len(self._tails):
                self._tails.append(value)
                return None
            value, self._tails[order] = value - self._tails[order], value
        return value

    def _next_difference(self, differences: Sequence[float], residuals: Sequence[float]) -> float:
        autoregression = sum(a * w for a, w in zip(self.parameters.ar, differences, strict=False))
        moving_average = sum(m * e for m, e in zip(self.parameters.ma, residuals, strict=False))
        return self.parameters.intercept + autoregression + moving_average

    def forecast(self, horizon_steps: int) -> float:
        """The value so many steps after the last one."""
        differences, residuals, tails = list(self._differences), list(self._residuals), list(self._tails)
        value = 0.0
        for _ in range(horizon_steps):
            value = self._next_difference(differences, residuals)
            differences.insert(0, value)
            residuals.insert(0, 0.0)
            for order in reversed(range(len(tails))):
                tails[order] += value
                value = tails[order]
        return math.expm1(min(value, 700.0)) if self.parameters.log1p else value


class ArimaModel(FittedModel):
    """ARIMA whose order and parameters are refitted as history grows, in the fitter."""

    def __init__(self, fitter: Fitter, *, may_log1p: bool) -> None:
        """Start without a model; the last value answers until the first fit is done.

        Args:
            fitter: Where to fit.
            may_log1p: Whether log(1 + y) may be tried where y itself shows no structure.
        """
        super().__init__(fitter)
        self._may_log1p = may_log1p
        self._history: deque[float] = deque(maxlen=_MOST_POINTS)
        self._recursion: ArimaRecursion | None = None
        self._seen = 0
        self._due = _LEAST_POINTS

    def take(self, value: float | None, time: float | None) -> None:
        """Update the recursion; a value that is unknown is taken to be as expected."""
        del time
        if value is None:
            expected = self.expect(1)
            value = expected if expected is not None and math.isfinite(expected) else self._history[-1]
            value = max(0.0, value)
        self._adopt()
        self._history.append(value)
        if self._recursion is not None:
            self._recursion.take(value)
        self._seen += 1
        if self._seen >= self._due:
            self._due = min(math.ceil(self._seen * _GROWTH), self._seen + _LONGEST_WAIT)
            self._fit.begin(fit_arima, tuple(self._history), self._may_log1p)

    def _adopt(self) -> None:
        if (parameters := self._fit.collect()) is not None:
            self._recursion = ArimaRecursion(parameters, self._history)

    def expect(self, horizon_steps: int) -> float | None:
        """The forecast of the recursion; None before the first fit."""
        self._adopt()
        return None if self._recursion is None else self._recursion.forecast(horizon_steps)


def fit_arima(history: Sequence[float], may_log1p: bool) -> ArimaParameters:
    """Find order and parameters by pmdarima's stepwise search.

    Args:
        history: The series, oldest first.
        may_log1p: Whether to try log(1 + y) where the search finds only (0, d, 0) for y, a walk without structure.
    """
    if len(set(history)) == 1:
        return ArimaParameters(d=0, intercept=history[0], ar=(), ma=())
    raw = _search(history, log1p=False)
    if may_log1p and not raw.ar and not raw.ma:
        transformed = _search([math.log1p(value) for value in history], log1p=True)
        if transformed.ar or transformed.ma:
            return transformed
    return raw


def _search(series: Sequence[float], *, log1p: bool) -> ArimaParameters:
    import numpy as np  # noqa: PLC0415 - imported where the fit runs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pmdarima  # noqa: PLC0415

        found = pmdarima.auto_arima(
            np.asarray(series, dtype=float),
            seasonal=False,
            max_p=3,
            max_q=3,
            max_d=1,
            suppress_warnings=True,
            error_action="ignore",
        )
        values = dict(zip(found.arima_res_.model.param_names, map(float, found.params()), strict=True))
    p, d, q = found.order
    return ArimaParameters(
        d=int(d),
        intercept=values.get("intercept", 0.0),
        ar=tuple(values[f"ar.L{lag}"] for lag in range(1, p + 1)),
        ma=tuple(values[f"ma.L{lag}"] for lag in range(1, q + 1)),
        log1p=log1p,
    )
