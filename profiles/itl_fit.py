"""A monotone model of ITL, for what lies outside the measured region."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from profiles.nnls import nnls

Vector = NDArray[np.float64]

# Batches at which an engine passes from reading weights to computing; which of them matter, the data says.
_KNEES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ItlFit:
    """ITL as a + sum a_k min(n, k) / k + b n + c n y with coefficients >= 0: it grows with concurrency n and context y.

    A knee beyond the largest batch looks like the line b n as far as batches go, and falls behind it further on: there
    is none.
    """

    def __init__(
        self, concurrency: Vector, context_length: Vector, itl_ms: Vector, weights: Vector | None = None
    ) -> None:
        """Fit points so that their relative errors are small.

        Args:
            concurrency: Sequences in the batch, shape (n,), above 0.
            context_length: Mean context length, tokens, shape (n,), above 0.
            itl_ms: Inter-token latency, milliseconds, shape (n,), above 0.
            weights: How much each point counts, shape (n,), at least 0; all the same if left out.
        """
        self._knees = [knee for knee in _KNEES if knee < concurrency.max()]
        design = np.array([self._features(n, y) for n, y in zip(concurrency, context_length, strict=True)])
        scale = np.ones_like(itl_ms) if weights is None else np.sqrt(weights)
        self._coefficients = nnls(design * (scale / itl_ms)[:, None], scale).tolist()

    def __call__(self, concurrency: float, context_length: float) -> float:
        """ITL of a batch, milliseconds."""
        features = self._features(concurrency, context_length)
        return math.fsum(a * b for a, b in zip(self._coefficients, features, strict=True))

    def _features(self, concurrency: float, context_length: float) -> list[float]:
        knees = [min(concurrency, knee) / knee for knee in self._knees]
        return [1.0, *knees, concurrency, concurrency * context_length]
