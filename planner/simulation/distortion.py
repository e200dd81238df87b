"""Engines that are not what their profile says."""

from __future__ import annotations

from dataclasses import dataclass

from planner.simulation.engine import CostedDecodeEngine, CostedEngines, CostedPrefillEngine


@dataclass(frozen=True, slots=True)
class SlowerPrefill:
    """A prefill engine whose TTFT is a multiple of another's."""

    engine: CostedPrefillEngine
    factor: float

    @property
    def gpus(self) -> int:
        """GPUs of one engine."""
        return self.engine.gpus

    def ttft_ms(self, isl: float, /) -> float:
        """Time to first token, milliseconds."""
        return self.factor * self.engine.ttft_ms(isl)


@dataclass(frozen=True, slots=True)
class SlowerDecode:
    """A decode engine whose ITL is a multiple of another's."""

    engine: CostedDecodeEngine
    factor: float

    @property
    def gpus(self) -> int:
        """GPUs of one engine."""
        return self.engine.gpus

    @property
    def max_kv_tokens(self) -> int:
        """Tokens that its KV cache holds."""
        return self.engine.max_kv_tokens

    @property
    def max_num_seqs(self) -> int | None:
        """Sequences it runs at once at most."""
        return self.engine.max_num_seqs

    def itl_ms(self, concurrency: float, context_length: float, /) -> float:
        """Inter-token latency, milliseconds."""
        return self.factor * self.engine.itl_ms(concurrency, context_length)

    def best_throughput_per_gpu(self, itl_ms: float, context_length: float, /) -> float:
        """Most output tokens per second and GPU with an ITL of at most ``itl_ms``."""
        return self.engine.best_throughput_per_gpu(itl_ms / self.factor, context_length) / self.factor


@dataclass(frozen=True, slots=True)
class Slower:
    """Both engines."""

    prefill: SlowerPrefill
    decode: SlowerDecode


def slower(engines: CostedEngines, *, ttft: float, itl: float) -> Slower:
    """Engines whose latencies are multiples of others'."""
    return Slower(SlowerPrefill(engines.prefill, ttft), SlowerDecode(engines.decode, itl))
