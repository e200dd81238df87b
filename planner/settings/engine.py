"""What the workers run."""

from __future__ import annotations

from typing import ClassVar, Literal

from planner.settings.options import OptionGroup, option


class EngineOptions(OptionGroup):
    """What the workers run."""

    title: ClassVar[str] = "Engine"

    backend: Literal["vllm", "sglang", "trtllm", "mocker"] = option(
        "vllm", "Engine of the workers; names the components of a deployment."
    )
    max_num_batched_tokens: int = option(
        8192,
        "Tokens of prompts that one step of an engine takes up, with --mode agg, as vLLM calls it; "
        "--chunked-prefill-size of SGLang, --max_num_tokens of TensorRT-LLM.",
        unit="tokens",
        gt=0,
    )
