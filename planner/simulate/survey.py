"""A look at what will arrive, and the workers that are there when it begins."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.engines import load_profile
from planner.settings import Settings
from planner.simulate.contest import Load, limits_of
from planner.simulation.rates import holds_rates
from planner.simulation.trace import Trace, TraceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is to serve.

    Attributes:
        requests: How many requests.
        length_s: From the first to the last of them, seconds.
        isl: Their mean input sequence length, tokens.
        osl: Their mean output sequence length, tokens.
        early_rps: Requests per second in the first minutes.
        early_isl: Mean input sequence length in the first minutes, tokens.
        early_osl: Mean output sequence length in the first minutes, tokens.
        trace: The file as it was read, with what was left out of it; None for a pattern and for recorded rates.
    """

    requests: int
    length_s: float
    isl: float
    osl: float
    early_rps: float
    early_isl: float
    early_osl: float
    trace: Trace | None = None


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    isl: int = 0
    osl: int = 0

    def means(self) -> tuple[float, float]:
        return self.isl / max(1, self.requests), self.osl / max(1, self.requests)


def survey(load: Load, first_s: float = 600.0) -> Survey:
    """Look at all arrivals once.

    Raises:
        TraceError: They cannot be read, or there are none.
    """
    trace = None if load.trace is None or holds_rates(load.trace) else Trace(load.trace)
    early, late, last = _Tally(), _Tally(), 0.0
    for time, isl, osl in load.arrivals(trace):
        tally = early if time < first_s else late
        tally.requests += 1
        tally.isl += isl
        tally.osl += osl
        last = time
    if not early.requests + late.requests:
        raise TraceError("nothing arrives: every rate is 0, or --start, --duration and --rate-scale leave nothing")
    mean_isl, mean_osl = _Tally(early.requests + late.requests, early.isl + late.isl, early.osl + late.osl).means()
    early_isl, early_osl = early.means()
    return Survey(
        requests=early.requests + late.requests,
        length_s=last,
        isl=mean_isl,
        osl=mean_osl,
        early_rps=early.requests / (min(first_s, last) or 1.0),
        early_isl=early_isl,
        early_osl=early_osl,
        trace=trace,
    )


def starting_workers(seen: Survey, settings: Settings) -> tuple[int, int]:
    """Workers that serve the first minutes at two thirds of their throughput: nobody is judged by a cold start.

    No fewer than the minimum, and no more than the GPU budget holds.
    """
    limits = limits_of(settings)
    wished = limits.raise_to_minimum(*_busy_workers(seen, settings))
    return limits.cut_to_budget(*wished)


def _busy_workers(seen: Survey, settings: Settings) -> tuple[int, int]:
    if not seen.early_rps:
        return 0, 0
    profile = load_profile(settings)
    prefill = seen.early_rps * profile.prefill.ttft_ms(max(1.0, seen.early_isl)) / 1000
    context = seen.early_isl + seen.early_osl / 2
    per_worker = profile.decode.best_throughput_per_gpu(settings.itl, max(1.0, context)) * profile.decode.gpus
    decode = seen.early_rps * seen.early_osl / per_worker
    if settings.aggregated:
        return 0, math.ceil(1.5 * (prefill + decode))
    return math.ceil(1.5 * prefill), math.ceil(1.5 * decode)
