"""What was seen of a deployment over one interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any, Self

_QUANTILES = ("isl_quantiles", "osl_quantiles", "ttft_quantiles_ms", "itl_quantiles_ms")
_POOLS = ("prefill", "decode")


def _is_quantity(value: object) -> bool:
    return isinstance(value, Real) and 0 <= float(value) < math.inf


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers of one pool exist, by what they do.

    Attributes:
        ready: Workers that serve requests.
        pending: Workers that were asked for and do not serve yet, from the moment they are asked for, even if nothing
            has been begun: who is neither ready nor pending is missing, and asked for again.
        draining: Workers that finish what they have and take nothing new.
    """

    ready: int
    pending: int = 0
    draining: int = 0

    def __post_init__(self) -> None:
        """Refuse counts that no deployment can have.

        Raises:
            ValueError: A count is negative, or no whole number.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, Integral) or value < 0:
                raise ValueError(
                    f"Workers.{field.name} is {value!r}; a count of workers is a whole number of 0 or more"
                )

    @property
    def requested(self) -> int:
        """Workers that serve or are about to: what the last scaling asked for."""
        return self.ready + self.pending

    @property
    def present(self) -> int:
        """Workers that hold their GPUs, whatever they do with them."""
        return self.ready + self.pending + self.draining


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known about the load and the workers at the end of one interval.

    Every field but ``time`` and ``interval`` may be ``None``, which means *unknown*. Unknown is not zero: an
    idle interval is one whose ``requests_started`` is known to be 0.

    Attributes:
        time: End of the interval, seconds since the epoch.
        interval: Length of the interval, seconds.
        requests_started: Requests that arrived during the interval; not those that ended, which hide an overload.
        requests_completed: Requests that ended during the interval.
        isl: Mean input sequence length, tokens.
        osl: Mean output sequence length, tokens.
        ttft_ms: Mean time to first token, milliseconds.
        itl_ms: Mean inter-token latency, milliseconds.
        request_duration_s: Mean duration of a request, seconds.
        isl_quantiles: Input sequence length by quantile in (0, 1), tokens.
        osl_quantiles: Output sequence length by quantile in (0, 1), tokens.
        ttft_quantiles_ms: TTFT by quantile in (0, 1), milliseconds.
        itl_quantiles_ms: ITL by quantile in (0, 1), milliseconds.
        inflight: Requests in the system at the end of the interval, waiting ones included.
        queued: Requests waiting for their first token at the end of the interval, those being prefilled included.
        prefill: Prefill workers at the end of the interval; in an aggregated deployment there are none.
        decode: Decode workers at the end of the interval; in an aggregated deployment all workers.
    """

    time: float
    interval: float
    requests_started: float | None = None
    requests_completed: float | None = None
    isl: float | None = None
    osl: float | None = None
    ttft_ms: float | None = None
    itl_ms: float | None = None
    request_duration_s: float | None = None
    isl_quantiles: Mapping[float, float] | None = None
    osl_quantiles: Mapping[float, float] | None = None
    ttft_quantiles_ms: Mapping[float, float] | None = None
    itl_quantiles_ms: Mapping[float, float] | None = None
    inflight: float | None = None
    queued: float | None = None
    prefill: Workers | None = None
    decode: Workers | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that cannot have been observed.

        Raises:
            ValueError: ``interval`` is not positive, or a number or quantile is negative, infinite, NaN or no number.
            TypeError: A pool is something else than Workers, or quantiles are no mapping.
        """
        if not (_is_quantity(self.interval) and self.interval > 0):
            raise ValueError(f"Observation.interval is {self.interval!r}; it is a length in seconds above 0")
        if not _is_quantity(self.time):
            raise ValueError(f"Observation.time is {self.time!r}; it is in seconds since the epoch, 0 or more")
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name in _POOLS:
                _check_pool(field.name, value)
            elif field.name in _QUANTILES:
                _check_quantiles(field.name, value)
            elif not _is_quantity(value):
                raise ValueError(
                    f"Observation.{field.name} is {value!r}; it is a finite number of 0 or more, or None if unknown"
                )

    def to_dict(self) -> dict[str, Any]:
        """The observation as plain dictionaries and numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The observation that ``to_dict`` gave ``data`` for, also after a way through JSON.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: ``data`` is not of that shape.
        """
        quantiles = {
            name: {float(p): value for p, value in data[name].items()} for name in _QUANTILES if data.get(name)
        }
        pools = {name: Workers(**data[name]) for name in _POOLS if data.get(name)}
        return cls(**{**data, **quantiles, **pools})

    @property
    def blind(self) -> bool:
        """Whether the demand of this interval is unknown."""
        return self.requests_started is None

    @property
    def idle(self) -> bool:
        """Whether it is known that nothing arrived and nothing is in the system."""
        return self.requests_started == 0 and not self.inflight and not self.queued

    @property
    def request_rate_rps(self) -> float | None:
        """Arrivals per second, or None if unknown."""
        return None if self.requests_started is None else self.requests_started / self.interval


def _check_pool(name: str, pool: object) -> None:
    if not isinstance(pool, Workers):
        raise TypeError(f"Observation.{name} is {pool!r}; it is Workers(ready, pending), or None if unknown")


def _check_quantiles(name: str, quantiles: object) -> None:
    if not isinstance(quantiles, Mapping):
        raise TypeError(f"Observation.{name} is {quantiles!r}; it is a mapping such as {{0.9: 350.0}}, or None")
    for p, value in quantiles.items():
        if not (_is_quantity(p) and 0 < p < 1 and _is_quantity(value)):
            raise ValueError(
                f"Observation.{name} has {value!r} at {p!r}; it maps probabilities between 0 and 1 to finite numbers "
                "of 0 or more"
            )
