"""Searches for the number at which something changes."""

from __future__ import annotations

import math
from collections.abc import Callable

_HALVINGS = 12


def first_that(meets: Callable[[int], bool], least: int) -> int:
    """The first number from ``least`` on that meets a condition which, once met, stays so; ``least`` if none does."""
    if meets(least):
        return least
    low, high = least, 2 * least
    while not meets(high):
        low, high = high, 2 * high
        if high > 1 << 19:
            return least
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return high


def where_reached(rising: Callable[[float], float], value: float, low: float, high: float) -> float:
    """Where between two bounds a function that rises reaches a value; next to the bound where it does not.

    By bisection of the logarithm, to a 4096th of the way.

    Args:
        rising: The function.
        value: What it should reach.
        low: The lower bound, above 0.
        high: The upper one.
    """
    below, above = math.log(low), math.log(high)
    for _ in range(_HALVINGS):
        middle = (below + above) / 2
        if rising(math.exp(middle)) < value:
            below = middle
        else:
            above = middle
    return math.exp((below + above) / 2)
