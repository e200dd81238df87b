"""What a measurement is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from profiles.making.endpoint import Endpoint
from profiles.making.sweep import Precision
from profiles.provenance import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRequest:
    """What to measure, and how.

    Attributes:
        prefill: Where prefill is measured.
        decode: Where decode is measured; the same for an aggregated engine.
        prefill_engine: What is known of the prefill engine.
        decode_engine: What is known of the decode engine; without ``max_num_seqs``, what it tells.
        max_kv_tokens: Tokens that the decode engine's KV cache holds; left out, what it tells.
        system: The GPUs.
        backend: The engine's software.
        backend_version: Its version.
        lengths: Shortest and longest input to measure, tokens.
        contexts: Shortest and longest context to measure, tokens; None for as long as inputs.
        prefill_points: Inputs to measure.
        context_points: Contexts to measure.
        batch_points: Batches to measure in each context.
        most_sequences: Largest batch to measure; None for what the cache holds.
        steps: Tokens that all sequences decode together in one run.
        precision: When a point is measured well enough.
        time_limit_s: Time after which no further point is measured, seconds; None for none.
    """

    prefill: Endpoint
    decode: Endpoint
    prefill_engine: Engine = field(default_factory=Engine)
    decode_engine: Engine = field(default_factory=Engine)
    max_kv_tokens: int | None = None
    system: str | None = None
    backend: str | None = None
    backend_version: str | None = None
    lengths: tuple[int, int] = (100, 16_384)
    contexts: tuple[int, int] | None = None
    prefill_points: int = 10
    context_points: int = 6
    batch_points: int = 7
    most_sequences: int | None = None
    steps: int = 64
    precision: Precision = field(default_factory=Precision)
    time_limit_s: float | None = None
