"""What a decode engine can do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from profiles.itl_fit import ItlFit
from profiles.pchip import Pchip, averaged

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A batch that a decode engine can run.

    Attributes:
        concurrency: Sequences in the batch.
        itl_ms: Inter-token latency at that concurrency, milliseconds.
        throughput_per_gpu: Output tokens per second and GPU.
        feasible: Whether the ITL asked for is met.
    """

    concurrency: int
    itl_ms: float
    throughput_per_gpu: float
    feasible: bool


class DecodeProfile:
    """Inter-token latency of a decode engine, by concurrency and context length.

    Inside the measured region: in each profiled context a shape-preserving cubic in KV usage, between contexts linear
    in 1 / context length. Outside: a fit a + sum a_k min(n, k) / k + b n + c n y with coefficients >= 0, which grows
    with the concurrency n and the context length y, scaled to meet the border. Nothing is clamped. Throughput is
    derived: concurrency over ITL. ``benchmarks/profile_holdout.py`` compares this with other ways.

    Attributes:
        gpus: GPUs of one engine.
        max_kv_tokens: Tokens that the KV cache of one engine holds.
        max_num_seqs: Sequences an engine runs at once at most; None if not known.
    """

    def __init__(
        self,
        kv_usage: Vector,
        context_length: Vector,
        itl_ms: Vector,
        *,
        max_kv_tokens: int,
        gpus: int,
        max_num_seqs: int | None = None,
    ) -> None:
        """Fit profiled points, in any order, at least one.

        Args:
            kv_usage: Share of the KV cache in use, shape (n,), above 0.
            context_length: Mean context length, ISL + OSL / 2, tokens, shape (n,), above 0.
            itl_ms: Inter-token latency, milliseconds, shape (n,), above 0.
            max_kv_tokens: Tokens that the KV cache of one engine holds.
            gpus: GPUs of one engine.
            max_num_seqs: Sequences an engine runs at once at most.
        """
        self.gpus = gpus
        self.max_kv_tokens = max_kv_tokens
        self.max_num_seqs = max_num_seqs
        self._fit = ItlFit(kv_usage * max_kv_tokens / context_length, context_length, itl_ms)
        self._rows = _rows(kv_usage, context_length, itl_ms)
        self._contexts = np.array(sorted(self._rows))
        self.operating_point = lru_cache(maxsize=256)(self._operating_point)

    def kv_capacity(self, context_length: float) -> int:
        """Sequences of a mean context length, tokens, that an engine can hold at once; at least 1."""
        fitting = int(self.max_kv_tokens // context_length)
        return max(1, fitting if self.max_num_seqs is None else min(fitting, self.max_num_seqs))

    def itl_ms(self, concurrency: float, context_length: float) -> float:
        """Inter-token latency, milliseconds, of a batch.

        Args:
            concurrency: Sequences in the batch, above 0; a mean may be a fraction.
            context_length: Their mean context length, tokens, above 0.

        Raises:
            ValueError: An argument is not positive.
        """
        if not (concurrency > 0 and context_length > 0):
            raise ValueError(f"concurrency is {concurrency} and context_length {context_length}; both are above 0")
        nearest = float(min(max(context_length, self._contexts[0]), self._contexts[-1]))
        inside = self._between_rows(concurrency * nearest / self.max_kv_tokens, nearest)
        if nearest == context_length:
            return inside
        return inside * self._fit(concurrency, context_length) / self._fit(concurrency, nearest)

    def _between_rows(self, kv_usage: float, context_length: float) -> float:
        index = int(np.searchsorted(self._contexts, context_length))
        upper = float(self._contexts[index])
        if upper == context_length:
            return self._in_row(kv_usage, upper)
        lower = float(self._contexts[index - 1])
        weight = (1 / lower - 1 / context_length) / (1 / lower - 1 / upper)
        return (1 - weight) * self._in_row(kv_usage, lower) + weight * self._in_row(kv_usage, upper)

    def _in_row(self, kv_usage: float, context_length: float) -> float:
        row = self._rows[context_length]
        nearest = min(max(kv_usage, row.least), row.most)
        inside = row.itl_ms(nearest)
        if nearest == kv_usage:
            return inside
        per_usage = self.max_kv_tokens / context_length
        fitted = self._fit(kv_usage * per_usage, context_length)
        return inside * fitted / self._fit(nearest * per_usage, context_length)

    def best_throughput_per_gpu(self, itl_ms: float, context_length: float) -> float:
        """Most output tokens per second and GPU with an ITL of at most ``itl_ms``, at a mean context length.

        Where even one sequence misses ``itl_ms``, the most that an engine can reach at all.
        """
        return self.operating_point(itl_ms, context_length).throughput_per_gpu

    def _operating_point(self, itl_ms: float, context_length: float) -> OperatingPoint:
        """The batch with the best throughput among those that meet an ITL.

        A batch counts as meeting it only if every smaller one does as well: a dip in measured data beyond the target
        is not worth trusting, and a worker passes through the smaller batches on its way.

        Args:
            itl_ms: The latency to meet, milliseconds.
            context_length: Mean context length, tokens.
        """
        batches = self._batches(context_length)
        latencies = np.array([self.itl_ms(float(batch), context_length) for batch in batches])
        within = np.maximum.accumulate(latencies) <= itl_ms
        feasible = bool(within[0])
        throughput = batches / latencies
        best = int(np.argmax(np.where(within, throughput, 0.0) if feasible else throughput))
        if feasible:
            batches, latencies = self._refine(batches, latencies, best, itl_ms, context_length)
            best = int(np.argmax(batches / latencies))
        return OperatingPoint(
            concurrency=int(batches[best]),
            itl_ms=float(latencies[best]),
            throughput_per_gpu=float(batches[best] / latencies[best] * 1000 / self.gpus),
            feasible=feasible,
        )

    def _batches(self, context_length: float) -> Vector:
        """Batch sizes to look at: every small one, and larger ones two percent apart up to capacity."""
        capacity = self.kv_capacity(context_length)
        spaced = np.geomspace(1, capacity, 1 + math.ceil(math.log(capacity) / 0.02)) if capacity > 1 else np.ones(1)
        return np.unique(np.concatenate([np.arange(1, min(capacity, 50) + 1), spaced.round()])).astype(float)

    def _refine(
        self, batches: Vector, latencies: Vector, best: int, itl_ms: float, context_length: float
    ) -> tuple[Vector, Vector]:
        """Every batch between the best one looked at and the next, as far as they meet the latency."""
        last = int(batches[best + 1]) if best + 1 < len(batches) else int(batches[best]) + 1
        sizes, found = [batches[best]], [latencies[best]]
        for size in range(int(batches[best]) + 1, last):
            latency = self.itl_ms(float(size), context_length)
            if latency > itl_ms:
                break
            sizes.append(float(size))
            found.append(latency)
        return np.array(sizes), np.array(found)


class _Row:
    """ITL by KV usage at one profiled context length."""

    def __init__(self, kv_usage: Vector, itl_ms: Vector) -> None:
        self.least, self.most = float(kv_usage.min()), float(kv_usage.max())
        self.itl_ms = Pchip(*averaged(kv_usage, itl_ms))


def _rows(kv_usage: Vector, context_length: Vector, itl_ms: Vector) -> Mapping[float, _Row]:
    return {
        float(context): _Row(kv_usage[context_length == context], itl_ms[context_length == context])
        for context in np.unique(context_length)
    }
