"""The planner as a library: settings in, then an observation in and a decision out, as often as one likes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from planner.core.aggregated import AggregatedSloSizing, AggregatedThroughputSizing
from planner.core.budget import Limits
from planner.core.decision import Decision, Explanation
from planner.core.demand import Demand, LoadPredictors
from planner.core.observation import Observation, Workers
from planner.core.policy import Policy
from planner.core.rules import Rules
from planner.core.sizing import Sizing, Targets
from planner.core.slo import SloSizing
from planner.core.throughput import ThroughputSizing
from planner.engines import load_profile
from planner.forecasting import LoadSeries
from planner.settings import NO_BUDGET, Settings
from planner.simulation.trace import Trace
from predictors import Fitter, InlineFitter
from profiles import EngineProfile, ProfileError

SIZINGS: Mapping[tuple[str, str], Callable[[EngineProfile, Settings], Sizing]] = {
    ("disagg", "slo"): lambda profile, settings: SloSizing(profile, settings.wanted_percentile),
    ("disagg", "throughput"): lambda profile, _: ThroughputSizing(profile),
    ("agg", "slo"): lambda profile, settings: AggregatedSloSizing(
        profile, settings.wanted_percentile, settings.max_num_batched_tokens
    ),
    ("agg", "throughput"): lambda profile, _: AggregatedThroughputSizing(profile),
}


# After more intervals that nobody observed, what was needed before them holds nothing up.
_MOST_UNWATCHED = 3
# Forecasts change no more when more unknown intervals than this pass.
_MOST_PASSED = 2000


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was seen and decided once.

    Attributes:
        observation: What was seen.
        decision: What was decided.
        reaction: Whether it was decided between two adjustments.
    """

    observation: Observation
    decision: Decision
    reaction: bool = False


class Planner:
    """Decides how many prefill and decode workers should run; holds no thread, task, file or connection.

    In an aggregated deployment the one pool is that of the decode workers, and there are 0 prefill workers.

    Attributes:
        settings: How it decides.
        profile: The engine profile it sizes with.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        profile: EngineProfile | None = None,
        fitter: Fitter | None = None,
        predictors: LoadPredictors | None = None,
        sizing: Sizing | None = None,
    ) -> None:
        """Make a planner that has observed nothing yet.

        Args:
            settings: How it decides.
            profile: The engine profile; loaded from ``settings.profile_results_dir`` if left out.
            fitter: Where models are fitted; within the call of ``learn`` if left out.
            predictors: The forecasts of one's own; those that the settings name if left out.
            sizing: The sizing rule of one's own; the one that the settings name if left out.

        Raises:
            profiles.ProfileError: There is no usable profile, or the budget cannot hold the minimum of its engines.
            planner.simulation.trace.TraceError: The trace to warm up with cannot be used.
        """
        self.settings = settings
        self.profile = profile if profile is not None else load_profile(settings)
        self._series = LoadSeries() if predictors else LoadSeries.of(settings, fitter or InlineFitter())
        demand = Demand(
            predictors or self._series.predictors,
            interval=settings.adjustment_interval,
            isl=settings.isl,
            osl=settings.osl,
        )
        self._past = Trace(settings.load_predictor_warmup_trace) if settings.load_predictor_warmup_trace else None
        self._warm_intervals = self._past.intervals(settings.adjustment_interval) if self._past else []
        self._deployed_gpus: tuple[int | None, int | None] = (None, None)
        sizing = sizing or SIZINGS[settings.mode, settings.sizing](self.profile, settings)
        self._policy = Policy(sizing, demand, self._rules(settings))

    def step(self, observation: Observation) -> Decision:
        """Learn from an observation and decide: one adjustment.

        Time comes in with the observation, so the same observations give the same decisions whenever they are
        replayed.
        """
        self.learn(observation)
        return self.decide(observation)

    def learn(self, observation: Observation, recorded: Explanation | None = None) -> None:
        """Take in one interval; models may begin to be fitted.

        Args:
            observation: The interval.
            recorded: Of the decision made when it passed, if that was not now.
        """
        if self._warm_intervals:
            self._warm_up(observation)
        self._policy.learn(self._of_pools(observation), recorded)

    def _warm_up(self, first: Observation) -> None:
        """Let the trace be what came before the first observation: only now is it known when that was."""
        intervals, self._warm_intervals = self._warm_intervals, []
        self._series.warm(intervals, first.time - first.interval - intervals[-1].end_s)

    def recall(self, past: Iterable[Remembered], now: float) -> int:
        """Learn from what was seen and decided before a restart, and go on from there.

        What was seen at another interval, or lies in the future, is left out. Where nobody watched for a while, time
        passes in the forecasts and patience begins anew.

        Args:
            past: What was recorded, oldest first.
            now: The time, seconds since the epoch.

        Returns:
            The adjustments that were learnt from.
        """
        interval, last, learnt = self.settings.adjustment_interval, None, 0
        with self._series.warming():
            for one in past:
                seen = one.observation
                if seen.time > now or not (one.reaction or math.isclose(seen.interval, interval, rel_tol=0.01)):
                    continue
                if not one.reaction:
                    self._pass_time(last, seen.time - interval)
                    last = seen.time
                    learnt += 1
                    if self._warm_intervals:
                        self._warm_up(seen)
                if last is not None:
                    self._policy.recall(self._of_pools(seen), one.decision, reaction=one.reaction)
            if last is not None:
                self._pass_time(last, now - interval)
        return learnt

    def recall_traffic(self, recorded: Explanation) -> None:
        """Go on from how unevenly requests came when a decision was made that was recorded."""
        self._policy.recall_traffic(recorded)

    def _pass_time(self, last: float | None, until: float) -> None:
        """Let intervals pass that nobody observed."""
        interval = self.settings.adjustment_interval
        if last is None:
            return
        missed = round((until - last) / interval)
        if missed > _MOST_UNWATCHED:
            self._policy.interrupt()
        for number in range(max(1, missed - _MOST_PASSED + 1), missed + 1):
            self._policy.learn(Observation(time=last + number * interval, interval=interval))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What looked wrong in the profile and in the trace to warm up with."""
        complaint = self._past.complaint if self._past else None
        return (*self.profile.warnings, *([complaint] if complaint else []))

    def pending_fits(self) -> list[Future[Any]]:
        """Fits under way; a decision made before they end uses the models there were before."""
        return self._series.pending_fits

    def fit_errors(self) -> list[str]:
        """Why fits failed, as far as their predictors still go without."""
        return self._series.fit_errors

    def decide(self, observation: Observation) -> Decision:
        """The workers that should run from now on, after ``learn`` took in the same observation."""
        return self._policy.decide(self._of_pools(observation))

    def react(self, observation: Observation) -> Decision:
        """Answer what is arriving between two adjustments; it may only raise the targets.

        Args:
            observation: What was seen since the last adjustment or reaction. No load is learnt from it, but how bursts
                come within an interval, and how long workers take to start.
        """
        return self._policy.react(self._of_pools(observation))

    def _of_pools(self, observation: Observation) -> Observation:
        """In an aggregated deployment nobody needs to say that there are no prefill workers."""
        if self.settings.aggregated and observation.prefill is None:
            return replace(observation, prefill=Workers(0))
        return observation

    def reconfigure(self, settings: Settings) -> None:
        """Go on with other targets, limits and patience; what is fixed at start stays as it is.

        Raises:
            profiles.ProfileError: The new budget cannot hold the minimum of engines as large as they are.
        """
        self._policy.obey(self._rules(settings))
        self.settings = settings

    @property
    def engine_gpus(self) -> tuple[int, int]:
        """GPUs of one prefill and of one decode worker: as configured, or else as deployed, or else as profiled.

        In an aggregated deployment only the second one means anything.
        """
        prefill, decode = self._deployed_gpus
        return (
            self.settings.prefill_engine_num_gpu or prefill or self.profile.prefill.gpus,
            self.settings.decode_engine_num_gpu or decode or self.profile.decode.gpus,
        )

    def take_deployed(
        self, prefill_gpus: int | None, decode_gpus: int | None, *, model: str | None = None
    ) -> list[str]:
        """Take GPUs of workers from what is deployed, where the settings do not give them.

        Args:
            prefill_gpus: GPUs of a deployed prefill worker; None if not known.
            decode_gpus: GPUs of a deployed decode worker; None if not known.
            model: The model that is deployed; None if not known.

        Returns:
            What differs from the settings or the profile, a sentence each.

        Raises:
            profiles.ProfileError: The budget cannot hold the minimum of workers as large as they are.
        """
        self._deployed_gpus = prefill_gpus, decode_gpus
        self._policy.obey(self._rules(self.settings))
        profiled = self.profile.prefill.gpus, self.profile.decode.gpus
        named = zip(("prefill", "decode"), self._deployed_gpus, self.engine_gpus, profiled, strict=True)
        sizes = [
            f"a deployed {role} worker has {deployed} GPU{'s' * (deployed != 1)}, but the planner "
            f"reckons with {used} and the profile is of {known}"
            for role, deployed, used, known in named
            if deployed is not None and (deployed != used or deployed != known)
        ]
        # A model that the settings name was compared when the profile was loaded.
        models = () if self.settings.model_name else self.profile.provenance.mismatches(model=model)
        return [*sizes, *models]

    def _rules(self, settings: Settings) -> Rules:
        prefill_gpus, decode_gpus = self.engine_gpus
        if problem := settings.over_budget(0 if settings.aggregated else prefill_gpus, decode_gpus):
            raise ProfileError(problem)
        return Rules(
            targets=Targets(ttft_ms=settings.ttft, itl_ms=settings.itl),
            limits=Limits(
                min_endpoint=settings.min_endpoint,
                max_gpus=None if settings.max_gpu_budget == NO_BUDGET else settings.max_gpu_budget,
                prefill_gpus=prefill_gpus,
                decode_gpus=decode_gpus,
                aggregated=settings.aggregated,
            ),
            correct=not settings.no_correction,
            scale_down_window_s=settings.scale_down_window,
            idle_intervals=settings.idle_intervals,
            worker_startup_s=settings.worker_startup,
        )
