"""Whether profiling data makes sense: what is odd but usable becomes a warning with its figures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from profiles.files import DecodeData, RawData
from profiles.provenance import Engine

_TOLERANCE = 0.05


def check_prefill(raw: RawData, gpus: int) -> Iterator[str]:
    """Warnings about prefill data.

    Args:
        raw: The data.
        gpus: GPUs of one engine, as configured.
    """
    isl, ttft = raw.columns["prefill_isl"], raw.columns["prefill_ttft"]
    ratio = isl / ttft * 1000 / raw.columns["prefill_thpt_per_gpu"]
    yield from _check_gpus(raw, "ISL over TTFT", "prefill_thpt_per_gpu", float(np.median(ratio)), gpus)
    off = np.abs(ratio / np.median(ratio) - 1) > _TOLERANCE
    if off.any():
        worst = int(np.argmax(np.abs(ratio / np.median(ratio) - 1)))
        yield (
            f"{raw.file}: throughput and TTFT disagree at {off.sum()} of {len(isl)} points, most at ISL "
            f"{isl[worst]:.0f} by a factor of {ratio[worst] / np.median(ratio):.2f}; TTFT is used"
        )
    order = np.argsort(isl)
    falls = np.flatnonzero(np.diff(ttft[order]) < 0)
    if len(falls):
        at = order[falls[0]], order[falls[0] + 1]
        yield (
            f"{raw.file}: TTFT falls {len(falls)} times as ISL grows, first from {ttft[at[0]]:.1f} ms at "
            f"{isl[at[0]]:.0f} to {ttft[at[1]]:.1f} ms at {isl[at[1]]:.0f} tokens"
        )


def check_decode(raw: DecodeData, gpus: int, max_num_seqs: int | None) -> Iterator[str]:
    """Warnings about decode data.

    Args:
        raw: The data.
        gpus: GPUs of one engine, as configured.
        max_num_seqs: Sequences an engine runs at once at most, if known.
    """
    usage, batch = raw.columns["x_kv_usage"], raw.concurrency
    itl, throughput = raw.columns["z_itl"], raw.columns["z_thpt_per_gpu"]
    if (usage > 1).any():
        yield f"{raw.file}: KV usage goes up to {usage.max():.2f}; it is a share of the cache, at most 1"
    if (uneven := int((np.abs(batch - batch.round()) > 0.02).sum())) and uneven > len(batch) / 10:
        yield (
            f"{raw.file}: {uneven} of {len(batch)} points are no whole number of sequences; max_kv_tokens or the "
            "context lengths may be wrong"
        )
    ratio = batch / itl * 1000 / throughput
    yield from _check_gpus(raw, "sequences over ITL", "z_thpt_per_gpu", float(np.median(ratio)), gpus)
    above = int((throughput * gpus > batch / itl * 1000 * (1 + _TOLERANCE)).sum())
    if above and round(float(np.median(ratio))) == gpus:
        yield f"{raw.file}: {above} of {len(batch)} throughputs exceed sequences over ITL; ITL is used"
    if max_num_seqs is not None and (saturated := int((batch > max_num_seqs + 0.5).sum())):
        yield f"{raw.file}: {saturated} of {len(batch)} points lie beyond max_num_seqs {max_num_seqs} and are saturated"


def _check_gpus(raw: RawData, derived: str, column: str, ratio: float, gpus: int) -> Iterator[str]:
    if abs(ratio / gpus - 1) > _TOLERANCE * 2:
        yield (
            f"{raw.file}: {derived} is {ratio:.2f} times {column}, which speaks of engines with "
            f"{_gpus(max(1, round(ratio)))}, not {gpus} as configured. Throughput is derived from the latencies"
        )


def check_gpus(role: str, engine: Engine, configured: int) -> Iterator[str]:
    """Warnings about engines that are not as large as the profiled one.

    Args:
        role: ``prefill`` or ``decode``.
        engine: The profiled engine.
        configured: GPUs of one engine, as configured.
    """
    if engine.gpus is not None and engine.gpus != configured:
        yield (
            f"the {role} profile was made with {_gpus(engine.gpus)} an engine, not {configured} as configured: leave "
            f"--{role}-engine-num-gpu out, set it to {engine.gpus}, or profile the deployed engine"
        )


def _gpus(number: int) -> str:
    return f"{number} GPU{'s' * (number != 1)}"
