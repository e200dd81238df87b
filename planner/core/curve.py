"""What a decode engine does with batches of every size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from profiles import EngineProfile

# Latency, queue and all, is worked out at so many batch sizes.
_GRID = 48


class DecodeCurve:
    """Batches of a decode engine at one context length.

    Attributes:
        sizes: Sequences of a batch, rising, (n,).
        itl_s: ITL of each, seconds, (n,).
        tokens_rps: Tokens per second of each, (n,).
    """

    def __init__(self, profile: EngineProfile, context_length: float) -> None:
        """Work out the batches.

        Args:
            profile: What engines can do.
            context_length: Tokens of each sequence.
        """
        capacity = profile.decode.kv_capacity(context_length)
        sizes = np.unique(np.concatenate([np.arange(1, min(capacity, 12) + 1), np.geomspace(1, capacity, _GRID)]))
        self.sizes = sizes
        self.itl_s = np.array([profile.decode.itl_ms(float(size), context_length) for size in sizes]) / 1000
        # A batch that is slower than a larger one is a dip in the data, not something to rely on.
        self.tokens_rps = np.maximum.accumulate(sizes / self.itl_s)

    def within(self, itl_s: float) -> float:
        """The largest batch whose ITL, and that of every smaller one, is at most ``itl_s``; 0 if there is none."""
        meets = np.maximum.accumulate(self.itl_s) <= itl_s
        if not meets[0]:
            return 0.0
        if meets[-1]:
            return float(self.sizes[-1])
        last = int(np.argmin(meets)) - 1
        low, high = self.itl_s[last], self.itl_s[last + 1]
        return float(self.sizes[last] + (self.sizes[last + 1] - self.sizes[last]) * (itl_s - low) / (high - low))

    def batch_at(self, tokens_rps: float) -> float:
        """The batch that makes so many tokens per second; infinite if none does."""
        if tokens_rps > self.tokens_rps[-1]:
            return math.inf
        if tokens_rps <= self.tokens_rps[0]:
            return float(tokens_rps / self.tokens_rps[0])
        return float(np.interp(tokens_rps, self.tokens_rps, self.sizes))

    def elasticity(self, batch: float) -> float:
        """By how many percent ITL grows when the batch grows by one; between 0 and 0.9."""
        low, high = max(1.0, 0.9 * batch), max(1.0, 1.1 * batch) + 1e-6
        itl_low, itl_high = np.interp([low, high], self.sizes, self.itl_s)
        return float(min(0.9, max(0.0, math.log(itl_high / itl_low) / math.log(high / low)))) if high > low else 0.0
