"""The search for the smallest static pool."""

import math
from dataclasses import replace

import pytest

from planner.core.budget import Limits
from planner.simulate.static import NotAttainedError, smallest_static
from planner.simulation.score import Latency, Score

LATENCY = Latency(mean=1.0, p50=1.0, p90=1.0, p95=1.0, p99=1.0)
SCORE = Score(
    requests=1000,
    infeasible=0,
    within_both=0.0,
    within_ttft=0.0,
    within_itl=0.0,
    worst=0.0,
    ttft=LATENCY,
    itl=LATENCY,
    gpu_hours=1.0,
    bound_gpu_hours=1.0,
    scalings_per_hour=0.0,
    wasted_worker_minutes=0.0,
)
LIMITS = Limits(min_endpoint=1, max_gpus=None, prefill_gpus=1, decode_gpus=4)


def scored(share_of):
    """Tries pools out by a formula for the share within each target."""

    def try_out(sizes):
        shares = [share_of(*size) for size in sizes]
        return [
            replace(SCORE, within_ttft=ttft, within_itl=itl, within_both=max(0.0, ttft + itl - 1))
            for ttft, itl in shares
        ]

    return try_out


def filling(prefill, decode):
    return lambda p, d: (min(1.0, p / prefill), min(1.0, d / decode))


@pytest.mark.parametrize("start", [(1, 1), (7, 3), (200, 90)])
@pytest.mark.parametrize("needed", [(1, 1), (10, 3), (40, 17)])
def test_it_is_found_wherever_it_begins(start, needed):
    found = smallest_static(scored(filling(*needed)), 1.0, start, LIMITS)
    assert found.size == needed
    assert found.tried[needed] == 1.0
    assert len(found.tried) < 40


def test_workers_that_take_few_gpus_make_up_for_those_that_take_many():
    def share_of(prefill, decode):
        return 1 - 0.08 / prefill, 1 - 0.08 / decode

    found = smallest_static(scored(share_of), 0.95, (8, 8), LIMITS)
    least = min(
        (LIMITS.gpus(p, d), (p, d)) for p in range(1, 17) for d in range(1, 17) if 0.08 / p + 0.08 / d <= 0.05 + 1e-12
    )
    assert found.size == least[1]


def test_a_single_pool():
    limits = replace(LIMITS, aggregated=True)
    found = smallest_static(scored(lambda _, d: (min(1.0, d / 9), 1.0)), 0.99, (0, 2), limits)
    assert found.size == (0, 9)


def test_each_pool_keeps_its_minimum():
    found = smallest_static(scored(filling(1, 1)), 0.9, (5, 5), replace(LIMITS, min_endpoint=2))
    assert found.size == (2, 2)


@pytest.mark.parametrize("most", [0.9, math.nan])
def test_what_no_number_of_workers_attains_is_said(most):
    with pytest.raises(NotAttainedError, match=r"no static pool attains 95\.0%: however many workers"):
        smallest_static(scored(lambda *_: (most, most)), 0.95, (2, 2), LIMITS)
