"""How much work is coming: three time series and what is known about silence."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from planner.core.decision import LoadForecast
from planner.core.observation import Observation
from predictors.base import Forecast, Predictor

# Pauses are remembered for so many intervals with load, and longer ones are no pauses.
_PAUSES, _LONGEST_PAUSE = 60, 10


class Sight(StrEnum):
    """What the last observation says about the load."""

    BLIND = "blind"
    ACTIVE = "active"
    QUIET = "quiet"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class LoadPredictors:
    """One predictor for each series that makes up the load."""

    requests: Predictor
    isl: Predictor
    osl: Predictor


class Demand:
    """Follows request count, ISL and OSL, and forecasts them.

    A single idle interval is ``quiet`` and may be a hiccup; ``idle`` is what was seen ``idle_intervals`` times in a
    row, and for longer than the pauses after which load came back lately. An interval whose request count is unknown
    is ``blind`` and neither starts nor breaks such a row.
    """

    def __init__(
        self,
        predictors: LoadPredictors,
        *,
        interval: float,
        isl: float,
        osl: float,
        idle_intervals: int,
    ) -> None:
        """Start with nothing observed.

        Args:
            predictors: The models, warm-started or fresh.
            interval: Nominal length of an interval, seconds; the request count is forecast for it.
            isl: Input sequence length to assume until one is observed, tokens.
            osl: Output sequence length to assume until one is observed, tokens.
            idle_intervals: Idle intervals in a row that confirm idleness.
        """
        self.predictors = predictors
        self.interval = interval
        self.isl = isl
        self.osl = osl
        self.idle_intervals = idle_intervals
        self.sight = Sight.BLIND
        self._idle_row = 0
        self._pauses: deque[int] = deque(maxlen=_PAUSES)

    def learn(self, observation: Observation) -> None:
        """Take in one interval; unknown values let time go on in their series."""
        requests = observation.requests_started
        if requests is not None:
            # A tick that came late covers more than an interval; the series stays one of equal intervals.
            requests *= self.interval / observation.interval
        silent = requests == 0
        self.predictors.requests.observe(requests, observation.time)
        self.predictors.isl.observe(None if silent else observation.isl or None, observation.time)
        self.predictors.osl.observe(None if silent else observation.osl or None, observation.time)
        self.sight = self._look(observation)

    def _look(self, observation: Observation) -> Sight:
        if observation.blind:
            return Sight.BLIND
        if not observation.idle:
            # One entry an interval, so that a pause is forgotten after as many.
            self._pauses.append(self._idle_row if self._idle_row <= _LONGEST_PAUSE else 0)
            self._idle_row = 0
            return Sight.ACTIVE
        self._idle_row += 1
        confirmed = self._idle_row >= self.idle_intervals and self._idle_row > max(self._pauses, default=0)
        return Sight.IDLE if confirmed else Sight.QUIET

    def plain(self, requests: float, isl: float | None, osl: float | None) -> LoadForecast:
        """So many requests in the next interval; lengths that are unknown are those to assume."""
        return LoadForecast(
            requests=requests,
            requests_p10=requests,
            requests_p90=requests,
            isl=isl or self.isl,
            osl=osl or self.osl,
            interval=self.interval,
        )

    def forecast(self, horizon_steps: int = 1) -> LoadForecast | None:
        """The load expected ``horizon_steps`` intervals ahead; None if no request count was ever observed."""
        requests = self.predictors.requests.forecast(horizon_steps)
        if requests is None:
            return None
        isl = self.predictors.isl.forecast(horizon_steps)
        osl = self.predictors.osl.forecast(horizon_steps)
        return LoadForecast(
            requests=requests.mean,
            requests_p10=requests.quantile(0.1),
            requests_p90=requests.quantile(0.9),
            isl=isl.mean if isl and isl.mean > 0 else self.isl,
            osl=osl.mean if osl and osl.mean > 0 else self.osl,
            interval=self.interval,
            isl_error=_relative_error(isl),
            osl_error=_relative_error(osl),
        )


def _relative_error(forecast: Forecast | None) -> float:
    return forecast.std / forecast.mean if forecast and forecast.mean > 0 else 0.0
