"""Sizing by throughput: load over capacity, the rules that NVIDIA Dynamo publishes for its SLA planner.

Source: Dynamo documentation, "Planner Design", steps "Correction Factor Calculation" and "Calculating Replicas".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from planner.core.decision import LoadForecast
from planner.core.sizing import Corrections, Requirement, Targets

if TYPE_CHECKING:
    from profiles import EngineProfile

# A load that fills n workers to the last digit needs n, not n + 1 for a rounding error.
_ROUNDING = 1e-9


class ThroughputSizing:
    """Workers so that their throughput at the targets covers the load, at full utilisation."""

    def __init__(self, profile: EngineProfile) -> None:
        self._prefill = profile.prefill
        self._decode = profile.decode

    def required(self, load: LoadForecast, targets: Targets, corrections: Corrections) -> Requirement:
        """The workers whose throughput covers ``load``.

        Prefill: rate x ISL x min(1, correction) over the throughput of a worker at that ISL. A factor above 1 comes
        from queueing, which more workers take away, so it does not count as more work.
        Decode: rate x OSL over the best throughput of a worker whose ITL meets target / correction, at the mean
        context length ISL + OSL / 2. Where even a single sequence misses that target, the best throughput there is.
        """
        context_length = load.isl + load.osl / 2
        point = self._decode.operating_point(targets.itl_ms / corrections.decode, context_length)
        idle_ttft_ms = self._prefill.ttft_ms(load.isl) * min(1.0, corrections.prefill)
        prefill_tokens_per_s = load.request_rate_rps * load.isl * min(1.0, corrections.prefill)
        decode_tokens_per_s = load.request_rate_rps * load.osl
        warnings = []
        if idle_ttft_ms > targets.ttft_ms:
            warnings.append(_infeasible_ttft(targets.ttft_ms, load.isl, idle_ttft_ms))
        if not point.feasible:
            idle_itl_ms = self._decode.itl_ms(1, context_length) * corrections.decode
            warnings.append(_infeasible_itl(targets.itl_ms, context_length, idle_itl_ms))
        return Requirement(
            prefill=_workers(prefill_tokens_per_s, self._prefill.throughput_per_gpu(load.isl) * self._prefill.gpus),
            decode=_workers(decode_tokens_per_s, point.throughput_per_gpu * self._decode.gpus),
            prefill_feasible=idle_ttft_ms <= targets.ttft_ms,
            decode_feasible=point.feasible,
            warnings=tuple(warnings),
        )


def _workers(tokens_per_s: float, tokens_per_s_per_worker: float) -> int:
    return math.ceil(tokens_per_s / tokens_per_s_per_worker - _ROUNDING)


def _infeasible_ttft(target_ms: float, isl: float, idle_ms: float) -> str:
    return (
        f"The TTFT target of {target_ms:g} ms is infeasible: at ISL {isl:.0f} an idle prefill worker takes "
        f"{idle_ms:.0f} ms; prefill is sized for throughput."
    )


def _infeasible_itl(target_ms: float, context_length: float, idle_ms: float) -> str:
    return (
        f"The ITL target of {target_ms:g} ms is infeasible: at context length {context_length:.0f} a decode worker "
        f"takes {idle_ms:.1f} ms for a single sequence; decode is sized for throughput."
    )
