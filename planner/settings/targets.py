"""The service-level targets and the load to assume."""

from __future__ import annotations

from typing import ClassVar

from planner.settings.options import OptionGroup, option


class TargetOptions(OptionGroup):
    """The service-level targets and the load to assume."""

    title: ClassVar[str] = "Targets and expected load"

    ttft: float = option(
        500.0,
        "Target of the time to first token.",
        unit="ms",
        gt=0,
        reloadable=True,
        allow_inf_nan=False,
    )
    itl: float = option(
        50.0, "Target of the inter-token latency.", unit="ms", gt=0, reloadable=True, allow_inf_nan=False
    )
    isl: float = option(3000, "Input sequence length to assume until it is observed.", unit="tokens", gt=0, le=1e9)
    osl: float = option(150, "Output sequence length to assume until it is observed.", unit="tokens", gt=0, le=1e9)
