"""Which engines are measured, and which of them serve best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.dgdr.terms import Hardware, Sla
from profiles import ProfileData


def candidates(hardware: Hardware) -> tuple[int, ...]:
    """GPUs of the engines to measure, powers of two from the least to the most that the request allows.

    Empty if it does not say: then the engines of the base deployment are measured as they are.
    """
    if hardware.least_per_engine is None and hardware.most_per_engine is None:
        return ()
    least = hardware.least_per_engine or 1
    most = hardware.most_per_engine or max(least, hardware.gpus_per_node or least)
    return tuple(gpus for power in range(12) if least <= (gpus := 2**power) <= most) or (least,)


def chosen(measured: Mapping[int, ProfileData], sla: Sla) -> ProfileData:
    """The profile of the best engine of each role, each chosen by itself.

    Prefill: of the engines that meet the TTFT on an idle engine, the one with the most input tokens/s/GPU. Decode: of
    those that meet the ITL, the one with the most output tokens/s/GPU. Where none meets the target, the fastest.

    Args:
        measured: What was measured, by GPUs of an engine; at least one.
        sla: Targets and lengths.

    Raises:
        ProfileError: There are too few points.
    """
    context = sla.isl + sla.osl / 2
    prefills, decodes = {}, {}
    for gpus, data in measured.items():
        engines = data.engines()
        ttft = engines.prefill.ttft_ms(sla.isl)
        prefills[gpus] = (ttft <= sla.ttft_ms, sla.isl / ttft / engines.prefill.gpus if ttft <= sla.ttft_ms else -ttft)
        point = engines.decode.operating_point(sla.itl_ms, context)
        decodes[gpus] = (point.feasible, point.throughput_per_gpu if point.feasible else -point.itl_ms)
    best_prefill, best_decode = max(prefills, key=prefills.__getitem__), max(decodes, key=decodes.__getitem__)
    prefill, decode = measured[best_prefill], measured[best_decode]
    details = {
        **decode.provenance.details,
        "candidates": [
            {"gpus": gpus, "meets_ttft": prefills[gpus][0], "meets_itl": decodes[gpus][0]} for gpus in sorted(measured)
        ],
    }
    provenance = replace(decode.provenance, prefill=prefill.provenance.prefill, details=details)
    return ProfileData(prefill=prefill.prefill, decode=decode.decode, provenance=provenance)
