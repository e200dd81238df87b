"""Prompts between tokens: against draws, and at the ends."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.interruption import Interrupted, interruptions

WORKER = Interrupted(
    lone_s=0.004,
    step_s=0.006,
    rise_s=0.0005,
    busy=0.3,
    prompts=((0.5, 0.03), (0.5, 0.07)),
    prompts_rps=60.0,
    burstiness=1.0,
    workers=10,
    other=1.0,
    waiting=0.0,
    rounds=1.0,
)


def mean(found):
    return found.one + found.more * found.mean


@pytest.mark.parametrize("age", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("turns", [0.1, 0.5, 1.0, 3.0, 20.0])
def test_gaps_of_three_phases_bring_prompts(turns, age):
    phases = np.random.default_rng(1).exponential(1 / 3, (20_000, 200)).cumsum(axis=1)
    prompts = phases[:, 2::3]
    drawn = ((prompts > age) & (prompts <= age + turns)).sum(axis=1)
    assert mean(interruptions(turns, age=age)) == pytest.approx(drawn.mean(), rel=0.03, abs=0.005)


@pytest.mark.parametrize("turns", [0.3, 1.0, 5.0])
def test_prompts_that_follow_an_output_come_after_others(turns):
    """New ones come at random, and each is followed by one more with a probability."""
    generator = np.random.default_rng(2)
    fresh = mean(interruptions(turns)) * 0.6
    begun = generator.poisson(fresh, 200_000)
    drawn = begun + generator.binomial(begun, 0.4 * (1 - np.exp(-turns)))
    found = interruptions(turns, other=0.6)
    assert found.none == pytest.approx((drawn == 0).mean(), abs=0.005)
    assert found.one == pytest.approx((drawn == 1).mean(), abs=0.005)
    assert found.mean == pytest.approx(drawn[drawn > 1].mean(), rel=0.02)
    assert found.variance == pytest.approx(drawn[drawn > 1].var(), rel=0.1, abs=0.02)


def test_short_outputs_are_seldom_interrupted():
    """A worker is passed over at first: of as many independent prompts, a tenth of the outputs would meet one."""
    assert interruptions(0.1).none > 0.99
    assert interruptions(0.0).none == 1.0
    assert interruptions(0.1, age=0.5).none < 0.95


def test_a_prompt_that_waits_comes_at_once():
    found = interruptions(0.0, waiting=0.2)
    assert (found.none, found.one) == pytest.approx((0.8, 0.2))
    assert mean(interruptions(5.0, waiting=0.2, rounds=3.0)) == pytest.approx(mean(interruptions(5.0)) + 0.6)


@given(st.floats(0.0, 200.0), st.floats(0.0, 200.0), st.floats(0.1, 1.0), st.floats(0.0, 3.0))
def test_more_turns_bring_more(one, another, other, age):
    fewer, more = (interruptions(turns, other=other, age=age) for turns in sorted((one, another)))
    assert more.none <= fewer.none + 1e-6
    assert mean(more) >= mean(fewer) - 1e-2
    assert fewer.variance >= 0
    assert 0 <= fewer.one <= 1


@given(
    st.floats(0.004, 0.05),
    st.floats(0.0, 0.04),
    st.floats(1.0, 5000.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_fewer_are_late_with_a_looser_target(target_s, looser_s, steps, evened, waiting):
    worker = replace(WORKER, waiting=waiting)
    late = worker.late(target_s, steps, evened)
    assert 0 <= worker.late(target_s + looser_s, steps, evened) <= late + 1e-12 <= 1 + 1e-12


def test_an_output_of_a_few_tokens_is_late_if_its_prompt_is_longer_than_it_may_wait():
    """Three steps may take 60 ms, of which they need 18: half of the prompts last longer than the rest."""
    calm = replace(WORKER, prompts_rps=0.3, rise_s=0.0, waiting=0.1)
    assert calm.late(0.020, 3.0, 0.0) == pytest.approx(0.05, abs=0.002)


def test_bursts_and_waiting_prompts_make_more_late():
    usual = WORKER.late(0.012, 200, 1.0)
    assert replace(WORKER, burstiness=9.0).late(0.012, 200, 1.0) > usual
    assert replace(WORKER, waiting=0.5, rounds=5.0).late(0.012, 200, 1.0) > usual
    assert replace(WORKER, workers=20).late(0.012, 200, 1.0) < usual
