"""The status of a request in both shapes: what is written is what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.dgdr.controller.status import (
    GENERATED,
    Condition,
    Deployment,
    Phase,
    Shape,
    State,
    Status,
    read_status,
    shape_of,
    written,
)
from planner.dgdr.ownership import Owner, label, shortened

NOW = "2026-11-01T12:00:00Z"
ALPHA = {"metadata": {"name": "r", "namespace": "ml"}, "spec": {"profilingConfig": {}}}
BETA = {"metadata": {"name": "r", "namespace": "ml"}, "spec": {}}

words = st.text("abc ", max_size=8)
conditions = st.dictionaries(
    st.sampled_from(("Validation", "Profiling", "SpecGenerated", "DeploymentReady")),
    st.builds(Condition, st.sampled_from((True, False, None)), words, words, st.just(NOW)),
)
deployments = st.builds(
    Deployment, name=st.just("d"), namespace=st.just("ml"), state=words, replicas=st.just(0), available=st.just(0)
)


@given(st.sampled_from(State), st.integers(1, 9), conditions, st.none() | deployments)
def test_what_is_written_in_v1alpha1_is_read(state, observed, conditions, deployment):
    if state is State.DEPLOYED or state is State.READY:
        state = State.DEPLOYED if deployment else State.READY
    status = Status(
        state=state,
        observed=observed,
        conditions=conditions,
        backend="vllm",
        results="r",
        generated={"kind": "D"},
        deployment=deployment,
    )
    assert read_status({**ALPHA, "status": written(status, ALPHA, NOW)}) == status


@given(st.sampled_from(State), conditions, st.none() | st.sampled_from(Phase), st.integers(0, 9))
def test_what_is_written_in_v1beta1_is_read(state, conditions, phase, replicas):
    deployed = Deployment(name="d", namespace="ml", replicas=replicas, available=replicas // 2)
    status = Status(
        state=state, observed=2, conditions=conditions, results="r", job="j", phase=phase, deployment=deployed
    )
    found = read_status({**BETA, "status": written(status, BETA, NOW)})
    assert found.conditions.pop("Succeeded").ok == {
        State.READY: True,
        State.DEPLOYED: True,
        State.FAILED: False,
        State.DELETED: False,
    }.get(state)
    # It has no word for a deployment that was deleted, and names none then.
    assert found.state == (State.FAILED if state is State.DELETED else state)
    assert found.deployment == (None if state is State.DELETED else deployed)
    assert (found.conditions, found.phase, found.job, found.results) == (conditions, phase, "j", "r")


def test_the_generated_deployment_of_v1beta1_is_in_an_annotation():
    body = {**BETA, "metadata": {**BETA["metadata"], "annotations": {GENERATED: '{"kind": "D"}'}}}
    assert read_status(body).generated == {"kind": "D"}


def test_fields_of_others_stay():
    body = {**ALPHA, "status": {"state": "Pending", "custom": 1}}
    assert written(read_status(body), body, NOW)["custom"] == 1


def test_shapes_are_told_by_what_they_have():
    assert shape_of({**ALPHA, "apiVersion": "nvidia.com/v1beta1"}) is Shape.ALPHA
    assert shape_of({**BETA, "apiVersion": "nvidia.com/v1alpha1"}) is Shape.BETA


def test_a_condition_keeps_its_time_while_its_status_stays():
    status = Status().with_condition("Profiling", False, "Running", "1 of 2", "earlier")
    assert (
        status.with_condition("Profiling", False, "Running", "2 of 2", NOW).conditions["Profiling"].since == "earlier"
    )
    assert status.with_condition("Profiling", True, "Done", "", NOW).conditions["Profiling"].since == NOW


@pytest.mark.parametrize("status", [{"state": "Sleeping"}, {"conditions": [{"status": "True"}]}, {"conditions": 3}])
def test_a_status_that_nobody_writes_is_refused(status):
    with pytest.raises(ValueError, match="its status cannot be read"):
        read_status({**ALPHA, "status": status})


@given(st.text("abcdef-", min_size=1, max_size=253), st.text("abcdef-", min_size=1, max_size=253))
def test_names_are_shortened_apart(one, other):
    assert len(label(one)) <= 63
    assert (label(one) == label(other)) == (one == other)
    assert shortened(one, 253) == one


def test_what_belongs_to_a_request_is_told_from_what_an_earlier_one_left():
    owner, earlier = (Owner(name="r", namespace="ml", uid=uid) for uid in ("2", "1"))
    mine, left = ({"metadata": one.metadata("x")} for one in (owner, earlier))
    assert owner.owns(mine)
    assert owner.named_on(left)
    assert not owner.owns(left)
    assert not owner.named_on({"metadata": Owner(name="s", namespace="ml", uid="3").metadata("x")})
    assert mine["metadata"]["ownerReferences"][0]["uid"] == "2"
