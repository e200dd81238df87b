"""Made-up load: rates that follow a pattern, and the requests that come of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.simulation.arrival import Arrival, draw_lengths
from planner.simulation.load import day_curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Made-up load.

    Attributes:
        kind: A key of PATTERNS.
        rps: Arrivals per second at the beginning, or at the lowest.
        peak_rps: Arrivals per second at the end, or at the highest.
        period_s: Length of a period: of the wave, from one burst to the next, until the step.
        duration_s: Length of the load.
        isl: Mean input sequence length, tokens.
        osl: Mean output sequence length, tokens.
        burstiness: Coefficient of variation of the time between arrivals; 1 for Poisson.
        gaps: Distribution of that time, a key of GAPS.
        seed: Of the arrivals.
    """

    kind: str
    rps: float
    peak_rps: float
    period_s: float = 900.0
    duration_s: float = 3600.0
    isl: float = 3000.0
    osl: float = 150.0
    burstiness: float = 1.0
    gaps: str = "gamma"
    seed: int = 0


def _sinusoid(pattern: Pattern, time: float) -> float:
    return day_curve(low_rps=pattern.rps, high_rps=pattern.peak_rps, period_s=pattern.period_s)(time)


def _burst(pattern: Pattern, time: float) -> float:
    return pattern.peak_rps if time % pattern.period_s > 0.9 * pattern.period_s else pattern.rps


def _diurnal(pattern: Pattern, time: float) -> float:
    """A working day: a long low night, a morning that climbs, two humps."""
    phase = time / pattern.period_s % 1
    humps = math.exp(-(((phase - 0.45) / 0.1) ** 2)) + 0.9 * math.exp(-(((phase - 0.65) / 0.12) ** 2))
    return pattern.rps + (pattern.peak_rps - pattern.rps) * min(1.0, humps)


PATTERNS: dict[str, Callable[[Pattern, float], float]] = {
    "constant": lambda pattern, _: pattern.rps,
    "step": lambda pattern, time: pattern.peak_rps if time >= pattern.period_s else pattern.rps,
    "ramp": lambda pattern, time: pattern.rps + (pattern.peak_rps - pattern.rps) * time / pattern.duration_s,
    "sinusoid": _sinusoid,
    "burst": _burst,
    "diurnal": _diurnal,
}


Gaps = Callable[[int], NDArray[np.float64]]


def _gamma(generator: np.random.Generator, variation: float) -> Gaps:
    """Gaps of mean 1 and a coefficient of variation."""
    shape = 1 / variation**2
    return lambda count: generator.gamma(shape, 1 / shape, count)


def _weibull(generator: np.random.Generator, variation: float) -> Gaps:
    """Gaps of mean 1 and a coefficient of variation, whose shape is found by halving."""
    low, high = 0.05, 100.0
    for _ in range(60):
        shape = math.sqrt(low * high)
        # cv^2 + 1 = gamma(1 + 2 / k) / gamma(1 + 1 / k)^2, which falls as the shape k grows.
        ratio = math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)
        low, high = (shape, high) if ratio > math.log1p(variation**2) else (low, shape)
    scale = 1 / math.gamma(1 + 1 / shape)
    return lambda count: scale * generator.weibull(shape, count)


GAPS: dict[str, Callable[[np.random.Generator, float], Gaps]] = {"gamma": _gamma, "weibull": _weibull}


def generate(pattern: Pattern) -> Iterator[Arrival]:
    """The arrivals of a pattern: gaps of one distribution, on a clock that runs as fast as the rate is high."""
    generator = np.random.default_rng(pattern.seed)
    rate = PATTERNS[pattern.kind]
    draw = GAPS[pattern.gaps](generator, pattern.burstiness)
    time = 0.0
    while True:
        isl, osl = draw_lengths(generator, pattern.isl, 1000), draw_lengths(generator, pattern.osl, 1000)
        for gap, *lengths in zip(draw(1000), isl, osl, strict=True):
            time = _pass(pattern, rate, time, float(gap))
            if time >= pattern.duration_s:
                return
            yield Arrival(time, *lengths)


def _pass(pattern: Pattern, rate: Callable[[Pattern, float], float], time: float, expected: float) -> float:
    """When so many more arrivals are expected; the rate is taken to be constant for a second."""
    while time < pattern.duration_s:
        rps = max(rate(pattern, time), 1e-9)
        if expected <= rps * 1.0:
            return time + expected / rps
        expected -= rps
        time += 1.0
    return time
