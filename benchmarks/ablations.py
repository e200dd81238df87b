"""The planner without one of its parts: composed of the parts that are left, with something plainer in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from planner.core.aggregated import AggregatedSloSizing
from planner.core.decision import Decision
from planner.core.demand import LoadPredictors
from planner.core.observation import Observation, Workers
from planner.core.sizing import Requirement, Sizing, Task
from planner.core.slo import SloSizing
from planner.engines import load_profile
from planner.forecasting import LoadSeries
from planner.planner import Planner
from planner.settings import Settings
from planner.simulation.loop import Decider
from predictors import Forecast, InlineFitter, Predictor

# What an operator would set as maxReplicas.
_MOST_WORKERS = 100
# Next to nothing, which formulas divide by.
_HARDLY = 1e-9


@dataclass(frozen=True)
class Ablation:
    """What to take out.

    Attributes:
        settings: Settings that do so.
        planner: Makes a planner without it, where no setting does.
        modes: Kinds of deployments that have it.
    """

    settings: Mapping[str, object] = field(default_factory=dict)
    planner: Callable[[Settings], Decider] = Planner
    modes: tuple[str, ...] = ("disagg", "agg")


class _Shortsighted:
    """A predictor that takes the next interval for any later one."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def observe(self, value: float | None, time: float | None = None) -> None:
        self._predictor.observe(value, time)

    def forecast(self, horizon_steps: int = 1) -> Forecast | None:
        del horizon_steps
        return self._predictor.forecast()


def without_look_ahead(settings: Settings) -> Decider:
    """Sizes for the next interval, however long workers take to start."""
    series = LoadSeries.of(settings, InlineFitter()).predictors
    names = ("requests", "isl", "osl", "input_tokens", "output_tokens")
    return Planner(settings, predictors=LoadPredictors(*(_Shortsighted(getattr(series, name)) for name in names)))


class _Overlooking:
    """A planner that is not shown everything."""

    def __init__(self, settings: Settings, shown: Callable[[Observation], Observation]) -> None:
        self._planner, self._shown = Planner(settings), shown

    def step(self, observation: Observation) -> Decision:
        return self._planner.step(self._shown(observation))

    def react(self, observation: Observation) -> Decision:
        return self._planner.react(self._shown(observation))


def without_backlog(settings: Settings) -> Decider:
    """Sizes for what arrives, whatever waits."""
    return _Overlooking(settings, lambda observation: replace(observation, queued=None, inflight=None))


def without_pending(settings: Settings) -> Decider:
    """Takes workers that start for missing."""

    def serving(workers: Workers | None) -> Workers | None:
        return workers and replace(workers, pending=0)

    return _Overlooking(
        settings,
        lambda observation: replace(
            observation, prefill=serving(observation.prefill), decode=serving(observation.decode)
        ),
    )


class _SizingAsked(SloSizing):
    """Answers from what the usual sizing says of the task, and of one that is not as hard."""

    def calm(self, task: Task) -> Requirement:
        """What a load needs of which each moment brings as much."""
        return super().required(replace(task, situation=replace(task.situation, burstiness=_HARDLY, blindness=0.0)))


class _Utilisation(_SizingAsked):
    """Prefill workers that are not quite always busy; nobody is taken to wait."""

    def required(self, task: Task) -> Requirement:
        return replace(super().required(task), prefill=self.calm(task).prefill)


class _MeanBatch(_SizingAsked):
    """Decode workers whose mean batch is within the target, however it varies."""

    def required(self, task: Task) -> Requirement:
        return replace(super().required(task), decode=self.calm(task).decode)


class _AllAlike(SloSizing):
    """Takes all requests for as long as their mean."""

    def required(self, task: Task) -> Requirement:
        alike = ((1.0, 1.0),)
        return super().required(replace(task, situation=replace(task.situation, isl_spread=alike, osl_spread=alike)))


class _Proportional(SloSizing):
    """Cuts both pools in proportion when the budget is too small."""

    split = Sizing.split


class _Chasing(SloSizing):
    """Takes more and more workers when none of them meets a target."""

    def required(self, task: Task) -> Requirement:
        found = super().required(task)
        return replace(
            found,
            prefill=found.prefill if found.prefill_feasible else _MOST_WORKERS,
            decode=found.decode if found.decode_feasible else _MOST_WORKERS,
        )


class _Apart(AggregatedSloSizing):
    """Sizes one pool as if each phase had workers of its own."""

    def required(self, task: Task) -> Requirement:
        apart = SloSizing.required(self, task)
        return replace(apart, prefill=0, decode=apart.prefill + apart.decode)


def _sized_by(sizing: type[SloSizing], settings: Settings) -> Decider:
    profile = load_profile(settings)
    return Planner(settings, profile=profile, sizing=sizing(profile, settings.wanted_percentile))


def without_interruption(settings: Settings) -> Decider:
    """Sizes one pool as if prompts held up no tokens."""
    profile = load_profile(settings)
    sizing = _Apart(profile, settings.wanted_percentile, settings.max_num_batched_tokens)
    return Planner(settings, profile=profile, sizing=sizing)


_DISAGGREGATED = ("disagg",)
ABLATIONS: Mapping[str, Ablation] = {
    "reactions": Ablation({"reaction_interval": 0}),
    "patience": Ablation({"scale_down_window": 0}),
    "correction": Ablation({"no_correction": True}),
    "percentile": Ablation({"slo_percentile": "mean"}),
    "mixture": Ablation({"load_predictor": "constant"}),
    "look-ahead": Ablation(planner=without_look_ahead),
    "backlog": Ablation(planner=without_backlog),
    "pending workers": Ablation(planner=without_pending),
    "queue": Ablation(planner=partial(_sized_by, _Utilisation), modes=_DISAGGREGATED),
    "headroom in decode": Ablation(planner=partial(_sized_by, _MeanBatch), modes=_DISAGGREGATED),
    "spread of lengths": Ablation(planner=partial(_sized_by, _AllAlike), modes=_DISAGGREGATED),
    "split of a budget": Ablation(planner=partial(_sized_by, _Proportional), modes=_DISAGGREGATED),
    "infeasible targets": Ablation(planner=partial(_sized_by, _Chasing), modes=_DISAGGREGATED),
    "interruption": Ablation(planner=without_interruption, modes=("agg",)),
}
