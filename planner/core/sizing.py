"""The seam between an expected load and the workers it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from planner.core.decision import LoadForecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The service-level targets.

    Attributes:
        ttft_ms: Time to first token, milliseconds.
        itl_ms: Inter-token latency, milliseconds.
    """

    ttft_ms: float
    itl_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Observed over expected latency of each pool; 1 where nothing was learnt."""

    prefill: float = 1.0
    decode: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """The workers a load needs, before minimum, patience and budget.

    Attributes:
        prefill: Prefill workers, 0 or more.
        decode: Decode workers, 0 or more.
        prefill_feasible: Whether an idle prefill engine meets the TTFT target at this ISL.
        decode_feasible: Whether a decode engine with a single sequence meets the ITL target at this context length.
        warnings: What is out of reach, a sentence each.
    """

    prefill: int
    decode: int
    prefill_feasible: bool
    decode_feasible: bool
    warnings: tuple[str, ...] = ()


class Sizing(Protocol):
    """A rule that turns an expected load into workers."""

    def required(self, load: LoadForecast, targets: Targets, corrections: Corrections) -> Requirement:
        """The workers that ``load`` needs to stay within ``targets``."""
        ...
