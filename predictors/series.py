"""What every predictor does alike: checks, leading zeros, gaps, scale, uncertainty."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from predictors.base import Forecast
from predictors.uncertainty import HORIZONS, Uncertainty


class Model(ABC):
    """The part of a predictor that differs: what it makes of values, on whatever scale it is given them."""

    @abstractmethod
    def take(self, value: float | None, time: float | None) -> None:
        """Take in the next value, or let an interval pass whose value is unknown."""

    @abstractmethod
    def expect(self, horizon_steps: int) -> float | None:
        """The value expected so many intervals ahead; None if the model cannot say yet."""

    def path(self, steps: int) -> list[float | None]:
        """The values expected 1, 2, ... intervals ahead."""
        return [self.expect(step) for step in range(1, steps + 1)]

    def holding_fits(self) -> AbstractContextManager[None]:
        """A context in which much is taken in and the model is fitted only at the end."""
        return nullcontext()

    @property
    def pending(self) -> Future[Any] | None:
        """The fit under way, if any."""
        return None

    @property
    def last_error(self) -> str | None:
        """Why the last fit failed, if it did."""
        return None


class SeriesPredictor:
    """A predictor around a model; implements the protocol Predictor.

    Zeros at the beginning of a series are idleness before anybody came, not load, and are left out; so are those that
    follow a warm start. Until the model can say something, and where it says something that is no number, the last
    value stands.
    """

    def __init__(self, model: Model, *, log1p: bool = False) -> None:
        """Start a series.

        Args:
            model: What forecasts.
            log1p: Whether the model sees log(1 + value) instead of the value.
        """
        self._model = model
        self._log1p = log1p
        self._uncertainty = Uncertainty()
        self._last: float | None = None
        self._begun = False
        self._awaiting_load = True

    @property
    def pending(self) -> Future[Any] | None:
        """The fit under way, if any."""
        return self._model.pending

    @property
    def last_error(self) -> str | None:
        """Why the last fit failed, if it did."""
        return self._model.last_error

    def observe(self, value: float | None, time: float | None = None) -> None:
        """Take in the next value; see Predictor."""
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"value is {value}; a series has finite values of 0 or more, or None for unknown ones")
        if self._awaiting_load and not value:
            self._last = value if value is not None and not self._begun else self._last
            return
        if self._begun:
            self._uncertainty.learn([self._mean(step) for step in range(1, HORIZONS + 1)], value)
        else:
            self._uncertainty.begin(value)
        if value is not None:
            self._last = value
        self._begun, self._awaiting_load = True, False
        self._model.take(math.log1p(value) if self._log1p and value is not None else value, time)

    def warm(self, history: Iterable[tuple[float | None, float]]) -> None:
        """Take in a past that was not observed here.

        Args:
            history: Values and the ends of their intervals, seconds since the epoch, oldest first.
        """
        with self.warming():
            for value, time in history:
                self.observe(value, time)

    @contextmanager
    def warming(self) -> Iterator[None]:
        """A context in which what is observed is a past; models are fitted only at its end."""
        with self._model.holding_fits():
            yield
        self._awaiting_load = True

    def forecast(self, horizon_steps: int = 1) -> Forecast | None:
        """The value so many intervals ahead; see Predictor."""
        if horizon_steps < 1:
            raise ValueError(f"horizon_steps is {horizon_steps}; a forecast is for at least 1 interval ahead")
        if self._last is None:
            return None
        return self._uncertainty.around(self._mean, horizon_steps)

    def _mean(self, horizon_steps: int) -> float:
        assert self._last is not None  # noqa: S101 - asked only after a first value
        expected = self._model.expect(horizon_steps) if self._begun else None
        if expected is not None and self._log1p:
            expected = math.expm1(min(expected, 700.0))
        if expected is None or not math.isfinite(expected):
            return self._last
        return max(0.0, expected)
