"""How well requests were served, and what that cost."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.core.sizing import Targets
from planner.simulation.engine import CostedEngines
from planner.simulation.request import Request

WORST_SPAN_S = 300.0
_LATENCY_QUANTILES = (0.5, 0.9, 0.95, 0.99)

# Context lengths within two percent of each other are taken alike.
_PER_E_FOLD = 50.0
# Requests are judged so many at a time.
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A latency over all requests, milliseconds."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a run went.

    Shares are of the requests that an idle deployment could have served within both targets.

    Attributes:
        requests: Requests served.
        infeasible: Requests that not even idle engines could serve within the targets.
        within_both: Share within both targets.
        within_ttft: Share within the TTFT target.
        within_itl: Share within the ITL target.
        worst: Lowest share within both targets of five minutes, which are counted one after the other.
        ttft: Time to first token.
        itl: Inter-token latency, of requests with more than one token.
        gpu_hours: GPU-hours of all workers there were: starting, serving and draining; after the last arrival only of
            those that had something to do.
        bound_gpu_hours: GPU-hours with which every token is made by a worker that is always busy at its best
            throughput within target; nobody needs fewer.
        scalings_per_hour: Changes of targets per hour.
        wasted_worker_minutes: Minutes of workers that never served anything: starting.
    """

    requests: int
    infeasible: int
    within_both: float
    within_ttft: float
    within_itl: float
    worst: float
    ttft: Latency
    itl: Latency
    gpu_hours: float
    bound_gpu_hours: float
    scalings_per_hour: float
    wasted_worker_minutes: float

    @property
    def over_bound(self) -> float:
        """GPU-hours over their lower bound."""
        return self.gpu_hours / self.bound_gpu_hours if self.bound_gpu_hours else math.nan


class ScoreKeeper:
    """Takes note of every request that ends: seventeen bytes each, so that long traces fit."""

    def __init__(self, engines: CostedEngines, targets: Targets, *, aggregated: bool = False) -> None:
        """Begin with nothing.

        Args:
            engines: What workers can really do.
            targets: What requests are scored by.
            aggregated: Whether the workers that decode prefill as well.
        """
        self._targets = targets
        self._arrivals, self._ttft, self._itl = array("d"), array("f"), array("f")
        self._feasible = array("b")
        self._bound_gpu_s = 0.0
        self._isl: list[int] = []
        self._osl: list[int] = []
        self._idle_ttft_ms = lru_cache(maxsize=1 << 16)(engines.prefill.ttft_ms)
        self._gpu_s_per_token = lru_cache(maxsize=None)(
            lambda context: 1 / engines.decode.best_throughput_per_gpu(targets.itl_ms, context)
        )
        self._idle_itl_ms = lru_cache(maxsize=None)(lambda context: engines.decode.itl_ms(1, context))
        self._prefill_gpus = engines.decode.gpus if aggregated else engines.prefill.gpus

    def completed(self, request: Request) -> None:
        """Take note of a request that ended."""
        first_token_s, completed_s, osl = request.first_token_s, request.completed_s, request.osl
        assert first_token_s is not None  # noqa: S101 - it has ended
        assert completed_s is not None  # noqa: S101
        self._arrivals.append(request.arrival_s)
        self._ttft.append((first_token_s - request.arrival_s) * 1000)
        self._itl.append((completed_s - first_token_s) / (osl - 1) * 1000 if osl > 1 else 0.0)
        self._isl.append(request.isl)
        self._osl.append(osl)
        if len(self._osl) >= _AT_ONCE:
            self._judge()

    def _judge(self) -> None:
        """Work out, for many requests at once, what idle engines would have done with them."""
        isl, osl = np.array(self._isl, np.int64), np.array(self._osl, np.int64)
        self._isl, self._osl = [], []
        idle_ttft_ms = _look_up(isl, lambda length: self._idle_ttft_ms(int(length)))
        buckets = (np.log(isl + osl / 2) * _PER_E_FOLD).astype(np.int64)
        idle_itl_ms = _look_up(buckets, lambda bucket: self._idle_itl_ms(_context(bucket)))
        gpu_s_per_token = _look_up(buckets, lambda bucket: self._gpu_s_per_token(_context(bucket)))
        feasible = (idle_ttft_ms <= self._targets.ttft_ms) & (idle_itl_ms <= self._targets.itl_ms)
        self._feasible.frombytes(feasible.astype(np.int8).tobytes())
        gpu_s = idle_ttft_ms / 1000 * self._prefill_gpus + osl * gpu_s_per_token
        self._bound_gpu_s += float(gpu_s.sum())

    def attained(self, span_s: float) -> tuple[float | None, ...]:
        """Share within both targets of the requests that arrived in each span from time 0 on; None where none did.

        Args:
            span_s: Length of a span, seconds.
        """
        self._judge()
        arrivals, feasible = np.frombuffer(self._arrivals), np.frombuffer(self._feasible, np.int8).astype(bool)
        if not len(arrivals):
            return ()
        total, good = _by_span(arrivals, feasible, self._within_both(), 0.0, span_s)
        return tuple(float(part / whole) if whole else None for part, whole in zip(good, total, strict=True))

    def _within_both(self) -> NDArray[np.bool_]:
        ttft, itl = np.frombuffer(self._ttft, np.float32), np.frombuffer(self._itl, np.float32)
        return (ttft <= self._targets.ttft_ms) & (itl <= self._targets.itl_ms)

    def score(self, *, gpu_hours: float, hours: float, scalings: int, wasted_worker_minutes: float) -> Score:
        """The score of everything noted."""
        self._judge()
        ttft, itl = np.frombuffer(self._ttft, np.float32), np.frombuffer(self._itl, np.float32)
        feasible = np.frombuffer(self._feasible, np.int8).astype(bool)
        within_ttft, within_itl = ttft <= self._targets.ttft_ms, itl <= self._targets.itl_ms
        both = self._within_both()
        return Score(
            requests=len(ttft),
            infeasible=int((~feasible).sum()),
            within_both=_share(both[feasible]),
            within_ttft=_share(within_ttft[feasible]),
            within_itl=_share(within_itl[feasible]),
            worst=_worst(np.frombuffer(self._arrivals), feasible, both),
            ttft=_latency(ttft),
            itl=_latency(itl[itl > 0]),
            gpu_hours=gpu_hours,
            bound_gpu_hours=self._bound_gpu_s / 3600,
            scalings_per_hour=scalings / hours if hours else 0.0,
            wasted_worker_minutes=wasted_worker_minutes,
        )


def _context(bucket: int) -> float:
    """The middle of the contexts that are taken alike, tokens."""
    return math.exp((bucket + 0.5) / _PER_E_FOLD)


def _look_up(keys: NDArray[np.int64], answer: Callable[[int], float]) -> NDArray[np.float64]:
    """The answer for each key, asked once for equal ones."""
    different, places = np.unique(keys, return_inverse=True)
    return np.array([answer(key) for key in different.tolist()], float)[places]


def _share(within: NDArray[np.bool_]) -> float:
    return float(within.mean()) if len(within) else math.nan


def _worst(arrivals: NDArray[np.float64], counted: NDArray[np.bool_], both: NDArray[np.bool_]) -> float:
    """Lowest share of ``both`` among those counted that arrived within a span."""
    if not counted.any():
        return math.nan
    first = float(arrivals.min(where=counted, initial=math.inf))
    total, good = _by_span(arrivals, counted, both, first, WORST_SPAN_S)
    # A span with a handful of requests says nothing.
    many = total >= max(1, int(0.01 * total.max()))
    return float((good[many] / total[many]).min())


def _by_span(
    arrivals: NDArray[np.float64],
    counted: NDArray[np.bool_],
    both: NDArray[np.bool_],
    first_s: float,
    span_s: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of those counted arrived in each span from ``first_s`` on, and how many of these were within both."""
    spans = int((arrivals.max() - first_s) // span_s) + 1
    total, good = np.zeros(spans, np.int64), np.zeros(spans, np.int64)
    # Copies of all at once would take more memory than everything that was noted.
    for begin in range(0, len(arrivals), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        span = ((arrivals[part] - first_s) // span_s).astype(np.int64)
        total += np.bincount(span[counted[part]], minlength=spans)
        good += np.bincount(span[counted[part] & both[part]], minlength=spans)
    return total, good


def _latency(values: NDArray[np.float32]) -> Latency:
    if not len(values):
        return Latency(mean=math.nan, p50=math.nan, p90=math.nan, p95=math.nan, p99=math.nan)
    p50, p90, p95, p99 = map(float, np.quantile(values, _LATENCY_QUANTILES))
    return Latency(mean=float(values.mean()), p50=p50, p90=p90, p95=p95, p99=p99)
