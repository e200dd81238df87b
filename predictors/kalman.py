"""A level and a trend that drift, seen through noise."""

from __future__ import annotations

from predictors.series import Model

# Variance of what is not known at the start; large against any noise that makes sense.
_DIFFUSE = 1e6


class KalmanModel(Model):
    """The local linear trend model, filtered.

        value = level + noise(r);  level' = level + trend + noise(q_level);  trend' = trend + noise(q_trend)

    Source: J. Durbin and S. J. Koopman, "Time Series Analysis by State Space Methods", 2nd ed. 2012, sections 3.2
    and 4.3; an unknown value is a prediction without an update (section 4.10). Until ``min_points`` values were seen
    it leaves the answer to the last value.
    """

    def __init__(self, *, q_level: float, q_trend: float, r: float, min_points: int) -> None:
        """Start with nothing known.

        Args:
            q_level: Variance by which the level drifts in an interval.
            q_trend: Variance by which the trend drifts in an interval.
            r: Variance of the measurement noise.
            min_points: Values needed before the model answers.
        """
        self._q_level, self._q_trend, self._r = q_level, q_trend, r
        self._min_points = min_points
        self._points = 0
        # Mean and covariance of (level, trend) at the next value, before it is seen.
        self._level, self._trend = 0.0, 0.0
        self._p_ll, self._p_lt, self._p_tt = _DIFFUSE, 0.0, _DIFFUSE

    def take(self, value: float | None, time: float | None) -> None:
        """Update with the value, if known, and move on to the next interval."""
        del time
        if value is not None:
            self._points += 1
            self._update(value)
        self._predict()

    def _update(self, value: float) -> None:
        variance = self._p_ll + self._r
        gain_level, gain_trend = self._p_ll / variance, self._p_lt / variance
        error = value - self._level
        self._level += gain_level * error
        self._trend += gain_trend * error
        self._p_tt -= gain_trend * self._p_lt
        self._p_lt -= gain_level * self._p_lt
        self._p_ll -= gain_level * self._p_ll

    def _predict(self) -> None:
        self._level += self._trend
        self._p_ll += 2 * self._p_lt + self._p_tt + self._q_level
        self._p_lt += self._p_tt
        self._p_tt += self._q_trend

    def expect(self, horizon_steps: int) -> float | None:
        """The level, moved on by the trend."""
        if self._points < self._min_points:
            return None
        return self._level + (horizon_steps - 1) * self._trend

    @property
    def variance(self) -> float:
        """Variance of the next value, by the model's own noises."""
        return self._p_ll + self._r
