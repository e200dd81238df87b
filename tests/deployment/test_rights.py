"""The rights that are shipped: what the planner needs, and nothing that would let it do more."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from connectors.kubernetes.rights import LEASE_RIGHTS, RIGHTS

RBAC = Path(__file__).parents[2] / "examples" / "kubernetes" / "rbac.yaml"


@pytest.fixture(scope="module")
def documents():
    return {one["kind"]: one for one in yaml.safe_load_all(RBAC.read_text(encoding="utf-8"))}


def test_the_account_has_the_name_that_the_operator_insists_on(documents):
    assert documents["ServiceAccount"]["metadata"]["name"] == "planner-serviceaccount"
    assert documents["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": "planner-serviceaccount"}]
    assert documents["RoleBinding"]["roleRef"]["name"] == documents["Role"]["metadata"]["name"]


def test_they_are_what_the_planner_asks_for_and_nothing_else(documents):
    granted = {
        (group, resource, verb)
        for rule in documents["Role"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {(right.resource.group, right.what, right.verb) for right in (*RIGHTS, *LEASE_RIGHTS)}


def test_rights_end_at_the_namespace(documents):
    assert set(documents) == {"ServiceAccount", "Role", "RoleBinding"}


def test_nothing_is_granted_wholesale(documents):
    for rule in documents["Role"]["rules"]:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert not {"delete", "deletecollection", "escalate", "bind", "impersonate"} & set(rule["verbs"])
        assert not {"secrets", "configmaps", "pods/exec"} & set(rule["resources"])
