"""Sizing of one pool whose workers serve both phases.

A step of an engine takes up a chunk of a prompt and gives every sequence of its batch a token, so that it lasts as long
as both together. A worker that spends the share u of its time on prompts leaves 1 - u for its batch: ITL grows to
ITL(batch) / (1 - u), and a prompt takes its own time and that of the batch in the steps it needs. The next request goes
to whoever has the fewest sequences, so that all batches swing alike, and whoever has just got one is passed over.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from planner.core.correction import HIGHEST, LOWEST
from planner.core.decision import LoadForecast
from planner.core.expectation import decode_concurrency, expected_itl_ms, expected_ttft_ms
from planner.core.interruption import Interrupted
from planner.core.lengths import LengthShape
from planner.core.observation import Observation
from planner.core.queueing import WaitTail, averaged, normal_beyond, overlap
from planner.core.search import first_that, where_reached
from planner.core.sizing import Corrections, Requirement, Situation, Sizing, Spread, Task
from planner.core.slo import Case, SloSizing
from planner.core.throughput import ThroughputSizing

if TYPE_CHECKING:
    from profiles import EngineProfile

# Beyond this share of its time on prompts a worker is as good as overloaded, and its latencies tell nothing.
_MOST_BUSY = 0.95
_ROUNDING = 1e-9
# Standard error of what is learnt of burstiness, over itself.
_DOUBT = 0.23
# Outputs are of whole tokens; from here on they are of two.
_SEVERAL = 1.5


class AggregatedSloSizing(SloSizing):
    """The fewest workers with which the share of requests that meet both targets reaches a percentile."""

    # One pool shares its budget with nobody, and its requests are taken to find free workers.
    split = Sizing.split
    late_by_dispatch = Sizing.late_by_dispatch

    def __init__(self, profile: EngineProfile, percentile: float | None, step_tokens: int) -> None:
        """Prepare.

        Args:
            profile: What engines can do; of one and the same engine in both roles.
            percentile: Percentage of requests that should meet both targets; None for the mean latencies to meet them.
            step_tokens: Tokens of prompts that one step of an engine takes up.
        """
        super().__init__(profile, percentile)
        self.step_tokens = step_tokens

    def required(self, task: Task) -> Requirement:
        """The workers with which the load meets the targets as often as wanted, all of them decode workers."""
        case = _SharedCase(self, task, self.step_tokens)
        return Requirement(
            prefill=0,
            decode=case.fewest_workers(),
            prefill_feasible=case.prefill_feasible,
            decode_feasible=case.decode_feasible,
            warnings=_warnings(self.profile, task, case.prefill_feasible, case.decode_feasible),
        )

    def prefill_ratio(self, observation: Observation, situation: Situation) -> float | None:
        """How much slower prefill seems than its profile: the factor that explains the mean TTFT, waiting included."""
        rate, workers, batch = observation.request_rate_rps, observation.decode, decode_concurrency(observation)
        if not (rate and observation.isl and observation.osl and observation.ttft_ms and workers and workers.ready):
            return None
        if batch is None:
            return None
        context = observation.isl + observation.osl / 2
        step_s = self.profile.decode.itl_ms(max(1.0, batch), context) / 1000 * min(1.0, batch)
        spread = self.prefill_work(observation.isl, 1.0, situation).spread
        situation = _felt(situation, spread)
        peaks = _peaks(spread, situation)
        isl, ready = observation.isl, workers.ready

        def mean_ttft_ms(slowness: float) -> float:
            work = self.prefill_work(isl, slowness, situation)
            service_s = work.service_s + step_s * isl / self.step_tokens
            return _mean_ttft_s(service_s, work.variability, ready, rate, peaks) * 1000

        return where_reached(mean_ttft_ms, observation.ttft_ms, LOWEST, HIGHEST)

    def expected_itl_ms(self, observation: Observation, corrections: Corrections, situation: Situation) -> float | None:
        """ITL of a worker that prefills what arrives besides, milliseconds; None if it cannot be told."""
        if not observation.isl:
            return None
        spread = LengthShape().learn(observation.isl_quantiles, observation.isl).spread()
        work = self.prefill_work(observation.isl, corrections.prefill, Situation(isl_spread=spread))
        return _expected_itl_ms(self.profile, observation, work.service_s, situation.lengthening)


class _SharedCase(Case):
    """One load under one set of targets, on workers that do everything."""

    def __init__(self, sizing: SloSizing, task: Task, step_tokens: int) -> None:
        spread = sizing.prefill_work(task.load.isl, task.corrections.prefill, task.situation).spread
        # Mean latencies are those of the mean load, however it varies.
        load = task.load if sizing.wanted is None else _surging(task, spread)
        super().__init__(sizing, replace(task, load=load, situation=_felt(task.situation, spread)))
        self._step_tokens = step_tokens
        self._peaks = _peaks(self._work.spread, self._situation)
        self._arrivals = _arrivals(self._situation)
        self._overlap = overlap(self._situation.osl_spread)
        self._prompt_variation = _second_moment(self._work.spread) - 1
        self._met_by = lru_cache(maxsize=None)(self._met_with)

    @property
    def catching_up_s(self) -> float:
        """What a request that waited takes of a worker, which runs batches as large as it can.

        Each takes the time of its prompt and its share of the steps, seconds.
        """
        largest = float(self._curve.sizes[-1])
        return self._work.service_s + self._load.osl * self._step_s(largest) / largest

    def fewest_workers(self) -> int:
        """The fewest workers that meet the targets as often as wanted."""
        if self._load.requests <= 0 and not self._situation.queued and not self._situation.decoding:
            return 0
        wanted = 0.5 if self._wanted is None else self._wanted
        return first_that(
            lambda number: self._met_by(number) >= wanted, max(self._prefill_floor(), self._decode_floor())
        )

    def _met_with(self, workers: int) -> float:
        """Share of requests within both targets, over everything the load may turn out to be."""
        # What waits for its prompt is to be decoded by the same workers.
        more_rps = self.catching_up_rps(workers)
        return math.fsum(
            weight * self._met_under(workers, prefill_rps + more_rps, decode_rps + more_rps)
            for weight, prefill_rps, decode_rps in self._loads
        )

    def _met_under(self, workers: int, prefill_rps: float, decode_rps: float) -> float:
        busy = prefill_rps * self._work.service_s / workers
        if busy >= 1:
            return 0.0
        tokens_rps = decode_rps * self._load.osl * self._corrections.decode / workers
        batch = self._curve.batch_at(tokens_rps / (1 - busy))
        if math.isinf(batch):
            return 0.0
        service_s = self._prompt_s(batch)
        if workers <= prefill_rps * service_s:
            return 0.0
        wait = WaitTail(workers, prefill_rps, service_s, self._work.variability, self._peaks)
        return self._prompts_met(service_s, wait) * self._tokens_met(workers, prefill_rps, batch, busy, wait)

    def _step_s(self, batch: float) -> float:
        """A step of a batch without a prompt, as slow as engines are."""
        return self._corrections.decode * float(np.interp(batch, self._curve.sizes, self._curve.itl_s))

    def _prompt_s(self, batch: float) -> float:
        """Mean time of a prompt beside a batch, seconds."""
        return self._work.service_s + self._step_s(batch) * min(1.0, batch) * self._load.isl / self._step_tokens

    def _prompts_met(self, service_s: float, wait: WaitTail) -> float:
        """Share of the requests that can meet the TTFT target at all that do."""
        target_s, work = self._targets.ttft_ms / 1000, self._work
        if self._wanted is None:
            return float(service_s + wait.probability * wait.mean_s <= target_s)
        possible = [(share, time_s) for share, time_s in work.spread if time_s <= target_s]
        if not self.prefill_feasible or not possible:
            return 1.0
        slowed, slowest = service_s / work.service_s, self._prompt_s(max(1.0, self._batch)) / work.service_s

        def late(time_s: float) -> float:
            if time_s * slowest <= target_s < time_s * slowed:
                return 1.0
            # One that is late beside the largest batch within the ITL target is no reason for smaller ones.
            return wait.beyond(target_s - time_s * slowed)

        missed = math.fsum(share * late(time_s) for share, time_s in possible)
        return 1 - missed / math.fsum(share for share, _ in possible)

    def _tokens_met(self, workers: int, rate_rps: float, batch: float, busy: float, wait: WaitTail) -> float:
        """Share of requests whose tokens come in time, whatever prompts come in between and however batches vary."""
        target_s = self._itl_s * self._corrections.decode
        if not self.decode_feasible or batch <= 0:
            return 1.0
        if self._wanted is None:
            return float(self._step_s(batch) / (1 - busy) <= target_s)
        elasticity = self._curve.elasticity(batch)
        variance = self._batch_variance(workers, batch, busy, elasticity)
        # The larger a batch, the more sequences there are that see it.
        seen = batch + variance / batch
        step_s = self._step_s(seen)
        interrupted = Interrupted(
            lone_s=self._step_s(1.0),
            step_s=step_s,
            rise_s=self._step_s(seen + math.sqrt(variance)) - step_s,
            busy=busy,
            prompts=self._work.spread,
            prompts_rps=rate_rps,
            burstiness=self._situation.burstiness,
            workers=workers,
            waiting=wait.probability,
            rounds=1 + wait.mean_s / self._work.service_s,
            other=self._elsewhere(step_s * rate_rps / workers / (1 - busy) ** 2),
        )
        missed = 0.0
        for share, ratio in self._situation.osl_spread:
            steps = self._steps(ratio)
            if not steps:
                continue
            evened = math.sqrt(averaged(ratio * (1 - elasticity)))
            missed += share * interrupted.late(target_s, steps, evened)
        room = 1 - normal_beyond(float(self._curve.sizes[-1]), batch, variance)
        return room * (1 - missed)

    def _steps(self, ratio: float) -> float:
        """Tokens after the first of an output that is so many times the mean; a single token has no ITL."""
        tokens = ratio * self._load.osl
        return max(1.0, tokens - 1) if tokens >= _SEVERAL else 0.0

    def _elsewhere(self, turns: float) -> float:
        """Share of prompts that do not go where an output was over just before.

        A worker whose output is over before all free ones have had a prompt has the fewest sequences again. Requests
        that come together go to different workers all the same.

        Args:
            turns: How often all free workers are given a prompt while an output gets a token.
        """
        over = math.fsum(share * math.exp(-self._steps(ratio) * turns) for share, ratio in self._situation.osl_spread)
        return 1 - over / self._peaks

    def _batch_variance(self, workers: int, batch: float, busy: float, elasticity: float) -> float:
        """Variance of the batch that all workers have alike, as the next request goes to whoever has fewest.

        Whoever arrives adds a sequence, and with its prompt holds up the others, so that more pile up: together
        1 / (1 - busy) sequences, some more and some less as prompts are long. And sequences slow each other down.
        """
        held_up = busy / (1 - busy)
        kicks = self._arrivals / (1 - busy) ** 2 + held_up**2 * self._prompt_variation
        peaks = 1 + (kicks - 1) * self._overlap
        return batch / workers * self._context_moment * peaks / (1 - elasticity)


class AggregatedThroughputSizing(ThroughputSizing):
    """Workers so that their throughput at the targets covers both phases, at full utilisation.

    The time that prompts take leaves less for the batch, which must be the smaller for its ITL to meet the target.
    """

    def required(self, task: Task) -> Requirement:
        """The fewest workers whose throughput covers prompts and tokens, all of them decode workers."""
        load, corrections = task.load, task.corrections
        idle_ms = self._prefill.ttft_ms(load.isl) * min(1.0, corrections.prefill)
        prompts_s = load.request_rate_rps * idle_ms / 1000
        tokens_rps = load.request_rate_rps * load.osl
        context = load.isl + load.osl / 2
        itl_ms = task.targets.itl_ms / corrections.decode
        feasible = self._decode.operating_point(itl_ms, context).feasible

        def covers(workers: int) -> bool:
            left = 1 - prompts_s / workers
            if left <= _ROUNDING:
                return False
            point = self._decode.operating_point(itl_ms * left if feasible else itl_ms, context)
            if feasible and not point.feasible:
                return False
            made = point.throughput_per_gpu * self._decode.gpus * left * workers
            return made >= tokens_rps * (1 - _ROUNDING)

        prefill_feasible = idle_ms <= task.targets.ttft_ms
        return Requirement(
            prefill=0,
            decode=first_that(covers, max(1, math.floor(prompts_s))) if load.requests > 0 else 0,
            prefill_feasible=prefill_feasible,
            decode_feasible=feasible,
            warnings=_warnings(self._profile, task, prefill_feasible, feasible),
        )

    def expected_itl_ms(self, observation: Observation, corrections: Corrections, situation: Situation) -> float | None:
        """ITL of a worker that prefills what arrives besides, milliseconds; None if it cannot be told."""
        del situation
        idle_ms = expected_ttft_ms(self._profile, observation)
        if idle_ms is None:
            return None
        return _expected_itl_ms(self._profile, observation, idle_ms / 1000 * min(1.0, corrections.prefill))


def _expected_itl_ms(
    profile: EngineProfile, observation: Observation, prompt_s: float, lengthening: float = 1.0
) -> float | None:
    """ITL of workers that spend a mean time on each prompt."""
    alone_ms = expected_itl_ms(profile, observation, lengthening)
    requests = observation.requests_completed or observation.requests_started
    if alone_ms is None or not (observation.decode and observation.decode.ready and requests):
        return None
    busy = requests / observation.interval * prompt_s / observation.decode.ready
    return alone_ms / (1 - busy) if busy < _MOST_BUSY else None


def _surging(task: Task, spread: Spread) -> LoadForecast:
    """The load, which surges within the interval besides being uncertain, by what windows show and no prompt feels."""
    load, situation = task.load, task.situation
    tokens_rps = load.prefill_requests.mean * load.isl / load.interval
    unfelt = situation.burstiness * (1 - _DOUBT) - _felt(situation, spread).burstiness
    if unfelt <= 0 or not tokens_rps:
        return load
    # Work varies less than tokens.
    evener = _second_moment(spread) / _second_moment(situation.isl_spread)
    swing = math.sqrt(unfelt / (situation.burstiness - 1) * situation.surges_tps / tokens_rps * evener)
    # Tokens count by the load that their requests meet: in a surge they are more.
    prefill, decode = (
        band.scaled(1 / (1 + swing**2)).widened(swing * band.mean)
        for band in (load.prefill_requests, load.decode_requests)
    )
    return replace(
        load, input_tokens=prefill.scaled(max(1.0, load.isl)), output_tokens=decode.scaled(max(1.0, load.osl))
    )


def _felt(situation: Situation, spread: Spread) -> Situation:
    """The burstiness of what comes within the time of a prompt, where it is known how many are taken up at once."""
    if situation.peakedness is None:
        return situation
    arrivals = 1 + (situation.peakedness - 1) / overlap(spread)
    burstiness = 1 + (arrivals - 1) / _second_moment(situation.isl_spread)
    return replace(situation, burstiness=min(situation.burstiness, burstiness))


def _peaks(spread: Spread, situation: Situation) -> float:
    """Peakedness of requests with such service times."""
    return 1 + (_arrivals(situation) - 1) * overlap(spread)


def _arrivals(situation: Situation) -> float:
    """Burstiness of requests, from that of their tokens, which varies less where lengths vary, too."""
    return 1 + (situation.burstiness - 1) * _second_moment(situation.isl_spread)


def _mean_ttft_s(service_s: float, variability: float, workers: int, rate_rps: float, peaks: float) -> float:
    if workers <= rate_rps * service_s:
        return math.inf
    wait = WaitTail(workers, rate_rps, service_s, variability, peaks)
    return service_s + wait.probability * wait.mean_s


def _second_moment(spread: Spread) -> float:
    """Mean square over the square of the mean."""
    mean = math.fsum(share * value for share, value in spread)
    return math.fsum(share * value**2 for share, value in spread) / mean**2


def _warnings(profile: EngineProfile, task: Task, prefill_feasible: bool, decode_feasible: bool) -> tuple[str, ...]:
    """What is out of reach even of an idle worker."""
    load, found = task.load, []
    if not prefill_feasible:
        idle_ms = profile.prefill.ttft_ms(load.isl) * task.corrections.prefill
        found.append(
            f"The TTFT target of {task.targets.ttft_ms:g} ms is infeasible: at ISL {load.isl:.0f} an idle worker takes "
            f"{idle_ms:.0f} ms; prompts are sized for throughput."
        )
    if not decode_feasible:
        context = load.isl + load.osl / 2
        idle_ms = profile.decode.itl_ms(1, context) * task.corrections.decode
        found.append(
            f"The ITL target of {task.targets.itl_ms:g} ms is infeasible: at context length {context:.0f} a worker "
            f"takes {idle_ms:.1f} ms for a single sequence; tokens are sized for throughput."
        )
    return tuple(found)
