"""From what was read to an observation: the rules that every source shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from planner.core.observation import Observation

QUANTILES = (0.5, 0.9, 0.95, 0.99)

_MS_PER_S = 1000.0
# Counters are extrapolated; only what is missing beyond this share of the requests under way is lost.
_LOST = 0.1


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket of a histogram.

    Attributes:
        upper: Its upper bound; infinite for the last.
        count: Values up to that bound, as a cumulative number.
    """

    upper: float
    count: float


@dataclass(slots=True, kw_only=True)
class Readings:
    """What was read over an interval, in the server's units. Unknown is None; a name in ``failed`` could not be read.

    Attributes:
        present: Whether the server was seen at all.
        increases: Increase of the request counters, by field.
        means: Means over the interval, by field.
        gauges: Gauges at its end, by field.
        inflight_before: Requests in the system at its beginning.
        buckets: Increase of histogram buckets, by field.
        failed: Fields that could not be read.
    """

    present: bool = False
    increases: dict[str, float | None] = field(default_factory=dict)
    means: dict[str, float | None] = field(default_factory=dict)
    gauges: dict[str, float | None] = field(default_factory=dict)
    inflight_before: float | None = None
    buckets: dict[str, Sequence[Bucket]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)


def derive(readings: Readings, *, time: float, interval: float) -> Observation:
    """The observation that readings amount to.

    Args:
        readings: What was read.
        time: End of the interval, seconds since the epoch.
        interval: Its length, seconds.
    """
    completed = _count(readings, "requests_completed")
    return Observation(
        time=time,
        interval=interval,
        requests_started=_arrivals(readings, completed),
        requests_completed=completed,
        isl=_known(readings.means.get("isl")),
        osl=_known(readings.means.get("osl")),
        ttft_ms=_milliseconds(readings.means.get("ttft_ms")),
        itl_ms=_milliseconds(readings.means.get("itl_ms")),
        request_duration_s=_known(readings.means.get("request_duration_s")),
        isl_quantiles=_quantiles(readings.buckets.get("isl", ()), 1.0),
        osl_quantiles=_quantiles(readings.buckets.get("osl", ()), 1.0),
        ttft_quantiles_ms=_quantiles(readings.buckets.get("ttft_ms", ()), _MS_PER_S),
        itl_quantiles_ms=_quantiles(readings.buckets.get("itl_ms", ()), _MS_PER_S),
        inflight=_gauge(readings, "inflight"),
        queued=_gauge(readings, "queued"),
    )


def _count(readings: Readings, name: str) -> float | None:
    """The increase of a counter. One whose series nobody has begun yet, though the server is there, is 0."""
    value = readings.increases.get(name)
    if value is None and readings.present and name not in readings.failed:
        return 0.0
    return _known(value)


def _gauge(readings: Readings, name: str) -> float | None:
    """A gauge; 0 where the server is there and nobody has ever called it."""
    value = _known(readings.gauges.get(name))
    never_called = all(increase is None for increase in readings.increases.values())
    if value is None and readings.present and readings.increases and never_called and not readings.failed:
        return 0.0
    return value


def _arrivals(readings: Readings, completed: float | None) -> float | None:
    """Requests that arrived: counted, or else those that ended plus the growth of those in the system.

    Completions alone are capped by what runs, and hide an overload.
    """
    counted = _known(readings.increases.get("requests_started"))
    if counted is not None:
        return counted
    if completed is None or "requests_started" in readings.failed:
        return None
    inflight, before = _known(readings.gauges.get("inflight")), _known(readings.inflight_before)
    if inflight is None or before is None:
        return completed
    arrived = completed + inflight - before
    if arrived < -_LOST * before:
        # More was under way than ended: a server has begun anew and forgotten it.
        return completed + inflight
    return max(0.0, arrived)


def bound(text: str) -> float:
    """The upper bound that a bucket's label ``le`` names; NaN if it names none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _milliseconds(seconds: float | None) -> float | None:
    known = _known(seconds)
    return None if known is None else known * _MS_PER_S


def _quantiles(buckets: Sequence[Bucket], scale: float) -> Mapping[float, float] | None:
    found = {p: quantile(buckets, p) for p in QUANTILES}
    return {p: value * scale for p, value in found.items() if value is not None} or None


def quantile(buckets: Iterable[Bucket], p: float) -> float | None:
    """The value that a share ``p`` of a histogram's values does not exceed, linear within a bucket.

    In the unbounded last bucket it is that bucket's lower bound, as with PromQL's ``histogram_quantile``.
    None if the histogram is empty.
    """
    ordered = sorted((bucket for bucket in buckets if not math.isnan(bucket.upper)), key=lambda bucket: bucket.upper)
    if not ordered or not (math.isfinite(ordered[-1].count) and ordered[-1].count > 0):
        return None
    rank = p * ordered[-1].count
    lower, below = 0.0, 0.0
    for bucket in ordered:
        if bucket.count >= rank and bucket.count > below:
            if math.isinf(bucket.upper):
                return lower
            return lower + (bucket.upper - lower) * (rank - below) / (bucket.count - below)
        lower, below = bucket.upper if math.isfinite(bucket.upper) else lower, max(below, bucket.count)
    return lower
