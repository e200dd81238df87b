"""The decision: from what was observed to how many workers should run."""

from __future__ import annotations

import math
from dataclasses import replace

from planner.core.correction import CorrectionFactor
from planner.core.decision import Action, Bound, Decision, Explanation, LoadForecast, PoolExplanation
from planner.core.demand import Demand, Sight
from planner.core.dispatch import share_beyond
from planner.core.draft import Draft, reason_of
from planner.core.expectation import sequences_decoding
from planner.core.observation import Observation
from planner.core.pool import Pool
from planner.core.rules import Rules
from planner.core.sizing import Corrections, Situation, Sizing, Task
from planner.core.startup import StartupTimes
from planner.core.traffic import Traffic

# However long workers take to start, nobody looks farther ahead than so many intervals.
_LONGEST_LOOK_STEPS = 8
# One low interval may be chance.
_SOONEST_BACK = 2
# Requests that come in bursts wait longer, however fast engines are: what is slower than learnt weighs less.
_RISING_TTFT = 1 / 3


class Policy:
    """Decides, once an interval, how many workers of each pool should run.

    It does no I/O and reads no clock: all it knows comes with the observations.
    """

    def __init__(self, sizing: Sizing, demand: Demand, rules: Rules) -> None:
        self._sizing = sizing
        self._demand = demand
        self._prefill, self._decode = (Pool(StartupTimes(rules.worker_startup_s)) for _ in range(2))
        self._prefill.correction = CorrectionFactor(rising=_RISING_TTFT)
        self._traffic = Traffic()
        self.rules = rules

    def obey(self, rules: Rules) -> None:
        """Go on under other rules."""
        self.rules = rules
        for pool in (self._prefill, self._decode):
            pool.startup.prior_s = rules.worker_startup_s

    def learn(self, observation: Observation, recorded: Explanation | None = None) -> None:
        """Take in one interval.

        Args:
            observation: The interval.
            recorded: What was learnt of it when it passed, if that was not now: what came between two adjustments is
                kept nowhere else.
        """
        self._traffic.learn(observation, recorded)
        self._demand.learn(observation, self._idle_intervals, self._traffic.peak)
        self._prefill.see(observation.prefill, observation.time)
        self._decode.see(observation.decode, observation.time)
        self._compare(observation)
        # While one pool changes, the other sees an unusual share of the load: neither's latencies are typical.
        if self._prefill.steadiness.steady and self._decode.steadiness.steady:
            self._prefill.correct()
            self._decode.correct()
            self._learn_dispatch(observation)

    def recall(self, observation: Observation, decision: Decision, *, reaction: bool = False) -> None:
        """Take in what was seen and decided before a restart, as if it had been here.

        Args:
            observation: What was seen.
            decision: What was decided then.
            reaction: Whether it was a reaction, from which no load is learnt.
        """
        why = decision.explanation
        if reaction:
            self._traffic.recall(why, observation.queued)
        else:
            self.learn(observation, why)
        unfounded = why.prefill.bound_by is Bound.BLIND and None in (why.prefill.previous, why.decode.previous)
        for pool, workers, explained in (
            (self._prefill, observation.prefill, why.prefill),
            (self._decode, observation.decode, why.decode),
        ):
            if reaction:
                pool.startup.see(workers, observation.time)
            if not unfounded:
                pool.recall(explained, decision.time)

    def recall_traffic(self, recorded: Explanation) -> None:
        """Go on from how unevenly requests came, as recorded: it is learnt in between, from what nobody kept."""
        self._traffic.recall(recorded)

    def interrupt(self) -> None:
        """Nobody watched for a while: patience begins anew."""
        self._prefill.window.interrupt()
        self._decode.window.interrupt()

    def _compare(self, observation: Observation) -> None:
        """Note what latencies were expected of what was seen."""
        situation = self._situation(observation)
        ratio = self._sizing.prefill_ratio(observation, situation)
        observed_ms = observation.ttft_ms
        self._prefill.observed_ms = observed_ms
        self._prefill.expected_ms = observed_ms / ratio if observed_ms and ratio else None
        self._decode.observed_ms = observation.itl_ms
        self._decode.expected_ms = self._sizing.expected_itl_ms(observation, self._corrections(), situation)

    def _learn_dispatch(self, observation: Observation) -> None:
        """Learn how requests find workers, from how many are late."""
        met, ttft_ms = self._traffic.met(observation), observation.ttft_quantiles_ms
        if met is None or not ttft_ms:
            return
        targets, slowness = self.rules.targets, self._corrections().prefill
        expected = self._sizing.late_by_dispatch(met, targets, slowness, self._situation(observation))
        if expected is not None:
            self._traffic.learn_dispatch(share_beyond(ttft_ms, targets.ttft_ms), *expected)

    def decide(self, observation: Observation) -> Decision:
        """The workers that should run from now on, after ``learn`` took in the same observation."""
        draft = self._begin(observation, self._demand.forecast())
        match self._demand.sight:
            case Sight.BLIND:
                draft = self._hold(draft, Bound.BLIND, "The load is unknown")
            case Sight.QUIET:
                draft = self._hold(draft, Bound.PATIENCE, "Nothing arrives, which is not confirmed yet")
            case Sight.IDLE:
                draft = self._rest(draft)
            case Sight.ACTIVE:
                draft = self._size(draft)
        return self._conclude(draft)

    def _begin(self, observation: Observation, forecast: LoadForecast | None) -> Draft:
        return Draft(
            observation=observation,
            forecast=forecast,
            corrections=self._corrections(),
            previous=(self._prefill.previous(observation.prefill), self._decode.previous(observation.decode)),
        )

    def react(self, observation: Observation) -> Decision:
        """An answer between two adjustments, for what is arriving and waiting now: it may only raise the targets."""
        self._traffic.glimpse(observation)
        for pool, workers in ((self._prefill, observation.prefill), (self._decode, observation.decode)):
            pool.startup.see(workers, observation.time)
        draft = self._begin(observation, self._demand.forecast())
        load = self._seen_load(observation, draft.forecast)
        if load is None:
            return self._conclude(self._hold(draft, Bound.BLIND, "What arrives now is unknown"))
        if observation.idle:
            return self._conclude(self._hold(draft, Bound.PATIENCE, "Nothing arrives now"))
        requirement = self._sizing.required(self._task(draft, load))
        limits = self.rules.limits
        needs = limits.raise_to_minimum(requirement.prefill, requirement.decode)
        kept = limits.raise_to_minimum(draft.previous[0] or 0, draft.previous[1] or 0)
        wishes = max(kept[0], needs[0]), max(kept[1], needs[1])
        targets = kept if limits.holds(*kept) else limits.cut_to_budget(*kept)
        if not limits.holds(*wishes):
            share = self._sizing.split(self._task(draft, load), limits, wishes, draft.previous)
            targets = limits.fill_up(targets, (max(targets[0], share[0]), max(targets[1], share[1])))
        targets = limits.fill_up(targets, wishes)
        return self._conclude(
            replace(
                draft,
                sized_for=load,
                requirement=requirement,
                needs=needs,
                kept=self._remember(observation.time, draft.previous, targets),
                targets=targets,
            )
        )

    def _remember(
        self, time: float, previous: tuple[int | None, int | None], targets: tuple[int, int]
    ) -> tuple[int | None, int | None]:
        """Let patience know what a reaction raised; the workers remembered of each pool.

        The next adjustment is not to give it back, on the mean of an interval in which less came at first.
        """
        raised = [target if target > (before or 0) else None for before, target in zip(previous, targets, strict=True)]
        for pool, target in zip((self._prefill, self._decode), raised, strict=True):
            if target is not None:
                pool.window.remember(time, target)
                pool.window.ask_back(time, self._patience_s)
        return raised[0], raised[1]

    def _seen_load(self, observation: Observation, forecast: LoadForecast | None) -> LoadForecast | None:
        """What arrives now, if that is more than expected by more than chance; else what is expected."""
        seen = observation.requests_started
        if seen is None:
            return None
        chance = 2 * math.sqrt(self._traffic.burstiness.at_least / max(1.0, seen))
        certain = seen * max(0.0, 1 - chance) * self._demand.interval / observation.interval
        if forecast is None or not forecast.requests:
            return self._demand.plain(certain, observation.isl, observation.osl)
        # Requests that are shorter than expected are less work, however many they are.
        work = certain * (observation.isl or forecast.isl) / forecast.isl
        return forecast.raised(
            max(0.0, certain - forecast.requests),
            prefill=max(0.0, work - forecast.prefill_requests.mean),
            decode=max(0.0, certain - forecast.decode_requests.mean),
        )

    def _corrections(self) -> Corrections:
        if not self.rules.correct:
            return Corrections()
        return Corrections(prefill=self._prefill.correction.value, decode=self._decode.correction.value)

    def _task(self, draft: Draft, load: LoadForecast) -> Task:
        return Task(
            load=load,
            targets=self.rules.targets,
            corrections=draft.corrections,
            situation=self._situation(draft.observation),
        )

    def _situation(self, observation: Observation) -> Situation:
        return Situation(
            isl_spread=self._traffic.isl.spread(),
            osl_spread=self._traffic.osl.spread(),
            burstiness=self._traffic.burstiness.in_queues,
            peakedness=self._traffic.peakedness.at_least,
            surges_tps=self._traffic.surges_tps,
            blindness=self._traffic.dispatch.certain,
            queued=observation.queued,
            decoding=sequences_decoding(observation, self.rules.targets.itl_ms),
            prefill=observation.decode if self.rules.limits.aggregated else observation.prefill,
            startup_s=self._startup_s,
            drain_s=self._demand.interval,
        )

    @property
    def _startup_s(self) -> float:
        if self.rules.limits.aggregated:
            return self._decode.startup.p90_s
        return max(self._prefill.startup.p90_s, self._decode.startup.p90_s)

    @property
    def _idle_intervals(self) -> int:
        """Idle intervals that confirm idleness."""
        return self._back_intervals if self.rules.idle_intervals is None else self.rules.idle_intervals

    @property
    def _patience_s(self) -> float:
        """Span whose highest need holds a pool up."""
        window_s = self.rules.scale_down_window_s
        return self._back_intervals * self._demand.interval if window_s is None else window_s

    @property
    def _back_intervals(self) -> int:
        """Until workers given up now are back: what is given up for a shorter lull is missing when load returns."""
        if not self._sizing.looks_ahead:
            return _SOONEST_BACK
        return max(_SOONEST_BACK, math.ceil(self._startup_s / self._demand.interval) + 1)

    def _hold(self, draft: Draft, bound: Bound, cause: str) -> Draft:
        """Keep what is there; where even that is unknown, the minimum."""
        kept = self.rules.limits.raise_to_minimum(draft.previous[0] or 0, draft.previous[1] or 0)
        targets = self.rules.limits.cut_to_budget(*kept)
        return replace(draft, needs=kept, targets=targets, bound=bound, cause=cause)

    def _rest(self, draft: Draft) -> Draft:
        self._prefill.window.forget()
        self._decode.window.forget()
        least = self.rules.limits.raise_to_minimum(0, 0)
        return replace(draft, needs=least, targets=least, bound=Bound.IDLE, cause="Nothing arrives")

    def _size(self, draft: Draft) -> Draft:
        assert draft.forecast is not None  # noqa: S101 - an active interval has just been learnt
        load, *others = self._loads_ahead(draft.forecast)
        limits = self.rules.limits
        requirement = self._sizing.required(self._task(draft, load))
        for other in others:
            requirement = requirement.at_least(self._sizing.required(self._task(draft, other)))
        if self._sizing.looks_ahead and (now := self._load_now(draft.observation, draft.forecast)) is not None:
            requirement = requirement.at_least(self._sizing.required(self._task(draft, now)))
        needs = limits.raise_to_minimum(requirement.prefill, requirement.decode)
        kept = self._worth_keeping(draft, load, needs)
        wishes = self._settle(draft, needs, kept)
        fitting = needs
        if not limits.holds(*needs):
            fitting = self._sizing.split(self._task(draft, load), limits, needs, draft.previous)
        return replace(
            draft,
            sized_for=load,
            requirement=requirement,
            needs=needs,
            kept=kept,
            targets=limits.fill_up(fitting, wishes),
        )

    def _load_now(self, observation: Observation, forecast: LoadForecast) -> LoadForecast | None:
        """What has just been seen, taken to go on: a smooth forecast is behind when callers change their ways."""
        if observation.requests_started is None:
            return None
        requests = observation.requests_started * self._demand.interval / observation.interval
        return replace(
            forecast,
            requests=requests,
            requests_p10=requests,
            requests_p90=requests,
            isl=observation.isl or forecast.isl,
            osl=observation.osl or forecast.osl,
            input_tokens=None,
            output_tokens=None,
        )

    def _loads_ahead(self, forecast: LoadForecast) -> list[LoadForecast]:
        """The loads to be ready for, now and when workers asked for now serve: the heaviest for each pool."""
        if not self._sizing.looks_ahead:
            return [forecast]
        interval = self._demand.interval
        first, last = math.floor(self._startup_s / interval) + 1, math.ceil(self._startup_s / interval) + 1
        steps = range(min(first, _LONGEST_LOOK_STEPS), min(last, _LONGEST_LOOK_STEPS) + 1)
        ahead = [load for step in steps if (load := self._demand.forecast(step)) is not None]
        prefill = max([forecast, *ahead], key=lambda load: load.prefill_requests.p90 * load.isl)
        decode = max([forecast, *ahead], key=lambda load: load.decode_requests.p90 * load.osl)
        return [prefill] if decode is prefill else [prefill, decode]

    def _worth_keeping(self, draft: Draft, load: LoadForecast, needs: tuple[int, int]) -> tuple[int, int]:
        """The workers that would be needed with half as many misses: not to be given up for so little."""
        if not self._sizing.looks_ahead or not load.requests:
            return needs
        if all(before is not None and before <= need for before, need in zip(draft.previous, needs, strict=True)):
            return needs
        assert draft.forecast is not None  # noqa: S101 - there is a load
        more = self._sizing.required(replace(self._task(draft, load), careful=True))
        return max(needs[0], more.prefill), max(needs[1], more.decode)

    def _settle(self, draft: Draft, needs: tuple[int, int], keep: tuple[int, int]) -> tuple[int, int]:
        now, patience_s = draft.observation.time, self._patience_s
        return (
            self._prefill.window.settle(now, patience_s, needs[0], draft.previous[0], keep[0]),
            self._decode.window.settle(now, patience_s, needs[1], draft.previous[1], keep[1]),
        )

    def _conclude(self, draft: Draft) -> Decision:
        if not draft.unfounded:
            self._prefill.standing, self._decode.standing = draft.targets
            for pool, before, target in zip((self._prefill, self._decode), draft.previous, draft.targets, strict=True):
                pool.startup.ask(before, target, draft.observation.time)
        prefill = self._explain_pool(draft, 0, self._prefill, self.rules.targets.ttft_ms)
        decode = self._explain_pool(draft, 1, self._decode, self.rules.targets.itl_ms)
        changed = (prefill.target, decode.target) != draft.previous
        return Decision(
            time=draft.observation.time,
            action=Action.SCALE if changed and not draft.unfounded else Action.HOLD,
            prefill=prefill.target,
            decode=decode.target,
            explanation=Explanation(
                reason=reason_of(draft, prefill, decode, aggregated=self.rules.limits.aggregated),
                forecast=draft.forecast,
                prefill=prefill,
                decode=decode,
                warnings=(*(draft.requirement.warnings if draft.requirement else ()), *self._stuck(draft)),
                sized_for=draft.sized_for,
                burstiness=self._traffic.burstiness.value,
                peak=self._traffic.peak,
                blindness=self._traffic.dispatch.blindness,
                peakedness=self._traffic.peakedness.value,
                surges_tps=self._traffic.surges_tps,
            ),
        )

    @property
    def _decode_name(self) -> str:
        return "worker" if self.rules.limits.aggregated else "decode worker"

    def _stuck(self, draft: Draft) -> list[str]:
        pools = (("prefill worker", self._prefill), (self._decode_name, self._decode))
        waits = [(name, pool.stuck_s(draft.observation.time)) for name, pool in pools]
        return [f"A {name} has been pending for {wait / 60:.0f} minutes." for name, wait in waits if wait]

    def _explain_pool(self, draft: Draft, index: int, pool: Pool, target_ms: float) -> PoolExplanation:
        requirement = draft.requirement
        corrections = (draft.corrections.prefill, draft.corrections.decode)
        required = (requirement.prefill, requirement.decode) if requirement else (None, None)
        feasible = (requirement.prefill_feasible, requirement.decode_feasible) if requirement else (True, True)
        return PoolExplanation(
            previous=draft.previous[index],
            required=required[index],
            target=draft.targets[index],
            bound_by=draft.bound_of(index),
            correction_factor=corrections[index],
            expected_ms=pool.expected_ms,
            observed_ms=pool.observed_ms,
            target_ms=target_ms,
            feasible=feasible[index],
            kept=draft.kept[index],
        )
