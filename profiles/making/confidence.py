"""How sure a mean is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Quantiles of Student's t at 97.5 %, by degrees of freedom from 1; beyond them the normal's 1.96 is close.
_STUDENT_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with half the width of its 95 % confidence interval; that is infinite for a single value."""

    value: float
    half_width: float

    @property
    def relative(self) -> float:
        """Half the width over the value."""
        return self.half_width / self.value


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of values, at least one, and how sure it is if they are independent and about normal."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Mean(mean, math.inf)
    freedom = len(values) - 1
    quantile = _STUDENT_T[freedom - 1] if freedom <= len(_STUDENT_T) else 1.96
    return Mean(mean, quantile * statistics.stdev(values) / math.sqrt(len(values)))
