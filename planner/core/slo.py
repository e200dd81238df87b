"""Sizing for the share of requests that meet their targets.

Prefill is a queue with several servers, decode a set of batches whose speed depends on their size; how many requests
meet their targets is worked out for every number of workers and over everything the load may turn out to be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from planner.core.budget import Limits
from planner.core.correction import HIGHEST, LOWEST
from planner.core.curve import DecodeCurve
from planner.core.dispatch import Waits
from planner.core.expectation import expected_itl_ms
from planner.core.observation import Observation
from planner.core.outcomes import OUTCOMES
from planner.core.queueing import normal_beyond
from planner.core.search import first_that, where_reached
from planner.core.sizing import Corrections, Requirement, Situation, Targets, Task, infeasible_itl, infeasible_ttft

if TYPE_CHECKING:
    from profiles import EngineProfile

# A target that most requests cannot meet even on an idle engine is none to size for.
_MOST = 0.5
# Context lengths and lengths within two percent of each other are taken alike, so that answers can be kept.
_GRAIN = 50.0
# So many workers that no request is late for want of one.
_ENDLESS = 1 << 20
# Where more requests than this are late on an idle engine, how many are says more of lengths than of queues.
_MOST_HOPELESS = 0.05
# A router that deals out blindly makes a few requests late however many workers there are: at most so many times those
# of a single queue are set against it.
_MOST_FOR_BLINDNESS = 2.0
# Workers are not moved from one pool to the other for fewer requests than this share.
_WORTH_MOVING = 0.05


@dataclass(frozen=True, slots=True)
class _Prefill:
    """Prefill work: service times (s) with the share of requests that have them, their mean, and their variability."""

    spread: tuple[tuple[float, float], ...]
    service_s: float
    variability: float


class SloSizing:
    """The fewest GPUs with which the share of requests that meet both targets reaches a percentile."""

    looks_ahead = True

    def __init__(self, profile: EngineProfile, percentile: float | None) -> None:
        """Prepare.

        Args:
            profile: What engines can do.
            percentile: Percentage of requests that should meet both targets; None for the mean latencies to meet them.
        """
        self._profile = profile
        self._wanted = None if percentile is None else percentile / 100
        self._ttft_s = lru_cache(maxsize=4096)(lambda grain: profile.prefill.ttft_ms(math.exp(grain / _GRAIN)) / 1000)
        self._curve = lru_cache(maxsize=64)(lambda grain: DecodeCurve(profile, math.exp(grain / _GRAIN)))

    def required(self, task: Task) -> Requirement:
        """The workers with which the load meets the targets as often as wanted."""
        case = Case(self, task)
        prefill, decode = case.fewest()
        if task.situation.blindness:
            one_queue = replace(task, situation=replace(task.situation, blindness=0.0))
            prefill = min(prefill, math.ceil(_MOST_FOR_BLINDNESS * Case(self, one_queue).fewest()[0]))
        return Requirement(
            prefill=prefill,
            decode=decode,
            prefill_feasible=case.prefill_feasible,
            decode_feasible=case.decode_feasible,
            warnings=case.warnings(),
        )

    def split(
        self, task: Task, limits: Limits, needs: tuple[int, int], previous: tuple[int | None, int | None]
    ) -> tuple[int, int]:
        """The workers within the budget, not above ``needs``, with which most requests meet both targets."""
        case = Case(self, task)
        assert limits.max_gpus is not None  # noqa: S101 - only a budget asks for a split
        best, best_value = (limits.min_endpoint, limits.min_endpoint), -1.0
        for prefill in range(limits.min_endpoint, needs[0] + 1):
            decode = min(needs[1], (limits.max_gpus - prefill * limits.prefill_gpus) // limits.decode_gpus)
            if decode < limits.min_endpoint:
                break
            value = case.value(prefill, decode) + (_WORTH_MOVING if (prefill, decode) == previous else 0.0)
            if value > best_value + 1e-12:
                best, best_value = (prefill, decode), value
        return best

    def prefill_ratio(self, observation: Observation, situation: Situation) -> float | None:
        """How much slower prefill seems than its profile: the factor that explains the mean TTFT, waiting included."""
        rate, workers = observation.request_rate_rps, observation.prefill
        if not (rate and observation.isl and observation.ttft_ms and workers and workers.ready):
            return None
        isl, ready = observation.isl, workers.ready

        def mean_ttft_ms(slowness: float) -> float:
            work = self.prefill_work(isl, slowness, situation)
            return _mean_ttft_s(work, ready, rate, situation.blindness) * 1000

        return where_reached(mean_ttft_ms, observation.ttft_ms, LOWEST, HIGHEST)

    def late_by_dispatch(
        self, observation: Observation, targets: Targets, slowness: float, situation: Situation
    ) -> tuple[float, float] | None:
        """Shares of requests expected beyond the TTFT target in one queue, and in a queue for each worker."""
        rate, workers = observation.request_rate_rps, observation.prefill
        if not (rate and observation.isl and workers and workers.ready):
            return None
        work, target_s = self.prefill_work(observation.isl, slowness, situation), targets.ttft_ms / 1000
        hopeless = math.fsum(share for share, time in work.spread if time > target_s)
        if workers.ready <= rate * work.service_s or hopeless > _MOST_HOPELESS:
            return None
        together, apart = (
            _late(work, Waits(workers.ready, rate, work.service_s, work.variability, blindness), target_s)
            for blindness in (0.0, 1.0)
        )
        return together, apart

    def expected_itl_ms(self, observation: Observation, corrections: Corrections, situation: Situation) -> float | None:
        """ITL of a decode worker at the observed concurrency and context length."""
        del corrections
        return expected_itl_ms(self._profile, observation, situation.lengthening)

    def prefill_work(self, isl: float, slowness: float, situation: Situation) -> _Prefill:
        """Service times of inputs with a mean length."""
        times = [
            (share, slowness * self._ttft_s(round(math.log(max(1.0, isl * ratio)) * _GRAIN)))
            for share, ratio in situation.isl_spread
        ]
        mean = math.fsum(share * time for share, time in times)
        square = math.fsum(share * time * time for share, time in times)
        return _Prefill(tuple(times), mean, situation.burstiness * square / mean**2 / 2)

    def decode_curve(self, context_length: float) -> DecodeCurve:
        """The batches at a context length."""
        return self._curve(round(math.log(context_length) * _GRAIN))

    @property
    def profile(self) -> EngineProfile:
        """What engines can do."""
        return self._profile

    @property
    def wanted(self) -> float | None:
        """Share of requests that should meet both targets; None for mean latencies."""
        return self._wanted


class Case:
    """One load under one set of targets."""

    def __init__(self, sizing: SloSizing, task: Task) -> None:
        load, corrections, situation = task.load, task.corrections, task.situation
        self._targets, self._corrections, self._load = task.targets, corrections, load
        self._wanted = sizing.wanted
        if task.careful and self._wanted is not None:
            self._wanted = 1 - (1 - self._wanted) / 2
        self._profile = sizing.profile
        self._situation = situation
        self._work = sizing.prefill_work(load.isl, corrections.prefill, situation)
        # A sequence is in the batch as long as its output is: long outputs count as often as they are long.
        self._context = load.isl + load.osl / 2 * situation.lengthening
        square = (
            load.isl**2 * _moment(situation.isl_spread, 2)
            + load.isl * load.osl * situation.lengthening
            + load.osl**2 / 4 * _moment(situation.osl_spread, 3)
        )
        self._context_moment = square / self._context**2
        self._curve = sizing.decode_curve(self._context)
        self._itl_s = task.targets.itl_ms / 1000 / corrections.decode
        self._batch = self._curve.within(self._itl_s)
        self.prefill_feasible = self._work.spread[0][1] <= task.targets.ttft_ms / 1000 and (self._idle_share() >= _MOST)
        self.decode_feasible = self._batch >= 1
        self._loads = self._outcomes()
        self._prefill_met = lru_cache(maxsize=None)(self._prefill_met_at)
        self._decode_met = lru_cache(maxsize=None)(self._decode_met_at)

    def _idle_share(self) -> float:
        """Share of requests that an idle prefill worker serves within target."""
        target_s = self._targets.ttft_ms / 1000
        return math.fsum(share for share, time in self._work.spread if time <= target_s)

    def _outcomes(self) -> Sequence[tuple[float, float, float]]:
        """Weight, prefill arrivals and decode arrivals per second of everything the load may turn out to be."""
        load, rate = self._load, self._load.prefill_requests.mean / self._load.interval
        if rate <= 0 or self._wanted is None:
            return ((1.0, rate, load.decode_requests.mean / load.interval),)
        outcomes = []
        for outcome in OUTCOMES:
            prefill = outcome.of(load.prefill_requests) / load.interval
            decode = outcome.of(load.decode_requests) / load.interval
            outcomes.append((outcome.weight * prefill, prefill, decode))
        total = math.fsum(weight for weight, _, _ in outcomes)
        return [(weight / total, prefill, decode) for weight, prefill, decode in outcomes]

    @property
    def catching_up_s(self) -> float:
        """What a request that waited takes of a worker, seconds."""
        return self._work.service_s

    def catching_up_rps(self, workers: int) -> float:
        """What has to be served besides what arrives, so that those who wait are soon served; for so many workers."""
        situation, rate = self._situation, self._load.prefill_requests.mean / self._load.interval
        if situation.queued is None:
            return 0.0
        # By Little's law so many are on their way to a first token within target.
        waiting = situation.queued - rate * self._targets.ttft_ms / 1000
        if waiting > 0 and (pool := situation.prefill) is not None:
            # Workers asked for now help only later; those that are pending will have helped for about half of the time,
            # unless they are given up.
            coming = min(pool.pending, max(0, workers - pool.ready))
            served_rps = (min(workers, pool.ready) + coming / 2) / self.catching_up_s
            waiting += (rate - served_rps) * situation.startup_s
        return max(0.0, waiting) / situation.drain_s

    def _prefill_met_at(self, workers: int, arriving_rps: float) -> float:
        """Share of the requests that can meet the TTFT target at all that do."""
        target_s, work = self._targets.ttft_ms / 1000, self._work
        if workers == _ENDLESS:
            return 1.0
        rate_rps = arriving_rps + self.catching_up_rps(workers)
        if workers <= rate_rps * work.service_s:
            return 0.0
        if self._wanted is None:
            return float(_mean_ttft_s(work, workers, rate_rps, self._situation.blindness) <= target_s)
        wait = Waits(workers, rate_rps, work.service_s, work.variability, self._situation.blindness)
        possible = [(share, time) for share, time in work.spread if time <= target_s]
        if not self.prefill_feasible or not possible:
            return 1.0
        missed = math.fsum(share * wait.beyond(target_s - time) for share, time in possible)
        return 1 - missed / math.fsum(share for share, _ in possible)

    def _decode_met_at(self, workers: int, rate_rps: float) -> float:
        """Share of requests whose batch stays within the ITL target."""
        if workers == _ENDLESS:
            return 1.0
        tokens_rps = rate_rps * self._load.osl * self._corrections.decode
        batch = self._curve.batch_at(tokens_rps / workers) if workers else math.inf
        if math.isinf(batch):
            return 0.0
        if not self.decode_feasible:
            return 1.0
        most = self._batch * workers
        if self._wanted is None:
            return float(batch * workers <= most)
        # More sequences are slower, so that they pile up more than those of a queue with servers for all; and it is
        # their tokens that slow them, which vary more than their number.
        pile_up = self._context_moment / (1 - self._curve.elasticity(self._batch))
        variance = batch * workers * self._situation.burstiness * pile_up
        return 1 - normal_beyond(most + 0.5, batch * workers, variance)

    def met(self, prefill: int, decode: int) -> float:
        """Share of requests within both targets, over everything the load may turn out to be."""
        return math.fsum(
            weight * self._prefill_met(prefill, prefill_rps) * self._decode_met(decode, decode_rps)
            for weight, prefill_rps, decode_rps in self._loads
        )

    def value(self, prefill: int, decode: int) -> float:
        """What a deployment is worth; where nobody's targets can be met, what it can serve at all."""
        served = min(self._prefill_served(prefill), self._decode_served(decode), 1.0)
        return self.met(prefill, decode) + 1e-3 * served

    def _prefill_served(self, workers: int) -> float:
        rate = self._loads[0][1]
        return workers / (rate * self._work.service_s) if rate else 1.0

    def _decode_served(self, workers: int) -> float:
        tokens_rps = self._loads[0][2] * self._load.osl * self._corrections.decode
        batch = self._batch if self.decode_feasible else self._curve.sizes[-1]
        made = float(np.interp(batch, self._curve.sizes, self._curve.tokens_rps))
        return workers * made / tokens_rps if tokens_rps else 1.0

    def fewest(self) -> tuple[int, int]:
        """The workers with the fewest GPUs that meet the targets as often as wanted."""
        if self._load.requests <= 0 and not self._situation.queued and not self._situation.decoding:
            return 0, 0
        wanted = 0.5 if self._wanted is None else self._wanted
        prefill = first_that(lambda n: self.met(n, _ENDLESS) >= wanted, self._prefill_floor())
        decode = first_that(lambda n: self.met(_ENDLESS, n) >= wanted, self._decode_floor())
        while (now := self.met(prefill, decode)) < wanted:
            more_prefill = (self.met(prefill + 1, decode) - now) / self._profile.prefill.gpus
            more_decode = (self.met(prefill, decode + 1) - now) / self._profile.decode.gpus
            if max(more_prefill, more_decode) <= 1e-9:
                break
            # One at a time where that matters, and a few percent where they are many.
            if more_prefill >= more_decode:
                prefill += max(1, prefill // 50)
            else:
                decode += max(1, decode // 50)
        return prefill, decode

    def _prefill_floor(self) -> int:
        """Workers that the expected load keeps busy."""
        busy = self._load.prefill_requests.mean / self._load.interval * self._work.service_s
        return max(1, math.floor(busy))

    def _decode_floor(self) -> int:
        """Workers that the sequences which decode now fill, once they run at the target's speed."""
        batch = self._batch if self.decode_feasible else float(self._curve.sizes[-1])
        return max(1, math.ceil(self._situation.decoding / batch - 1e-9))

    def warnings(self) -> tuple[str, ...]:
        """What is out of reach."""
        found = []
        if not self.prefill_feasible:
            idle_ms = self._profile.prefill.ttft_ms(self._load.isl) * self._corrections.prefill
            found.append(infeasible_ttft(self._targets.ttft_ms, self._load.isl, idle_ms))
        if not self.decode_feasible:
            idle_ms = self._profile.decode.itl_ms(1, self._context) * self._corrections.decode
            found.append(infeasible_itl(self._targets.itl_ms, self._context, idle_ms))
        return tuple(found)


def _moment(spread: Sequence[tuple[float, float]], order: int) -> float:
    return math.fsum(share * ratio**order for share, ratio in spread)


def _late(work: _Prefill, wait: Waits, target_s: float) -> float:
    return math.fsum(share * (wait.beyond(target_s - time) if time <= target_s else 1.0) for share, time in work.spread)


def _mean_ttft_s(work: _Prefill, workers: int, rate_rps: float, blindness: float) -> float:
    if workers <= rate_rps * work.service_s:
        return math.inf
    return work.service_s + Waits(workers, rate_rps, work.service_s, work.variability, blindness).mean_s
