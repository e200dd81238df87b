"""Least squares with non-negative coefficients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


def nnls(design: Matrix, target: Vector) -> Vector:
    """The coefficients x >= 0 that minimise |design x - target|.

    The active-set method of C. L. Lawson and R. J. Hanson, "Solving Least Squares Problems", Prentice-Hall 1974,
    chapter 23. Written out here because scipy, which has it, costs a daemon half a second and 40 MiB.

    Args:
        design: Shape (rows, columns).
        target: Shape (rows,).

    Returns:
        Shape (columns,).
    """
    columns = design.shape[1]
    # Columns of like size keep the tolerance below meaningful for all of them.
    scale = np.linalg.norm(design, axis=0)
    scale[scale == 0] = 1.0
    scaled = design / scale
    solution, passive = np.zeros(columns), np.zeros(columns, dtype=bool)
    tolerance = 10 * np.finfo(float).eps * np.abs(scaled.T @ target).max(initial=0.0) * max(design.shape)
    for _ in range(3 * columns):
        gradient = scaled.T @ (target - scaled @ solution)
        gradient[passive] = -np.inf
        entering = int(np.argmax(gradient))
        if passive.all() or gradient[entering] <= tolerance:
            break
        passive[entering] = True
        solution = _feasible(scaled, target, solution, passive)
    return np.asarray(solution / scale)


def _feasible(design: Matrix, target: Vector, solution: Vector, passive: NDArray[np.bool_]) -> Vector:
    """Move towards the free optimum of the passive columns; those that would turn negative leave ``passive``."""
    while True:
        trial = np.zeros_like(solution)
        trial[passive] = np.linalg.lstsq(design[:, passive], target, rcond=None)[0]
        negative = passive & (trial <= 0)
        if not negative.any():
            return trial
        step = np.min(solution[negative] / (solution[negative] - trial[negative]))
        solution = solution + step * (trial - solution)
        passive &= solution > np.finfo(float).eps
        solution = np.where(passive, solution, 0.0)
