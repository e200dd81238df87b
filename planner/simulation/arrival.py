"""A request to come, and lengths drawn for it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

_SPREAD = 0.5


class Arrival(NamedTuple):
    """A request to come: when (seconds), input and output length (tokens)."""

    time: float
    isl: int
    osl: int


def draw_lengths(generator: np.random.Generator, mean: float, count: int) -> list[int]:
    """So many log-normal lengths around a mean, in tokens, 1 or more."""
    drawn = generator.lognormal(math.log(max(1.0, mean)) - _SPREAD**2 / 2, _SPREAD, count)
    return [int(value) for value in np.maximum(1, drawn.round())]
