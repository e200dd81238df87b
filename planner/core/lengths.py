"""How lengths of requests are spread around their mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

# Where nothing is known: log-normal lengths with this standard deviation of the logarithm.
_USUAL_SIGMA = 0.6
_WEIGHT = 0.2

# Shares of requests that are treated alike, finer where lengths are long.
_SHARES = (*[0.1] * 9, 0.05, 0.04, 0.01)
_MIDDLES = tuple(sum(_SHARES[:index]) + share / 2 for index, share in enumerate(_SHARES))
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class LengthShape:
    """Quantiles of a length over its mean, smoothed.

    Attributes:
        ratios: Logarithm of quantile over mean, by probability; empty before any was seen.
    """

    ratios: Mapping[float, float] = field(default_factory=dict)

    def learn(self, quantiles: Mapping[float, float] | None, mean: float | None) -> LengthShape:
        """The shape after one more interval; without quantiles it stays as it is."""
        if not quantiles or not mean:
            return self
        seen = {p: math.log(max(value, 0.01 * mean) / mean) for p, value in quantiles.items()}
        before = {**seen, **self.ratios}
        return LengthShape({p: before[p] + _WEIGHT * (value - before[p]) for p, value in seen.items()})

    def spread(self) -> tuple[tuple[float, float], ...]:
        """Shares of requests with their length over the mean, so that the mean is kept; shares add up to 1."""
        raw = [math.exp(self._log_ratio(p)) for p in _MIDDLES]
        mean = math.fsum(share * ratio for share, ratio in zip(_SHARES, raw, strict=True))
        return tuple((share, ratio / mean) for share, ratio in zip(_SHARES, raw, strict=True))

    def second_moment(self) -> float:
        """Mean square of lengths over the square of their mean."""
        return math.fsum(share * ratio * ratio for share, ratio in self.spread())

    def _log_ratio(self, p: float) -> float:
        """Linear between known quantiles on a normal scale, and on beyond them."""
        z = _NORMAL.inv_cdf(p)
        known = sorted((_NORMAL.inv_cdf(at), value) for at, value in self.ratios.items())
        if len(known) < 2:
            return _USUAL_SIGMA * z - _USUAL_SIGMA**2 / 2
        index = next((i for i in range(1, len(known) - 1) if known[i][0] >= z), len(known) - 1)
        (z0, low), (z1, high) = known[index - 1], known[index]
        return low + (high - low) * (z - z0) / (z1 - z0)
