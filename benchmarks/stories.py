"""Made-up loads on which one part of the planner shows what it is for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ablations import ABLATIONS

from planner.settings import NO_BUDGET, Settings
from planner.simulate.contest import Conditions, Entry, Load
from planner.simulate.survey import starting_workers, survey
from planner.simulation.pattern import Pattern
from planner.simulation.score import Score
from profiles import sample_profile_dir


@dataclass(frozen=True, kw_only=True)
class Story:
    """A load with which a planner copes that has the part, and one that has not does not.

    Attributes:
        part: A key of ABLATIONS.
        pattern: The load.
        settings: What differs from the usual settings.
        ttft_factor: True TTFT over the profile's.
        attains: Share of requests within both targets with which a planner copes.
        over_bound: GPU-hours over their lower bound within which it does.
    """

    part: str
    pattern: Pattern
    settings: Mapping[str, object] = field(default_factory=dict)
    ttft_factor: float = 1.0
    attains: float = 0.95
    over_bound: float = math.inf

    def entries(self) -> tuple[Entry, Entry]:
        """The planner with the part, and without it."""
        settings, ablation = self._settings(), ABLATIONS[self.part]
        fewer = settings.model_copy(update=dict(ablation.settings))
        return (
            Entry(name="with", kind="planner", settings=settings),
            Entry(name="without", kind="planner", settings=fewer, planner=ablation.planner),
        )

    def conditions(self) -> Conditions:
        """What both go through."""
        load = Load(pattern=self.pattern)
        return Conditions(
            load=load,
            initial=starting_workers(survey(load), self._settings()),
            ttft_factor=self.ttft_factor,
        )

    def __str__(self) -> str:
        """The load in words, and what is not as usual."""
        load = self.pattern
        rates = f"{load.rps:g}" if load.peak_rps == load.rps else f"{load.rps:g} to {load.peak_rps:g}"
        flags = "".join(f", --{name.replace('_', '-')} {value}" for name, value in self.settings.items())
        slow = f", prefill {self.ttft_factor:g} times as slow as profiled" if self.ttft_factor != 1 else ""
        return f"{load.kind}, {rates} requests/s, ISL {load.isl:g}, OSL {load.osl:g}{flags}{slow}"

    def copes(self, score: Score) -> bool:
        """Whether a run went as it should."""
        return score.within_both >= self.attains and score.over_bound <= self.over_bound

    def _settings(self) -> Settings:
        return Settings(
            **{
                "environment": "virtual",
                "profile_results_dir": str(sample_profile_dir()),
                "adjustment_interval": 60,
                "ttft": 500,
                "itl": 15,
                "max_gpu_budget": NO_BUDGET,
                "worker_startup": 90,
                **self.settings,
            }
        )


def load(kind: str, low_rps: float, high_rps: float, **options: float) -> Pattern:
    """A pattern, always of the same seed."""
    return Pattern(**{"kind": kind, "rps": low_rps, "peak_rps": high_rps, "seed": 3, **options})


def steady(rps: float, **options: float) -> Pattern:
    """A constant load."""
    return load("constant", rps, rps, **options)


def _stories() -> Iterator[Story]:
    queue, ramp = steady(30, duration_s=900.0), load("ramp", 5, 50, duration_s=1200.0)
    yield Story(part="reactions", pattern=load("step", 10, 25, period_s=920.0, duration_s=1800.0), attains=0.94)
    yield Story(
        part="patience",
        pattern=load("sinusoid", 10, 25, period_s=400.0, isl=6000.0, duration_s=2400.0),
        settings={"ttft": 800, "worker_startup": 120},
    )
    yield Story(
        part="correction",
        pattern=steady(20, isl=6000.0, duration_s=1800.0),
        settings={"ttft": 800},
        ttft_factor=1.5,
        attains=0.9,
    )
    yield Story(part="percentile", pattern=queue, settings={"ttft": 200})
    yield Story(
        part="mixture",
        pattern=load("sinusoid", 2, 25, period_s=1200.0, isl=6000.0, duration_s=4800.0),
        settings={"ttft": 800, "worker_startup": 120},
        attains=0.99,
        over_bound=3.1,
    )
    yield Story(part="look-ahead", pattern=ramp, settings={"worker_startup": 180})
    yield Story(part="backlog", pattern=load("step", 30, 45, period_s=910.0, duration_s=1500.0), attains=0.85)
    yield Story(part="pending workers", pattern=ramp, settings={"worker_startup": 180})
    yield Story(part="queue", pattern=queue, settings={"ttft": 200})
    yield Story(
        part="headroom in decode",
        pattern=steady(3, isl=8000.0, osl=300.0, duration_s=1800.0),
        settings={"ttft": 1000, "itl": 6.5},
        attains=0.975,
    )
    yield Story(
        part="split of a budget",
        pattern=load("sinusoid", 5, 25, period_s=1200.0, isl=2000.0, osl=1200.0, duration_s=1200.0),
        settings={"max_gpu_budget": 7},
    )
    yield Story(
        part="infeasible targets", pattern=steady(5, isl=40_000.0, duration_s=1200.0), attains=0.5, over_bound=2.0
    )
    yield Story(
        part="interruption",
        pattern=steady(60, isl=4000.0, osl=300.0, duration_s=600.0),
        settings={"mode": "agg"},
    )


STORIES = tuple(_stories())
