"""How much work is coming: requests, their lengths, their tokens, and what is known about silence."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from planner.core.decision import Band, LoadForecast
from planner.core.observation import Observation
from predictors.base import Predictor

# Pauses are remembered for so many intervals with load, and longer ones are no pauses.
_PAUSES, _LONGEST_PAUSE = 60, 10
# The next pause may well be longer than those before.
_TIMES = 2


class Sight(StrEnum):
    """What the last observation says about the load."""

    BLIND = "blind"
    ACTIVE = "active"
    QUIET = "quiet"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class LoadPredictors:
    """One predictor for each series that makes up the load; tokens may be left out."""

    requests: Predictor
    isl: Predictor
    osl: Predictor
    input_tokens: Predictor | None = None
    output_tokens: Predictor | None = None


class Demand:
    """Follows request count, ISL, OSL and tokens, and forecasts them.

    A single idle interval is ``quiet`` and may be a hiccup; ``idle`` is what was seen several times in a row, and for
    twice as long as the pauses after which load came back lately. An interval whose request count is unknown
    is ``blind`` and neither starts nor breaks such a row.
    """

    def __init__(
        self,
        predictors: LoadPredictors,
        *,
        interval: float,
        isl: float,
        osl: float,
    ) -> None:
        """Start with nothing observed.

        Args:
            predictors: The models, warm-started or fresh.
            interval: Nominal length of an interval, seconds; the request count is forecast for it.
            isl: Input sequence length to assume until one is observed, tokens.
            osl: Output sequence length to assume until one is observed, tokens.
        """
        self.predictors = predictors
        self.interval = interval
        self.isl = isl
        self.osl = osl
        self.sight = Sight.BLIND
        self._idle_row = 0
        self._pauses: deque[int] = deque(maxlen=_PAUSES)

    def learn(self, observation: Observation, idle_intervals: int, peak: float = 1.0) -> None:
        """Take in one interval; unknown values let time go on in their series.

        Args:
            observation: The interval.
            idle_intervals: Idle intervals in a row that confirm idleness.
            peak: The load that its requests met, over its mean load: tokens count as many times.
        """
        requests = observation.requests_started
        if requests is not None:
            # A tick that came late covers more than an interval; the series stays one of equal intervals.
            requests *= self.interval / observation.interval
        silent = requests == 0
        time, predictors = observation.time, self.predictors
        predictors.requests.observe(requests, time)
        for length, lengths, tokens in (
            (observation.isl or None, predictors.isl, predictors.input_tokens),
            (observation.osl or None, predictors.osl, predictors.output_tokens),
        ):
            lengths.observe(None if silent else length, time)
            if tokens is not None:
                known = silent or not (requests is None or length is None)
                tokens.observe(peak * (requests or 0.0) * (length or 0.0) if known else None, time)
        self.sight = self._look(observation, idle_intervals)

    def _look(self, observation: Observation, idle_intervals: int) -> Sight:
        if observation.blind:
            return Sight.BLIND
        if not observation.idle:
            # One entry an interval, so that a pause is forgotten after as many.
            self._pauses.append(self._idle_row if self._idle_row <= _LONGEST_PAUSE else 0)
            self._idle_row = 0
            return Sight.ACTIVE
        self._idle_row += 1
        confirmed = self._idle_row >= idle_intervals and self._idle_row > _TIMES * max(self._pauses, default=0)
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
            input_tokens=_band(self.predictors.input_tokens, horizon_steps),
            output_tokens=_band(self.predictors.output_tokens, horizon_steps),
        )


def _band(predictor: Predictor | None, horizon_steps: int) -> Band | None:
    forecast = predictor.forecast(horizon_steps) if predictor else None
    if forecast is None or forecast.mean <= 0:
        return None
    return Band(
        mean=forecast.mean,
        p10=forecast.quantile(0.1),
        p90=forecast.quantile(0.9),
        tail=forecast.tail,
        most=forecast.most,
    )
