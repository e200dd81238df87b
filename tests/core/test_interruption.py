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
    prompt_s=0.05,
    prompt_square_s2=0.0035,
    prompts_rps=60.0,
    burstiness=1.0,
    workers=10,
)


@pytest.mark.parametrize("turns", [0.1, 0.5, 1.0, 3.0, 20.0])
def test_every_second_phase_brings_a_prompt(turns):
    drawn = np.random.default_rng(1).poisson(2 * turns, 200_000) // 2
    found = interruptions(turns)
    assert found.none == pytest.approx((drawn == 0).mean(), abs=0.005)
    assert found.mean == pytest.approx(drawn[drawn > 0].mean(), rel=0.01)
    assert found.variance == pytest.approx(drawn[drawn > 0].var(), rel=0.05, abs=0.005)


def test_short_outputs_are_seldom_interrupted():
    """A worker is passed over at first: of as many independent prompts, a tenth of the outputs would meet one."""
    assert interruptions(0.1).none > 0.98
    assert interruptions(0.0).none == 1.0


@given(st.floats(0.0, 200.0), st.floats(0.0, 200.0))
def test_more_turns_bring_more(one, other):
    fewer, more = interruptions(min(one, other)), interruptions(max(one, other))
    assert more.none <= fewer.none + 1e-6
    assert more.mean >= fewer.mean - 1e-2
    assert fewer.variance >= 0


@given(
    st.floats(0.004, 0.05),
    st.floats(0.0, 0.04),
    st.floats(1.0, 5000.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 10.0),
)
def test_fewer_are_late_with_a_looser_target(target_s, looser_s, tokens, evened, rounds):
    late = WORKER.late(target_s, tokens, evened, rounds)
    assert 0 <= WORKER.late(target_s + looser_s, tokens, evened, rounds) <= late + 1e-12 <= 1 + 1e-12


def test_bursts_and_waiting_prompts_make_more_late():
    usual = WORKER.late(0.012, 200, 1.0, 0.0)
    assert replace(WORKER, burstiness=9.0).late(0.012, 200, 1.0, 0.0) > usual
    assert WORKER.late(0.012, 200, 1.0, 5.0) > usual
    assert replace(WORKER, workers=20).late(0.012, 200, 1.0, 0.0) < usual
