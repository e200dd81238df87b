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
