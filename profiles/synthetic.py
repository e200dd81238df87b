"""An analytic engine, for the sample profile and wherever a profile of known truth is wanted.

It is made up: roughly a model with 8 billion weights on one large GPU, smooth and without noise. Nothing was measured.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from profiles.loading import sample_profile_dir

MAX_KV_TOKENS = 900_000
MAX_NUM_SEQS = 512
_OSL = 500


def ttft_ms(isl: float) -> float:
    """Time to first token of an input of ``isl`` tokens on the idle engine, milliseconds."""
    return 12.0 + 0.022 * isl + 2.4e-7 * isl**2


def itl_ms(concurrency: float, context_length: float) -> float:
    """Inter-token latency of a batch, milliseconds: reading weights, computing, reading the KV cache."""
    return 4.0 + 0.45 * min(concurrency, 8) / 8 + 0.022 * concurrency + 2.6e-5 * concurrency * context_length


def prefill_data(points: int = 16) -> dict[str, list[float]]:
    """Prefill points in the layout of ``prefill_raw_data.json``, for an engine of one GPU."""
    isl = [int(length) for length in np.geomspace(100, 16_384, points).round()]
    latency = [round(ttft_ms(length), 4) for length in isl]
    return {
        "prefill_isl": [float(length) for length in isl],
        "prefill_ttft": latency,
        "prefill_thpt_per_gpu": [round(length / ttft * 1000, 4) for length, ttft in zip(isl, latency, strict=True)],
    }


def decode_data(contexts: int = 8, batches: int = 8) -> dict[str, Any]:
    """Decode points in the layout of ``decode_raw_data.json``, for an engine of one GPU; spaced geometrically."""
    columns: dict[str, list[float]] = {"x_kv_usage": [], "y_context_length": [], "z_itl": [], "z_thpt_per_gpu": []}
    for isl in np.geomspace(100, 16_000, contexts).round():
        context_length = float(isl + _OSL / 2)
        most = min(MAX_NUM_SEQS, int(0.95 * MAX_KV_TOKENS / context_length))
        for batch in np.unique(np.geomspace(1, most, batches).round()):
            latency = round(itl_ms(batch, context_length), 4)
            columns["x_kv_usage"].append(float(batch * context_length / MAX_KV_TOKENS))
            columns["y_context_length"].append(context_length)
            columns["z_itl"].append(latency)
            columns["z_thpt_per_gpu"].append(round(batch / latency * 1000, 4))
    return {**columns, "max_kv_tokens": MAX_KV_TOKENS}


def meta() -> dict[str, Any]:
    """Where the sample comes from, in the layout of ``meta.json``."""
    return {
        "model": "synthetic-8b",
        "system": "synthetic",
        "backend": "mocker",
        "how": "python -m profiles.synthetic",
        "prefill": {"gpus": 1},
        "decode": {"gpus": 1, "max_num_seqs": MAX_NUM_SEQS},
    }


def main() -> None:
    """Write the sample profile anew."""
    folder = sample_profile_dir()
    folder.mkdir(exist_ok=True)
    contents = {"prefill_raw_data.json": prefill_data(), "decode_raw_data.json": decode_data(), "meta.json": meta()}
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
