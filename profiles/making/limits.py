"""What an engine tells of its own limits on its metrics page."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldLimits:
    """What an engine tells of its limits; None is unknown.

    Attributes:
        max_kv_tokens: Tokens that its KV cache holds.
        max_num_seqs: Sequences it runs at once at most.
        block_size: Tokens of one block of its KV cache.
    """

    max_kv_tokens: int | None = None
    max_num_seqs: int | None = None
    block_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits(ToldLimits):
    """The limits of an engine that can be measured."""

    max_kv_tokens: int


def read_limits(page: str) -> ToldLimits:
    """The limits on a metrics page of vLLM, SGLang or a Dynamo frontend; nothing is known of a page of another kind.

    Of several engines behind one page, the smallest counts.
    """
    try:
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    except ValueError:
        return ToldLimits()
    block_size = _least(samples, "dynamo_frontend_model_kv_cache_block_size")
    blocks = _least(samples, "dynamo_frontend_model_total_kv_blocks")
    tokens = [
        *_vllm_tokens(samples),
        *([size] if (size := _least(samples, "sglang:max_total_num_tokens")) else []),
        *([blocks * block_size] if blocks and block_size else []),
    ]
    return ToldLimits(
        max_kv_tokens=min(tokens, default=None),
        max_num_seqs=_least(samples, "dynamo_frontend_model_max_num_seqs"),
        block_size=block_size or min(_of_label(samples, "block_size"), default=None),
    )


def _vllm_tokens(samples: list[Sample]) -> list[int]:
    # Models with several kinds of attention have blocks of several sizes: the number of tokens, where told, is right.
    if told := _of_label(samples, "kv_cache_size_tokens"):
        return told
    pairs = zip(_of_label(samples, "num_gpu_blocks"), _of_label(samples, "block_size"), strict=False)
    return [blocks * size for blocks, size in pairs]


def _of_label(samples: list[Sample], label: str) -> list[int]:
    values = [sample.labels.get(label, "") for sample in samples if sample.name == "vllm:cache_config_info"]
    return [int(value) for value in values if value.isdecimal() and int(value) > 0]


def _least(samples: list[Sample], name: str) -> int | None:
    return min((int(sample.value) for sample in samples if sample.name == name and sample.value >= 1), default=None)
