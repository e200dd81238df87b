"""Where to put the points of a profile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def geometric(least: float, most: float, points: int) -> list[int]:
    """At most ``points`` whole numbers from ``least`` to ``most``, each about the same factor above the last.

    Latencies bend where batches and contexts are small; even spacing wastes its points where they are straight.
    """
    if most <= least:
        return [round(least)]
    return [int(value) for value in np.unique(np.geomspace(least, most, points).round())]


def coarse_to_fine(length: int) -> list[int]:
    """The indices 0 to ``length - 1``, the ends first, then the middles: whatever was done covers the whole range."""
    if length < 2:
        return list(range(length))
    order, gaps = [0, length - 1], [(0, length - 1)]
    while gaps:
        halves = []
        for low, high in gaps:
            if high - low > 1:
                middle = (low + high) // 2
                order.append(middle)
                halves += [(low, middle), (middle, high)]
        gaps = halves
    return order


def coarse_grid(contexts: Sequence[int], batches: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Pairs of batch and context, from a coarse grid to a fine one.

    Args:
        contexts: Context lengths.
        batches: The batches of each.
    """
    rows = {row: rank for rank, row in enumerate(coarse_to_fine(len(contexts)))}
    pairs = [
        (rank + rows[row], (batches[row][index], contexts[row]))
        for row in rows
        for rank, index in enumerate(coarse_to_fine(len(batches[row])))
    ]
    return [pair for _, pair in sorted(pairs, key=lambda entry: entry[0])]
