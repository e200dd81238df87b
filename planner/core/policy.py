"""The decision: from what was observed to how many workers should run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from planner.core.budget import Limits
from planner.core.correction import CorrectionFactor, SteadyPool
from planner.core.decision import Action, Bound, Decision, Explanation, LoadForecast, PoolExplanation
from planner.core.demand import Demand, Sight
from planner.core.expectation import expected_itl_ms, expected_ttft_ms
from planner.core.observation import Observation, Workers
from planner.core.sizing import Corrections, Requirement, Sizing, Targets
from planner.core.stabilisation import ScaleDownWindow

if TYPE_CHECKING:
    from profiles import EngineProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a policy obeys; a running one can be given others.

    Attributes:
        targets: The service-level targets.
        limits: Minimum and GPU budget.
        correct: Whether observed latencies correct the profile.
        scale_down_window_s: Span whose highest need holds a pool up, seconds.
        idle_intervals: Idle intervals in a row that confirm idleness.
    """

    targets: Targets
    limits: Limits
    correct: bool
    scale_down_window_s: float
    idle_intervals: int


@dataclass(slots=True)
class _Pool:
    """What is remembered of one pool between decisions."""

    window: ScaleDownWindow
    correction: CorrectionFactor = field(default_factory=CorrectionFactor)
    steadiness: SteadyPool = field(default_factory=SteadyPool)
    standing: int | None = None
    expected_ms: float | None = None
    observed_ms: float | None = None

    def see(self, workers: Workers | None, expected_ms: float | None, observed_ms: float | None) -> None:
        self.expected_ms, self.observed_ms = expected_ms, observed_ms
        self.steadiness = self.steadiness.see(workers)

    def correct(self) -> None:
        if self.expected_ms and self.observed_ms:
            self.correction = self.correction.learn(self.observed_ms, self.expected_ms)

    def previous(self, workers: Workers | None) -> int | None:
        """What was asked for before: what is there or coming, else what was last decided."""
        return self.standing if workers is None else workers.requested


class Policy:
    """Decides, once an interval, how many workers of each pool should run.

    It does no I/O and reads no clock: all it knows comes with the observations.
    """

    def __init__(self, profile: EngineProfile, sizing: Sizing, demand: Demand, rules: Rules) -> None:
        self._profile = profile
        self._sizing = sizing
        self._demand = demand
        self._prefill = _Pool(ScaleDownWindow(rules.scale_down_window_s))
        self._decode = _Pool(ScaleDownWindow(rules.scale_down_window_s))
        self.rules = rules

    def obey(self, rules: Rules) -> None:
        """Go on under other rules."""
        self.rules = rules
        self._demand.idle_intervals = rules.idle_intervals
        for pool in (self._prefill, self._decode):
            pool.window.window_s = rules.scale_down_window_s

    def learn(self, observation: Observation) -> None:
        """Take in one interval."""
        self._demand.learn(observation)
        self._prefill.see(observation.prefill, expected_ttft_ms(self._profile, observation), observation.ttft_ms)
        self._decode.see(observation.decode, expected_itl_ms(self._profile, observation), observation.itl_ms)
        # While one pool changes, the other sees an unusual share of the load: neither's latencies are typical.
        if self._prefill.steadiness.steady and self._decode.steadiness.steady:
            self._prefill.correct()
            self._decode.correct()

    def decide(self, observation: Observation) -> Decision:
        """The workers that should run from now on, after ``learn`` took in the same observation."""
        draft = _Draft(
            observation=observation,
            forecast=self._demand.forecast(),
            corrections=self._corrections(),
            previous=(self._prefill.previous(observation.prefill), self._decode.previous(observation.decode)),
        )
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

    def react(self, observation: Observation) -> Decision:
        """An answer between two adjustments, sized for what is arriving now: it may only raise the targets."""
        previous = (self._prefill.previous(observation.prefill), self._decode.previous(observation.decode))
        draft = _Draft(
            observation=observation,
            forecast=self._seen_load(observation),
            corrections=self._corrections(),
            previous=previous,
        )
        if draft.forecast is None or observation.idle:
            return self._conclude(self._hold(draft, Bound.BLIND, "Nothing new is known"))
        requirement = self._required(draft.forecast, draft.corrections)
        kept = self.rules.limits.raise_to_minimum(previous[0] or 0, previous[1] or 0)
        wishes = (max(kept[0], requirement.prefill), max(kept[1], requirement.decode))
        targets = self.rules.limits.share_out(kept, wishes)
        return self._conclude(replace(draft, requirement=requirement, needs=wishes, targets=targets))

    def _seen_load(self, observation: Observation) -> LoadForecast | None:
        expected = self._demand.forecast()
        if observation.requests_started is None:
            return None
        requests = observation.requests_started
        return LoadForecast(
            requests=requests,
            requests_p10=requests,
            requests_p90=requests,
            isl=observation.isl or (expected.isl if expected else self._demand.isl),
            osl=observation.osl or (expected.osl if expected else self._demand.osl),
            interval=observation.interval,
        )

    def _corrections(self) -> Corrections:
        if not self.rules.correct:
            return Corrections()
        return Corrections(prefill=self._prefill.correction.value, decode=self._decode.correction.value)

    def _required(self, load: LoadForecast, corrections: Corrections) -> Requirement:
        return self._sizing.required(load, self.rules.targets, corrections)

    def _hold(self, draft: _Draft, bound: Bound, cause: str) -> _Draft:
        """Keep what is there; where even that is unknown, the minimum."""
        kept = self.rules.limits.raise_to_minimum(draft.previous[0] or 0, draft.previous[1] or 0)
        targets = self.rules.limits.cut_to_budget(*kept)
        return replace(draft, needs=kept, targets=targets, bound=bound, cause=cause)

    def _rest(self, draft: _Draft) -> _Draft:
        self._prefill.window.forget()
        self._decode.window.forget()
        least = self.rules.limits.raise_to_minimum(0, 0)
        return replace(draft, needs=least, targets=least, bound=Bound.IDLE, cause="Nothing arrives")

    def _size(self, draft: _Draft) -> _Draft:
        assert draft.forecast is not None  # noqa: S101 - an active interval has just been learnt
        requirement = self._required(draft.forecast, draft.corrections)
        needs = self.rules.limits.raise_to_minimum(requirement.prefill, requirement.decode)
        now = draft.observation.time
        wishes = (
            self._prefill.window.settle(now, needs[0], draft.previous[0]),
            self._decode.window.settle(now, needs[1], draft.previous[1]),
        )
        targets = self.rules.limits.share_out(needs, wishes)
        return replace(draft, requirement=requirement, needs=needs, targets=targets)

    def _conclude(self, draft: _Draft) -> Decision:
        if not draft.unfounded:
            self._prefill.standing, self._decode.standing = draft.targets
        prefill = self._explain_pool(draft, 0, self._prefill, self.rules.targets.ttft_ms)
        decode = self._explain_pool(draft, 1, self._decode, self.rules.targets.itl_ms)
        changed = (prefill.target, decode.target) != draft.previous
        return Decision(
            time=draft.observation.time,
            action=Action.SCALE if changed and not draft.unfounded else Action.HOLD,
            prefill=prefill.target,
            decode=decode.target,
            explanation=Explanation(
                reason=_reason(draft, prefill, decode),
                forecast=draft.forecast,
                prefill=prefill,
                decode=decode,
                warnings=draft.requirement.warnings if draft.requirement else (),
            ),
        )

    def _explain_pool(self, draft: _Draft, index: int, pool: _Pool, target_ms: float) -> PoolExplanation:
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
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A decision in the making; pairs are prefill and decode."""

    observation: Observation
    forecast: LoadForecast | None
    corrections: Corrections
    previous: tuple[int | None, int | None]
    requirement: Requirement | None = None
    needs: tuple[int, int] = (0, 0)
    targets: tuple[int, int] = (0, 0)
    bound: Bound | None = None
    cause: str = ""

    @property
    def unfounded(self) -> bool:
        """Whether neither the load nor what runs is known, so that nothing may be touched."""
        return self.bound is Bound.BLIND and None in self.previous

    def bound_of(self, index: int) -> Bound:
        """What fixed the target of a pool."""
        target, need = self.targets[index], self.needs[index]
        if target < need:
            return Bound.BUDGET
        if self.bound is not None:
            return self.bound
        if target > need:
            return Bound.PATIENCE
        assert self.requirement is not None  # noqa: S101 - a draft without a bound was sized
        required = (self.requirement.prefill, self.requirement.decode)[index]
        return Bound.MINIMUM if need > required else Bound.LOAD


def _reason(draft: _Draft, prefill: PoolExplanation, decode: PoolExplanation) -> str:
    if draft.cause:
        cause = draft.cause
    else:
        load = draft.forecast
        assert load is not None  # noqa: S101 - a draft without a cause was sized for a forecast
        cause = f"Expecting {load.request_rate_rps:.2f} req/s at ISL {load.isl:.0f}, OSL {load.osl:.0f}"
    return f"{cause}: {_movement('prefill', prefill)}, {_movement('decode', decode)}."


def _movement(name: str, pool: PoolExplanation) -> str:
    previous = "?" if pool.previous is None else pool.previous
    move = f"stays at {pool.target}" if pool.previous == pool.target else f"goes from {previous} to {pool.target}"
    needed = f", {pool.required} needed" if pool.required not in (None, pool.target) else ""
    return f"{name} {move} ({pool.bound_by}{needed})"
