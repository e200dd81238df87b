"""Others who decide, to compare with."""

from __future__ import annotations

import math

from planner.core.budget import Limits
from planner.core.decision import Action, Bound, Decision, Explanation, PoolExplanation
from planner.core.observation import Observation, Workers
from planner.core.sizing import Targets

# What an operator would set as maxReplicas, far above any sensible need.
_MOST_REPLICAS = 500


class Static:
    """Always the same workers."""

    def __init__(self, prefill: int, decode: int) -> None:
        self._workers = prefill, decode

    def step(self, observation: Observation) -> Decision:
        """The workers there always are."""
        return _decision(observation, self._workers, "always the same")

    def react(self, observation: Observation) -> Decision:
        """The same."""
        return self.step(observation)


class Reactive:
    """Scales each pool as Kubernetes' Horizontal Pod Autoscaler would, on its latency over the target.

    Source: Kubernetes documentation, "Horizontal Pod Autoscaling", algorithm details: desired = ceil(current x
    metric / target), left alone within 10 %, down only to the highest wish of the last five minutes.
    """

    def __init__(
        self, targets: Targets, limits: Limits, *, maximum: int = _MOST_REPLICAS, window_s: float = 300.0
    ) -> None:
        """Begin with nothing observed.

        Args:
            targets: What latencies are compared with; an aggregated pool answers for the worse of both.
            limits: Workers that a pool keeps, and the GPU budget that both keep to.
            maximum: Workers that a pool never exceeds, as a target out of reach would be chased without end.
            window_s: Span whose highest wish holds a pool up, seconds.
        """
        self._targets, self._limits = targets, limits
        self._maximum = maximum
        self._window_s = window_s
        self._wishes: tuple[list[tuple[float, int]], list[tuple[float, int]]] = ([], [])

    def step(self, observation: Observation) -> Decision:
        """The workers that the latencies ask for, as far as the budget holds them."""
        ttft = _ratio(observation.ttft_ms, self._targets.ttft_ms)
        itl = _ratio(observation.itl_ms, self._targets.itl_ms)
        if self._limits.aggregated:
            workers = 0, self._pool(1, observation, observation.decode, max(ttft, itl))
        else:
            prefill = self._pool(0, observation, observation.prefill, ttft)
            workers = prefill, self._pool(1, observation, observation.decode, itl)
        return _decision(observation, self._limits.cut_to_budget(*workers), "latency over target")

    def react(self, observation: Observation) -> Decision:
        """Nothing between two steps."""
        return _decision(observation, _requested(observation), "waits for the next step")

    def _pool(self, index: int, observation: Observation, workers: Workers | None, ratio: float) -> int:
        minimum = self._limits.min_endpoint
        current = workers.requested if workers else minimum
        wish = current if abs(ratio - 1) <= 0.1 else math.ceil(current * min(ratio, 4.0))
        wish = min(wish, self._maximum)
        wishes = self._wishes[index]
        wishes.append((observation.time, max(minimum, wish)))
        while wishes[0][0] < observation.time - self._window_s:
            wishes.pop(0)
        return max(wish for _, wish in wishes) if wish < current else max(minimum, wish)


def _ratio(seen_ms: float | None, target_ms: float) -> float:
    return 1.0 if seen_ms is None else seen_ms / target_ms


def _requested(observation: Observation) -> tuple[int, int]:
    return (
        observation.prefill.requested if observation.prefill else 0,
        observation.decode.requested if observation.decode else 0,
    )


def _decision(observation: Observation, targets: tuple[int, int], reason: str) -> Decision:
    previous = _requested(observation)
    pools = [
        PoolExplanation(
            previous=before,
            required=None,
            target=target,
            bound_by=Bound.LOAD,
            correction_factor=1.0,
            expected_ms=None,
            observed_ms=None,
            target_ms=0.0,
            feasible=True,
        )
        for before, target in zip(previous, targets, strict=True)
    ]
    return Decision(
        time=observation.time,
        action=Action.HOLD if previous == targets else Action.SCALE,
        prefill=targets[0],
        decode=targets[1],
        explanation=Explanation(reason=reason, forecast=None, prefill=pools[0], decode=pools[1]),
    )
