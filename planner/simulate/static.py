"""The smallest pool of always the same size that attains a share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from planner.core.budget import Limits
from planner.simulation.score import Score

# What no traffic needs more of; if so many workers are not enough, no number is.
_PLENTY = 4096

Size = tuple[int, int]
"""Prefill and decode workers; 0 prefill workers in an aggregated deployment."""
TryOut = Callable[[Sequence[Size]], Sequence[Score]]
"""Simulates pools of these sizes, side by side, and tells how each did."""


class NotAttainedError(Exception):
    """No static pool attains the share; the message says what is attained at most."""


@dataclass(frozen=True, slots=True)
class SmallestStatic:
    """What a search found.

    Attributes:
        size: The smallest pool that attains the share.
        tried: Share of requests within both targets of every pool that was tried, in the order they were.
    """

    size: Size
    tried: Mapping[Size, float]


class _Search:
    """Pools that were tried, none of them twice."""

    def __init__(self, try_out: TryOut, wanted: float) -> None:
        self._try_out = try_out
        self._wanted = wanted
        self.scores: dict[Size, Score] = {}

    def enough(self, sizes: Sequence[Size]) -> list[bool]:
        """Whether pools attain the share."""
        new = [size for size in dict.fromkeys(sizes) if size not in self.scores]
        self.scores |= zip(new, self._try_out(new), strict=True)
        return [self.scores[size].within_both >= self._wanted for size in sizes]

    def enlarged(self, size: Size) -> Size:
        """The pool made larger where it is too small."""
        score = self.scores[size]
        grown = math.ceil(1.4 * size[0]), math.ceil(1.4 * size[1])
        ttft, itl = score.within_ttft >= self._wanted, score.within_itl >= self._wanted
        if ttft == itl or size[0] == 0:
            return grown
        return (size[0], grown[1]) if ttft else (grown[0], size[1])


def smallest_static(try_out: TryOut, wanted: float, start: Size, limits: Limits) -> SmallestStatic:
    """The pool with the fewest GPUs that attains a share; more workers are taken never to serve worse.

    First a pool that is enough; then the least that each pool needs while the other has twice that; then the pools
    from these on in the order of their GPUs, until one is enough.

    Args:
        try_out: Simulates pools.
        wanted: Share of requests within both targets.
        start: Where to begin to look.
        limits: Workers that each pool keeps, and what they take; its budget does not count.

    Raises:
        NotAttainedError: Not even any number of workers attain it.
    """
    search = _Search(try_out, wanted)
    plenty = (0 if limits.aggregated else _PLENTY), _PLENTY
    size = limits.raise_to_minimum(*start)
    at_once = search.enough([size, plenty])
    if not at_once[1]:
        raise NotAttainedError(f"no static pool attains {wanted:.1%}: {_at_most(search.scores[plenty])}")
    while not search.enough([size])[0]:
        size = search.enlarged(size)
    least = _least_of_each(search, size, limits)
    for candidates in _in_order(least, size, limits):
        if True in (enough := search.enough(candidates)):
            size = candidates[enough.index(True)]
            break
    return SmallestStatic(size, {tried: score.within_both for tried, score in search.scores.items()})


def _at_most(score: Score) -> str:
    if math.isnan(score.within_both):
        return "no request can be served within both targets, not even by idle engines"
    return f"however many workers there are, {score.within_both:.2%} of the requests are within both targets"


def _least_of_each(search: _Search, size: Size, limits: Limits) -> Size:
    """The least prefill workers with plenty of decode workers, and the reverse; both found by halving, side by side."""
    low, high = [least - 1 for least in limits.least], list(size)
    while openings := [index for index in (0, 1) if high[index] - low[index] > 1]:
        middles = {index: (low[index] + high[index]) // 2 for index in openings}
        sizes = [(middles[0], 2 * size[1]) if index == 0 else (2 * size[0], middles[1]) for index in openings]
        for index, enough in zip(openings, search.enough(sizes), strict=True):
            (high if enough else low)[index] = middles[index]
    return high[0], high[1]


def _in_order(least: Size, most: Size, limits: Limits) -> Iterator[list[Size]]:
    """Pools between two by the GPUs they take, in pairs that can be tried side by side."""
    between = product(range(least[0], most[0] + 1), range(least[1], most[1] + 1))
    sizes = sorted(between, key=lambda size: (limits.gpus(*size), size))
    yield from (sizes[at : at + 2] for at in range(0, len(sizes), 2))
