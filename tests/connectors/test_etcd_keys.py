"""What the keys in etcd say, whoever wrote them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from connectors.virtual.etcd.gateway import Entry
from connectors.virtual.etcd.keys import Keys
from connectors.virtual.state import VirtualDecision, VirtualState
from planner import Workers

KEYS = Keys("dynamo")
COUNTS = st.integers(0, 10**6)


def entries(puts):
    return {key: Entry(value, 1, lease) for key, (value, lease) in puts.items()}


def test_the_keys_are_dynamos():
    assert KEYS.prefill == "v1/dynamo/planner/num_prefill_workers"
    assert KEYS.decode == "v1/dynamo/planner/num_decode_workers"
    assert KEYS.decision_id == "v1/dynamo/planner/decision_id"
    assert KEYS.scaled_decision_id == "v1/dynamo/planner/scaled_decision_id"


def test_one_range_covers_every_key_and_dynamos_prefix_only_its_own():
    assert all(KEYS.first <= key < KEYS.end for key in KEYS.all)
    assert sum(key.startswith("v1/dynamo/planner/") for key in KEYS.all) == 4
    other = Keys("dynamo-2")
    assert not any(KEYS.first <= key < KEYS.end for key in other.all)


@given(COUNTS, COUNTS, st.integers(0, 10**9))
def test_a_decision_is_read_as_it_was_written(prefill, decode, number):
    decision = VirtualDecision(prefill, decode, number)
    assert KEYS.decision(entries(KEYS.write_decision(decision, 7))) == decision


@given(COUNTS, COUNTS, st.floats(0, 1e10), st.booleans())
def test_a_planners_memory_is_read_as_it_was_written(prefill, decode, time, complete):
    state = VirtualState().decide(prefill, decode, time).report(Workers(1), None)
    state = state.complete(0) if complete else state
    remembered = KEYS.remembered(entries(KEYS.write_memory(state)))
    assert (remembered.decision, remembered.decided_at) == (state.decision, time)
    assert (remembered.scaled_decision_id, remembered.completed) == (state.scaled_decision_id, state.completed)
    assert remembered.prefill is None


@given(COUNTS, COUNTS)
def test_reports_are_read_as_they_were_written(ready, pending):
    state = VirtualState().report(Workers(ready, pending=pending), None)
    assert KEYS.reported(entries(KEYS.write_workers(state, 7))) == (Workers(ready, pending=pending), None)


@given(
    st.text()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["prefill", "decode", "ready", "decision"]), inner)
        ),
    ).map(json.dumps)
)
def test_whatever_stands_there_ends_nothing(value):
    standing = {key: Entry(value, 1) for key in KEYS.all}
    assert KEYS.scaled(standing) >= -1
    assert min(KEYS.decision(standing).targets) >= -1
    assert all(pool is None or isinstance(pool.ready, int) for pool in KEYS.reported(standing))
    assert KEYS.remembered(standing).decision.decision_id >= -1
