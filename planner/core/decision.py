"""What the planner decided, and why."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self

# The 0.9 quantile of the standard normal distribution.
Z90 = 1.2815516
# By so many standard deviations a normal variable hardly ever exceeds its mean.
_SIGMAS = 3.0


class Action(StrEnum):
    """Whether a decision changes anything."""

    HOLD = "hold"
    SCALE = "scale"


class Bound(StrEnum):
    """What fixed the target of a pool."""

    LOAD = "load"
    MINIMUM = "minimum"
    BUDGET = "budget"
    PATIENCE = "patience"
    IDLE = "idle"
    BLIND = "blind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What a sum is expected to be, in its own unit.

    Attributes:
        mean: Expected value.
        p10: The 0.1 quantile.
        p90: The 0.9 quantile.
        tail: By how much it exceeds the 0.9 quantile on average when it does; None as a normal distribution would.
        most: The most that it comes to, unless its 0.9 quantile is more; None if nobody knows yet.
    """

    mean: float
    p10: float
    p90: float
    tail: float | None = None
    most: float | None = None

    def scaled(self, factor: float) -> Band:
        """So many times as much, and just as uncertain in proportion."""
        return Band(
            mean=self.mean * factor,
            p10=self.p10 * factor,
            p90=self.p90 * factor,
            tail=None if self.tail is None else self.tail * factor,
            most=None if self.most is None else self.most * factor,
        )

    def widened(self, deviation: float) -> Band:
        """Also uncertain by something else that is independent, with this standard deviation."""
        below, above = (math.hypot(abs(value - self.mean), Z90 * deviation) for value in (self.p10, self.p90))
        # What is below the mean limits nothing.
        beyond = 0.0 if self.most is None else max(0.0, self.most - self.mean)
        most = None if self.most is None else self.mean + math.hypot(beyond, _SIGMAS * deviation)
        return replace(self, p10=max(0.0, self.mean - below), p90=self.mean + above, most=most)

    def raised(self, more: float) -> Band:
        """So much more has turned out: what might have come on top may be just that."""
        mean = self.mean + more
        most = None if self.most is None else max(self.most, mean)
        return replace(self, mean=mean, p10=self.p10 + more, p90=max(self.p90, mean), most=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadForecast:
    """The load expected for the next interval.

    Attributes:
        requests: Requests expected to arrive.
        requests_p10: Their 0.1 quantile.
        requests_p90: Their 0.9 quantile.
        isl: Mean input sequence length, tokens.
        osl: Mean output sequence length, tokens.
        interval: Length of the interval, seconds.
        input_tokens: Tokens of all inputs together. Many requests are often short ones: their number and their length
            are each less certain than the work they make. None to take it from requests and ISL.
        output_tokens: Tokens of all outputs together; None to take it from requests and OSL.
    """

    requests: float
    requests_p10: float
    requests_p90: float
    isl: float
    osl: float
    interval: float
    input_tokens: Band | None = None
    output_tokens: Band | None = None

    @property
    def request_rate_rps(self) -> float:
        """Expected arrivals per second."""
        return self.requests / self.interval

    @property
    def prefill_requests(self) -> Band:
        """Requests of the expected ISL that are as much work for prefill."""
        return self._all if self.input_tokens is None else self.input_tokens.scaled(1 / max(1.0, self.isl))

    @property
    def decode_requests(self) -> Band:
        """Requests of the expected OSL that are as much work for decode."""
        return self._all if self.output_tokens is None else self.output_tokens.scaled(1 / max(1.0, self.osl))

    @property
    def _all(self) -> Band:
        return Band(mean=self.requests, p10=self.requests_p10, p90=self.requests_p90)

    def raised(self, requests: float, prefill: float, decode: float) -> LoadForecast:
        """More requests of the same kind, and all as uncertain as before.

        Args:
            requests: How many more.
            prefill: How many requests of the expected ISL more is the work for prefill.
            decode: How many requests of the expected OSL more is the work for decode.
        """
        isl, osl = max(1.0, self.isl), max(1.0, self.osl)
        return replace(
            self,
            requests=self.requests + requests,
            requests_p10=self.requests_p10 + requests,
            requests_p90=max(self.requests_p90, self.requests + requests),
            input_tokens=self.prefill_requests.raised(prefill).scaled(isl),
            output_tokens=self.decode_requests.raised(decode).scaled(osl),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolExplanation:
    """How the target of one pool came about.

    Attributes:
        previous: Workers asked for before this decision; None if unknown.
        required: Workers that the load needs, before minimum, patience and budget; None when blind.
        target: Workers decided on.
        bound_by: What fixed the target.
        correction_factor: Observed over expected latency, as learnt so far; 1 when nothing was learnt.
        expected_ms: Latency the profile expects at the observed load, milliseconds; None if unknown.
        observed_ms: Latency observed, milliseconds; None if unknown.
        target_ms: The SLA target, milliseconds.
        feasible: Whether an engine could meet the target at the forecast lengths at all.
        kept: Workers that are not given up though fewer may do, as the load may come out higher; at a reaction those
            that it raised the pool to; None where neither is.
    """

    previous: int | None
    required: int | None
    target: int
    bound_by: Bound
    correction_factor: float
    expected_ms: float | None
    observed_ms: float | None
    target_ms: float
    feasible: bool
    kept: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything a person on call needs to understand a decision.

    Attributes:
        reason: One sentence.
        forecast: The load expected in the next interval; None when nothing was ever observed.
        prefill: How the prefill target came about.
        decode: How the decode target came about.
        warnings: What needs attention, a sentence each.
        sized_for: The load that the workers are for, where that is not the next interval's.
        burstiness: Variance of what arrives within moments over that of independent requests, as learnt so far; chance
            makes it less than 1 at times, which counts as 1.
        peak: The load that requests met in the last interval, over its mean load; 1 if it came evenly, or is unknown.
        blindness: Share of requests that seem to go to any worker rather than to a free one, as learnt so far.
        peakedness: Variance of the requests that wait for their first token over their mean, as learnt so far; None
            while unknown, less than 1 at times.
        surges_tps: Variance of the rate of input tokens from window to window over its mean, beyond that of independent
            requests, tokens per second.
    """

    reason: str
    forecast: LoadForecast | None
    prefill: PoolExplanation
    decode: PoolExplanation
    warnings: tuple[str, ...] = ()
    sized_for: LoadForecast | None = None
    burstiness: float = 1.0
    peak: float = 1.0
    blindness: float = 0.0
    peakedness: float | None = None
    surges_tps: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The numbers of workers that should run from now on.

    Attributes:
        time: When it was decided, seconds since the epoch (the time of the observation).
        action: ``scale`` if a target differs from what was asked for before, else ``hold``.
        prefill: Prefill workers; 0 in an aggregated deployment.
        decode: Decode workers; all workers in an aggregated deployment.
        explanation: Why.
    """

    time: float
    action: Action
    prefill: int
    decode: int
    explanation: Explanation

    @property
    def previous_prefill(self) -> int | None:
        """Prefill workers asked for before; None if unknown."""
        return self.explanation.prefill.previous

    @property
    def previous_decode(self) -> int | None:
        """Decode workers asked for before; None if unknown."""
        return self.explanation.decode.previous

    def to_dict(self) -> dict[str, Any]:
        """The decision as plain dictionaries, lists, strings and numbers."""
        return asdict(self)

    def to_json(self) -> str:
        """The decision as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The decision that ``to_dict`` gave ``data`` for.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is not of that shape.
        """
        why = data["explanation"]
        forecast, sized_for = why["forecast"], why.get("sized_for")
        return cls(
            time=data["time"],
            action=Action(data["action"]),
            prefill=data["prefill"],
            decode=data["decode"],
            explanation=Explanation(
                reason=why["reason"],
                forecast=_load(forecast) if forecast else None,
                prefill=_pool(why["prefill"]),
                decode=_pool(why["decode"]),
                warnings=tuple(why["warnings"]),
                sized_for=_load(sized_for) if sized_for else None,
                burstiness=why.get("burstiness", 1.0),
                peak=why.get("peak", 1.0),
                blindness=why.get("blindness", 0.0),
                peakedness=why.get("peakedness"),
                surges_tps=why.get("surges_tps", 0.0),
            ),
        )


def _load(data: dict[str, Any]) -> LoadForecast:
    tokens = {name: Band(**band) for name in ("input_tokens", "output_tokens") if (band := data.get(name))}
    return LoadForecast(**{**data, **tokens})


def _pool(data: dict[str, Any]) -> PoolExplanation:
    return PoolExplanation(**{**data, "bound_by": Bound(data["bound_by"])})
