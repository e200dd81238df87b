"""What a prefill engine can do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from profiles.nnls import nnls
from profiles.pchip import Pchip

Vector = NDArray[np.float64]


class PrefillProfile:
    """Time to first token of an otherwise idle prefill engine, by input sequence length.

    Between profiled lengths a shape-preserving cubic; beyond them a non-negative quadratic in ISL (attention is
    quadratic, the rest linear), scaled to meet the outermost point. Lengths are never clamped: an input twice as
    long as any profiled one takes at least twice as long.

    Attributes:
        gpus: GPUs of one engine.
        isl_range: Shortest and longest profiled input, tokens.
    """

    def __init__(self, isl: Vector, ttft_ms: Vector, *, gpus: int) -> None:
        """Fit profiled points.

        Args:
            isl: Input sequence lengths, tokens, shape (n,), strictly increasing, above 0.
            ttft_ms: Time to first token at each, milliseconds, shape (n,), above 0.
            gpus: GPUs of one engine.
        """
        self.gpus = gpus
        self.isl_range = float(isl[0]), float(isl[-1])
        self._inside = Pchip(isl, ttft_ms)
        self._fit = _quadratic(isl, ttft_ms)

    def ttft_ms(self, isl: float) -> float:
        """Time to first token, milliseconds, of an input of ``isl`` tokens on an idle engine.

        Raises:
            ValueError: ``isl`` is not positive.
        """
        if not isl > 0:
            raise ValueError(f"isl is {isl}; an input has more than 0 tokens")
        shortest, longest = self.isl_range
        if isl < shortest:
            return self._inside(shortest) * self._fitted(isl) / self._fitted(shortest)
        if isl > longest:
            return self._inside(longest) * self._fitted(isl) / self._fitted(longest)
        return self._inside(isl)

    def throughput_per_gpu(self, isl: float) -> float:
        """Input tokens per second and GPU of a busy engine whose inputs have ``isl`` tokens: ISL / TTFT / GPUs.

        Raises:
            ValueError: ``isl`` is not positive.
        """
        return isl / self.ttft_ms(isl) * 1000 / self.gpus

    def _fitted(self, isl: float) -> float:
        constant, linear, quadratic = self._fit
        return constant + isl * (linear + isl * quadratic)


def _quadratic(isl: Vector, ttft_ms: Vector) -> tuple[float, float, float]:
    """Coefficients >= 0 of 1, isl, isl^2 that minimise the relative error; strictly increasing in isl."""
    design = np.stack([np.ones_like(isl), isl, isl**2], axis=1) / ttft_ms[:, None]
    constant, linear, quadratic = nnls(design, np.ones_like(isl))
    if linear == quadratic == 0:
        # Flat or falling data still must not promise that longer inputs are free.
        linear = ttft_ms[-1] / isl[-1]
        constant = 0.0
    return float(constant), float(linear), float(quadratic)
