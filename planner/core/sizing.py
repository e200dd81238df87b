"""The seam between an expected load and the workers it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from planner.core.budget import Limits
from planner.core.decision import LoadForecast
from planner.core.observation import Observation, Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The service-level targets.

    Attributes:
        ttft_ms: Time to first token, milliseconds.
        itl_ms: Inter-token latency, milliseconds.
    """

    ttft_ms: float
    itl_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Observed over expected latency of each pool; 1 where nothing was learnt."""

    prefill: float = 1.0
    decode: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """The workers a load needs, before minimum, patience and budget.

    Attributes:
        prefill: Prefill workers, 0 or more.
        decode: Decode workers, 0 or more.
        prefill_feasible: Whether an idle prefill engine meets the TTFT target at this ISL.
        decode_feasible: Whether a decode engine with a single sequence meets the ITL target at this context length.
        warnings: What is out of reach, a sentence each.
    """

    prefill: int
    decode: int
    prefill_feasible: bool
    decode_feasible: bool
    warnings: tuple[str, ...] = ()

    def at_least(self, other: Requirement) -> Requirement:
        """As many workers of each pool as the larger of two requirements."""
        return replace(self, prefill=max(self.prefill, other.prefill), decode=max(self.decode, other.decode))


Spread = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known beyond the forecast.

    Attributes:
        isl_spread: Shares of requests with their ISL over the mean one.
        osl_spread: Shares of requests with their OSL over the mean one.
        burstiness: Variance of the work that arrives in moments over that of independent requests; 1 for Poisson.
        peakedness: Variance of the requests that are prefilled at once over their mean; None if unknown.
        surges_tps: Variance of the rate of input tokens from window to window over its mean, beyond that of independent
            requests, tokens per second.
        blindness: Share of requests that go to any worker, rather than to one that is free; 0 to 1.
        queued: Requests that wait for their first token; None if unknown.
        decoding: Sequences that decode now, or wait for it, as many as there would be within the ITL target.
        prefill: Workers there are that prefill; None if unknown.
        startup_s: Time until a worker that is asked for now serves, seconds.
        drain_s: Time in which a backlog should be gone once it does, seconds.
    """

    isl_spread: Spread = ((1.0, 1.0),)
    osl_spread: Spread = ((1.0, 1.0),)
    burstiness: float = 1.0
    peakedness: float | None = None
    surges_tps: float = 0.0
    blindness: float = 0.0
    queued: float | None = None
    decoding: float = 0.0
    prefill: Workers | None = None
    startup_s: float = 0.0
    drain_s: float = 60.0

    @property
    def lengthening(self) -> float:
        """Mean output of the sequences in a batch over that of all requests: they are in it as long as it is."""
        return math.fsum(share * ratio**2 for share, ratio in self.osl_spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a sizing is asked: a load, the targets to meet under it, and what is known of engines and queues.

    Attributes:
        load: The load.
        targets: The targets.
        corrections: How slow engines are.
        situation: What is known besides.
        careful: Whether to miss the targets only half as often as is allowed.
    """

    load: LoadForecast
    targets: Targets
    corrections: Corrections = Corrections()
    situation: Situation = Situation()
    careful: bool = False


class Sizing(Protocol):
    """A rule that turns an expected load into workers."""

    @property
    def looks_ahead(self) -> bool:
        """Whether it wants the load of the time when new workers serve, rather than that of the next interval."""
        ...

    def required(self, task: Task) -> Requirement:
        """The workers that a load needs to stay within targets."""
        ...

    def split(
        self, task: Task, limits: Limits, needs: tuple[int, int], previous: tuple[int | None, int | None]
    ) -> tuple[int, int]:
        """The workers to have when the budget cannot hold ``needs``; at least the minimum of each pool.

        A rule that knows nothing better has both in proportion, as far as whole workers allow.

        Args:
            task: What the workers are for.
            limits: The budget, among others.
            needs: Workers wanted.
            previous: Workers asked for before; None where unknown. They are not moved about for nothing.
        """
        del task, previous
        return limits.cut_to_budget(*needs)

    def prefill_ratio(self, observation: Observation, situation: Situation) -> float | None:
        """Observed over expected TTFT, as this rule expects it; None if it cannot be told."""
        ...

    def late_by_dispatch(
        self, observation: Observation, targets: Targets, slowness: float, situation: Situation
    ) -> tuple[float, float] | None:
        """Shares of late requests that this rule expects of two ways to deal them out; None if it cannot tell.

        Args:
            observation: What was seen.
            targets: What late requests are late for.
            slowness: Prefill times over those of the profile.
            situation: What is known besides.

        Returns:
            The share if all wait in one queue, and that if each worker has a queue of its own, chosen blindly.
        """
        del observation, targets, slowness, situation
        return None

    def expected_itl_ms(self, observation: Observation, corrections: Corrections, situation: Situation) -> float | None:
        """ITL that the profile gives for what was observed, milliseconds; None if it cannot be told."""
        ...


def infeasible_ttft(target_ms: float, isl: float, idle_ms: float) -> str:
    """Says that no prefill engine meets a target."""
    return (
        f"The TTFT target of {target_ms:g} ms is infeasible: at ISL {isl:.0f} an idle prefill worker takes "
        f"{idle_ms:.0f} ms; prefill is sized for throughput."
    )


def infeasible_itl(target_ms: float, context_length: float, idle_ms: float) -> str:
    """Says that no decode engine meets a target."""
    return (
        f"The ITL target of {target_ms:g} ms is infeasible: at context length {context_length:.0f} a decode worker "
        f"takes {idle_ms:.1f} ms for a single sequence; decode is sized for throughput."
    )
