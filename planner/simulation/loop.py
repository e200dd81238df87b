"""The closed loop: arrivals, a deployment, and whoever decides how large it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from planner.core.decision import Decision, LoadForecast
from planner.core.observation import Observation, Workers
from planner.core.sizing import Targets
from planner.simulation.aggregated import AggregatedDeployment
from planner.simulation.arrival import Arrival
from planner.simulation.deployment import Deployment
from planner.simulation.engine import CostedEngines
from planner.simulation.frontend import Frontend, Window
from planner.simulation.request import Request
from planner.simulation.score import Score, ScoreKeeper
from planner.simulation.serving import Serving


class Decider(Protocol):
    """Decides how many workers should run; a ``planner.Planner`` is one."""

    def step(self, observation: Observation) -> Decision:
        """The workers from now on, once an interval."""
        ...

    def react(self, observation: Observation) -> Decision:
        """An answer between two steps."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a run goes through, whoever decides.

    Attributes:
        engines: What workers can really do.
        targets: What requests are scored by.
        interval_s: Time between two steps.
        reactions: Reactions to an interval; 1 or less for none.
        startup_s: Mean time a worker takes to serve.
        startup_cv: Coefficient of variation of that time; 0 for a fixed one.
        initial: Prefill and decode workers at the start.
        step_tokens: Tokens that a step of an aggregated engine takes up; None for disaggregated serving.
        worker_mtbf_s: Mean time between failures of a worker; None if they never fail.
        missing_reads: Share of observations that fail.
        seed: Of everything random.
    """

    engines: CostedEngines
    targets: Targets
    interval_s: float = 60.0
    reactions: int = 6
    startup_s: float = 90.0
    startup_cv: float = 0.0
    initial: tuple[int, int] = (1, 1)
    step_tokens: int | None = None
    worker_mtbf_s: float | None = None
    missing_reads: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The run at the end of one interval, or where a reaction between two steps changed the targets.

    Attributes:
        time_s: Since the run began.
        observation: What a frontend reported.
        forecast: The load expected next, if the decider says.
        target: Prefill and decode workers asked for from now on.
        needed: Prefill and decode workers the load needs, if the decider says.
        gpus: GPUs in use.
        reason: Why, in a sentence.
        decision: The whole of what was decided.
    """

    time_s: float
    observation: Observation
    forecast: LoadForecast | None
    target: tuple[int, int]
    needed: tuple[int | None, int | None]
    gpus: int
    reason: str
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that is over: its score and its course.

    Attributes:
        score: How it went.
        points: The end of every interval.
        reactions: What was asked for between two of them, where that was something else.
        attained: Share within both targets of the requests that arrived in each interval; None where there were none.
    """

    score: Score
    points: tuple[Point, ...]
    reactions: tuple[Point, ...] = ()
    attained: tuple[float | None, ...] = ()

    @property
    def decisions(self) -> list[Point]:
        """Points and reactions in the order of time."""
        return sorted((*self.points, *self.reactions), key=lambda point: point.time_s)


class Simulation:
    """Drives a deployment through arrivals. Repeatable: the same arguments give the same run."""

    def __init__(self, world: World, decider: Decider) -> None:
        """Prepare a run.

        Args:
            world: What it goes through.
            decider: Who decides.
        """
        self._world = world
        self._decider = decider
        self._generator = np.random.default_rng(world.seed)
        self._frontend = Frontend()
        self._keeper = ScoreKeeper(world.engines, world.targets, aggregated=world.step_tokens is not None)
        self._deployment = self._deploy()
        self._window = Window()
        self._gpu_s = self._starting_s = self._paid_until_s = 0.0
        self._scalings = 0
        self._points: list[Point] = []
        self._reacted: list[Point] = []
        self._reactions = max(1, world.reactions)
        self._beat_s = world.interval_s / self._reactions

    def _deploy(self) -> Serving:
        world = self._world
        prefill, decode = world.initial
        if world.step_tokens is None:
            return Deployment(world.engines, startup=self._startup_s, workers=(prefill, decode), observer=self)
        return AggregatedDeployment(
            world.engines, startup=self._startup_s, step_tokens=world.step_tokens, workers=decode, observer=self
        )

    def run(self, arrivals: Iterator[Arrival]) -> Run:
        """Let all arrivals come, the first at its own time after 0, and everything they ask for be served.

        After the last arrival nothing is scaled any more, and workers are paid for only as long as they have something
        to do: whoever left work undone pays for it, and nobody for having been ready for more.
        """
        beat, next_beat_s, last_s = 0, self._beat_s, 0.0
        submit = self._deployment.submit
        for time_s, isl, osl in arrivals:
            while time_s >= next_beat_s:
                beat += 1
                self._beat(beat, next_beat_s)
                next_beat_s = (beat + 1) * self._beat_s
            submit(time_s, isl, osl)
            last_s = time_s
        self._pay(last_s)
        self._wind_up()
        return Run(
            score=self._keeper.score(
                gpu_hours=self._gpu_s / 3600,
                hours=last_s / 3600,
                scalings=self._scalings,
                wasted_worker_minutes=self._starting_s / 60,
            ),
            points=tuple(self._points),
            reactions=tuple(self._reacted),
            attained=self._keeper.attained(self._world.interval_s),
        )

    def arrived(self, request: Request) -> None:
        """Pass on an arrival."""
        self._frontend.arrived(request)

    def first_token(self, request: Request) -> None:
        """Pass on a first token."""
        self._frontend.first_token(request)

    def completed(self, request: Request) -> None:
        """Pass on a completion."""
        self._frontend.completed(request)
        self._keeper.completed(request)

    def _startup_s(self) -> float:
        world = self._world
        if world.startup_cv == 0:
            return world.startup_s
        shape = 1 / world.startup_cv**2
        return float(self._generator.gamma(shape, world.startup_s / shape))

    def _beat(self, beat: int, time_s: float) -> None:
        self._deployment.advance(time_s)
        self._pay(time_s)
        self._fail_workers()
        latest = self._frontend.take()
        self._window.add(latest)
        if beat % self._reactions == 0:
            observation = self._look(self._window, time_s, self._world.interval_s)
            self._window = Window()
            decision = self._decider.step(observation)
            self._points.append(self._point(observation, decision))
            self._carry_out(decision)
        else:
            observation = self._look(latest, time_s, self._beat_s)
            decision = self._decider.react(observation)
            point = self._point(observation, decision)
            if self._carry_out(decision):
                self._reacted.append(point)

    def _pay(self, until_s: float) -> None:
        """Account for the time since the last beat; workers change only at beats and when they have started."""
        span_s = until_s - self._paid_until_s
        prefill, decode = self._deployment.workers
        self._gpu_s += span_s * self._gpus(prefill, decode)
        self._starting_s += span_s * (prefill.pending + decode.pending)
        self._paid_until_s = until_s

    def _gpus(self, prefill: Workers, decode: Workers) -> int:
        engines = self._world.engines
        return prefill.present * engines.prefill.gpus + decode.present * engines.decode.gpus

    def _wind_up(self) -> None:
        """Let what is left be served, and account for it."""
        engines = self._world.engines
        prefill_s, decode_s = self._deployment.drain()
        self._gpu_s += prefill_s * engines.prefill.gpus + decode_s * engines.decode.gpus

    def _fail_workers(self) -> None:
        if self._world.worker_mtbf_s is None:
            return
        for pool in self._deployment.pools:
            for _ in range(self._generator.poisson(pool.workers.ready * self._beat_s / self._world.worker_mtbf_s)):
                pool.fail()

    def _look(self, window: Window, time_s: float, interval_s: float) -> Observation:
        if self._world.missing_reads and self._generator.random() < self._world.missing_reads:
            prefill, decode = self._deployment.workers
            return Observation(time=time_s, interval=interval_s, prefill=prefill, decode=decode)
        return window.observation(
            time_s,
            interval_s,
            inflight=self._deployment.inflight,
            queued=self._frontend.queued,
            workers=self._deployment.workers,
        )

    def _carry_out(self, decision: Decision) -> bool:
        """Ask for the workers that were decided on.

        Returns:
            Whether they are others than those asked for before.
        """
        prefill, decode = self._deployment.workers
        if (prefill.requested, decode.requested) == (decision.prefill, decision.decode):
            return False
        self._scalings += 1
        self._deployment.scale(prefill=decision.prefill, decode=decision.decode)
        return True

    def _point(self, observation: Observation, decision: Decision) -> Point:
        why = decision.explanation
        return Point(
            time_s=observation.time,
            observation=replace(observation, isl_quantiles=None, osl_quantiles=None),
            forecast=why.forecast,
            target=(decision.prefill, decision.decode),
            needed=(why.prefill.required, why.decode.required),
            gpus=self._gpus(*self._deployment.workers),
            reason=why.reason,
            decision=decision,
        )
