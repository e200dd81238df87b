"""The points that a measurement goes through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profiles.making.grid import coarse_grid, coarse_to_fine, geometric
from profiles.making.limits import EngineLimits
from profiles.making.request import MeasureRequest

# Of the KV cache, so that what a sequence grows by while it is measured still fits.
_FULLEST = 0.95


@dataclass(frozen=True, slots=True)
class Point:
    """A latency to measure: TTFT of an input, or ITL of a batch in a context.

    Attributes:
        context_length: Tokens of the input, or mean context length of the batch.
        batch: Sequences that decode together; 0 for TTFT.
    """

    context_length: int
    batch: int = 0

    def __str__(self) -> str:
        """In words."""
        if not self.batch:
            return f"TTFT at ISL {self.context_length}"
        sequences = "sequence" if self.batch == 1 else "sequences"
        return f"ITL of {self.batch} {sequences} at context {self.context_length}"

    @property
    def weight(self) -> float:
        """How long it takes to measure, in arbitrary units: a constant and the tokens to be prefilled."""
        return 200.0 + (0.3 * self.batch or 5.0) * self.context_length


@dataclass(frozen=True, slots=True)
class Plan:
    """The points to measure, from a coarse grid to a fine one: whenever it ends, the whole range was covered."""

    prefill: Sequence[Point]
    decode: Sequence[Point]

    @classmethod
    def of(
        cls, request: MeasureRequest, limits: EngineLimits, longest_prompt: int | None, longest_context: int | None
    ) -> Plan:
        """The points of a request.

        Args:
            request: What is asked for.
            limits: Limits of the decode engine.
            longest_prompt: Tokens that the prefill engine takes at most, if known.
            longest_context: Tokens that the decode engine takes at most, if known.
        """
        most_isl = min(request.lengths[1], (longest_prompt or request.lengths[1] + 8) - 8)
        lengths = geometric(request.lengths[0], most_isl, request.prefill_points)
        growth = 2 * request.steps
        least, most = request.contexts or (request.lengths[0] + growth, request.lengths[1])
        most = min(most, (longest_context or most + growth) - growth, int(_FULLEST * limits.max_kv_tokens))
        contexts = geometric(max(least, growth), most, request.context_points)
        batches = [geometric(1, _most_batch(context, request, limits), request.batch_points) for context in contexts]
        return cls(
            [Point(lengths[index]) for index in coarse_to_fine(len(lengths))],
            [Point(context, batch) for batch, context in coarse_grid(contexts, batches)],
        )

    def described(self, request: MeasureRequest, prefill_model: str, decode_model: str) -> Mapping[str, Any]:
        """What makes two measurements the same one."""
        return {
            "prefill": {"url": request.prefill.shown, "model": prefill_model, "api": request.prefill.api},
            "decode": {"url": request.decode.shown, "model": decode_model, "api": request.decode.api},
            "lengths": sorted(point.context_length for point in self.prefill),
            "grid": sorted((point.batch, point.context_length) for point in self.decode),
            "steps": request.steps,
        }

    def __len__(self) -> int:
        """Points in all."""
        return len(self.prefill) + len(self.decode)


def _most_batch(context: int, request: MeasureRequest, limits: EngineLimits) -> int:
    # Sequences end longer than they are on average.
    fitting = max(1, int(_FULLEST * limits.max_kv_tokens // (context + request.steps)))
    return min(limit for limit in (fitting, limits.max_num_seqs, request.most_sequences) if limit)
