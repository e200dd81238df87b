"""The rights that are shipped for the controller and its jobs: what they need, and nothing more."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from planner.dgdr.controller.job import ACCOUNT
from planner.dgdr.controller.rights import CONTROLLER_LEASE_RIGHTS, CONTROLLER_RIGHTS, JOB_RIGHTS

FOLDER = Path(__file__).parents[3] / "examples" / "kubernetes" / "dgdr"
FILES = [
    ("controller.yaml", "Role", (*CONTROLLER_RIGHTS, *CONTROLLER_LEASE_RIGHTS)),
    ("cluster-wide.yaml", "ClusterRole", CONTROLLER_RIGHTS),
    ("profiling-job.yaml", "Role", JOB_RIGHTS),
]


def documents(name):
    return {one["kind"]: one for one in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))}


@pytest.mark.parametrize(("name", "kind", "rights"), FILES)
def test_they_are_what_is_asked_for_and_nothing_else(name, kind, rights):
    granted = [
        (group, resource, verb)
        for rule in documents(name)[kind]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert len(set(granted)) == len(granted)
    assert set(granted) == {(right.resource.group, right.what, right.verb) for right in rights}


@pytest.mark.parametrize(("name", "kind", "rights"), FILES)
def test_nothing_leads_to_more_rights(name, kind, rights):
    for rule in documents(name)[kind]["rules"]:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])
        assert not {"secrets", "pods/exec", "roles", "rolebindings"} & set(rule["resources"])


def test_the_account_of_jobs_is_the_one_they_run_under():
    assert documents("profiling-job.yaml")["ServiceAccount"]["metadata"]["name"] == ACCOUNT
    assert documents("profiling-job.yaml")["RoleBinding"]["subjects"][0]["name"] == ACCOUNT


def test_the_deployment_is_a_command_that_is_understood():
    from planner.cli import parse

    [container] = documents("controller.yaml")["Deployment"]["spec"]["template"]["spec"]["containers"]
    invocation = parse(container["args"], {})
    assert invocation.name == "dgdr controller"
    assert invocation.settings.leader_elect
