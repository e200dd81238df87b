"""Sizing by throughput: load over capacity, the rules that NVIDIA Dynamo publishes for its SLA planner.

Source: Dynamo documentation, "Planner Design", steps "Correction Factor Calculation" and "Calculating Replicas".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from planner.core.expectation import expected_itl_ms, expected_ttft_ms
from planner.core.observation import Observation
from planner.core.sizing import Corrections, Requirement, Situation, Sizing, Task, infeasible_itl, infeasible_ttft

if TYPE_CHECKING:
    from profiles import EngineProfile

# A load that fills n workers to the last digit needs n, not n + 1 for a rounding error.
_ROUNDING = 1e-9


class ThroughputSizing(Sizing):
    """Workers so that their throughput at the targets covers the load, at full utilisation."""

    looks_ahead = False

    def __init__(self, profile: EngineProfile) -> None:
        self._profile = profile
        self._prefill = profile.prefill
        self._decode = profile.decode

    def required(self, task: Task) -> Requirement:
        """The workers whose throughput covers the load.

        Prefill: rate x ISL x min(1, correction) over the throughput of a worker at that ISL. A factor above 1 comes
        from queueing, which more workers take away, so it does not count as more work.
        Decode: rate x OSL over the best throughput of a worker whose ITL meets target / correction, at the mean
        context length ISL + OSL / 2. Where even a single sequence misses that target, the best throughput there is.
        """
        load, targets, corrections = task.load, task.targets, task.corrections
        context_length = load.isl + load.osl / 2
        point = self._decode.operating_point(targets.itl_ms / corrections.decode, context_length)
        idle_ttft_ms = self._prefill.ttft_ms(load.isl) * min(1.0, corrections.prefill)
        prefill_tokens_per_s = load.request_rate_rps * load.isl * min(1.0, corrections.prefill)
        decode_tokens_per_s = load.request_rate_rps * load.osl
        warnings = []
        if idle_ttft_ms > targets.ttft_ms:
            warnings.append(infeasible_ttft(targets.ttft_ms, load.isl, idle_ttft_ms))
        if not point.feasible:
            idle_itl_ms = self._decode.itl_ms(1, context_length) * corrections.decode
            warnings.append(infeasible_itl(targets.itl_ms, context_length, idle_itl_ms))
        return Requirement(
            prefill=_workers(prefill_tokens_per_s, self._prefill.throughput_per_gpu(load.isl) * self._prefill.gpus),
            decode=_workers(decode_tokens_per_s, point.throughput_per_gpu * self._decode.gpus),
            prefill_feasible=idle_ttft_ms <= targets.ttft_ms,
            decode_feasible=point.feasible,
            warnings=tuple(warnings),
        )

    def prefill_ratio(self, observation: Observation, situation: Situation) -> float | None:
        """Observed TTFT over that of an idle worker."""
        del situation
        expected_ms = expected_ttft_ms(self._profile, observation)
        return observation.ttft_ms / expected_ms if observation.ttft_ms and expected_ms else None

    def expected_itl_ms(self, observation: Observation, corrections: Corrections, situation: Situation) -> float | None:
        """ITL of a decode worker at the observed concurrency and context length."""
        del corrections, situation
        return expected_itl_ms(self._profile, observation)


def _workers(tokens_per_s: float, tokens_per_s_per_worker: float) -> int:
    return math.ceil(tokens_per_s / tokens_per_s_per_worker - _ROUNDING)
