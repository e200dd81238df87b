"""What the simulation needs to know of an engine; the profiles answer it, and so may any formula."""

from __future__ import annotations

from typing import Protocol


class PrefillEngine(Protocol):
    """How long a prompt takes."""

    def ttft_ms(self, isl: float, /) -> float:
        """Time to first token, milliseconds, of an input of ``isl`` tokens on an idle engine."""
        ...


class DecodeEngine(Protocol):
    """How fast a batch generates, and how large it may be."""

    @property
    def max_kv_tokens(self) -> int:
        """Tokens that the KV cache of one engine holds."""
        ...

    @property
    def max_num_seqs(self) -> int | None:
        """Sequences that one engine runs at once at most; None for no limit."""
        ...

    def itl_ms(self, concurrency: float, context_length: float, /) -> float:
        """Inter-token latency, milliseconds, of ``concurrency`` sequences of a mean ``context_length``, tokens."""
        ...


class Engines(Protocol):
    """The engines of both roles, such as a ``profiles.EngineProfile``."""

    @property
    def prefill(self) -> PrefillEngine:
        """What a prefill worker runs."""
        ...

    @property
    def decode(self) -> DecodeEngine:
        """What a decode worker runs."""
        ...


class CostedPrefillEngine(PrefillEngine, Protocol):
    """A prefill engine whose GPUs are counted."""

    @property
    def gpus(self) -> int:
        """GPUs of one engine."""
        ...


class CostedDecodeEngine(DecodeEngine, Protocol):
    """A decode engine whose GPUs are counted."""

    @property
    def gpus(self) -> int:
        """GPUs of one engine."""
        ...

    def best_throughput_per_gpu(self, itl_ms: float, context_length: float, /) -> float:
        """Most output tokens per second and GPU with an ITL of at most ``itl_ms``."""
        ...


class CostedEngines(Protocol):
    """Engines of both roles whose GPUs are counted, such as a ``profiles.EngineProfile``."""

    @property
    def prefill(self) -> CostedPrefillEngine:
        """What a prefill worker runs."""
        ...

    @property
    def decode(self) -> CostedDecodeEngine:
        """What a decode worker runs."""
        ...
