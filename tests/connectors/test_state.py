import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.virtual import VirtualDecision, VirtualState
from planner import Workers

counts = st.integers(min_value=0, max_value=1_000_000)
pools = st.none() | st.builds(Workers, counts, counts, counts)


@st.composite
def states(draw):
    """What a planner and an orchestrator can make of a state."""
    state = VirtualState()
    for step in draw(st.lists(st.sampled_from(["decide", "complete", "report"]), max_size=8)):
        newest = state.decision.decision_id
        if step == "decide":
            state = state.decide(draw(counts), draw(counts), draw(st.floats(allow_nan=False, allow_infinity=False)))
        elif step == "report":
            state = state.report(draw(pools), draw(pools))
        elif newest >= 0:
            state = state.complete(draw(st.integers(min_value=0, max_value=newest)))
    return state


def test_before_the_first_decision_everything_is_unset_and_nothing_is_outstanding():
    state = VirtualState()
    assert state.decision == VirtualDecision(-1, -1, -1)
    assert state.scaled_decision_id == -1
    assert state.acknowledged


def test_ids_grow_by_one_from_zero():
    state = VirtualState()
    for number in range(5):
        state = state.decide(1, 2, 10.0 * number)
        assert state.decision == VirtualDecision(1, 2, number)
        assert state.decided_at == 10.0 * number


def test_a_decision_is_outstanding_until_it_is_completed():
    decided = VirtualState().decide(3, 4, 0.0)
    assert not decided.acknowledged
    completed = decided.complete(0)
    assert completed.acknowledged
    assert completed.scaled_decision_id == 0
    assert completed.completed == (3, 4)


def test_a_change_leaves_the_old_state_as_it_was():
    state = VirtualState()
    state.decide(3, 4, 0.0).complete(0)
    assert state == VirtualState()


@pytest.mark.parametrize("number", [-2, -1, 0, 1])
def test_nothing_can_be_completed_before_the_first_decision(number):
    with pytest.raises(ValueError, match=f"decision {number} was never made; there is none yet"):
        VirtualState().complete(number)


@pytest.mark.parametrize("number", [-1, 2, 10**9])
def test_a_decision_that_was_never_made_cannot_be_completed(number):
    state = VirtualState().decide(1, 1, 0.0).decide(2, 2, 1.0)
    with pytest.raises(ValueError, match=f"decision {number} was never made; the newest is 1"):
        state.complete(number)


def test_completing_twice_changes_nothing():
    completed = VirtualState().decide(1, 1, 0.0).complete(0)
    assert completed.complete(0) == completed


def test_completing_an_older_decision_than_completed_changes_nothing():
    completed = VirtualState().decide(1, 1, 0.0).decide(2, 2, 1.0).complete(1)
    assert completed.complete(0) == completed


def test_completing_an_older_decision_than_the_newest_leaves_the_newest_outstanding():
    state = VirtualState().decide(1, 1, 0.0).complete(0).decide(2, 2, 1.0).decide(3, 3, 2.0).complete(1)
    assert state.scaled_decision_id == 1
    assert not state.acknowledged


def test_a_pool_that_is_left_out_of_a_report_stays_as_it_was():
    state = VirtualState().report(Workers(1), Workers(2)).report(None, Workers(3, 4, 5))
    assert (state.prefill, state.decode) == (Workers(1), Workers(3, 4, 5))
    assert state.report(Workers(7), None).prefill == Workers(7)
    assert state.report(None, None) == state


def test_a_report_of_no_workers_at_all_is_a_report():
    assert VirtualState().report(Workers(2), None).report(Workers(0), None).prefill == Workers(0)


@given(states())
def test_a_state_comes_back_from_json_as_it_was(state):
    assert VirtualState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


@given(states())
def test_what_was_completed_is_never_newer_than_what_was_decided(state):
    assert -1 <= state.scaled_decision_id <= state.decision.decision_id
    assert (state.completed is None) or state.scaled_decision_id >= 0


@pytest.mark.parametrize(
    "changes",
    [
        {"scaled_decision_id": 3},
        {"scaled_decision_id": -2},
        {"scaled_decision_id": "many"},
        {"scaled_decision_id": None},
        {"decision": {"decision_id": -2}},
        {"decision": {"colour": 1}},
        {"decision": [1, 2, 3]},
        {"decision": None},
        {"decided_at": "noon"},
        {"completed": [1]},
        {"completed": 1},
        {"prefill": {"ready": -1}},
        {"prefill": {"pending": 1}},
        {"decode": {"ready": 1, "colour": 2}},
        {"decode": "many"},
    ],
)
def test_a_state_that_contradicts_itself_is_refused(changes):
    good = VirtualState().decide(1, 1, 0.0).decide(2, 2, 1.0).to_dict()
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError, IndexError)):
        VirtualState.from_dict({**good, **changes})


@pytest.mark.parametrize("name", ["decision", "decided_at", "scaled_decision_id", "completed", "prefill", "decode"])
def test_a_state_with_a_part_missing_is_refused(name):
    data = VirtualState().to_dict()
    del data[name]
    with pytest.raises(KeyError):
        VirtualState.from_dict(data)
