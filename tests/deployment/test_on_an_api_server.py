"""The manifests, applied to a real API server the way their comments say; the rights, asked of it."""

from __future__ import annotations

import subprocess
import uuid

import pytest
import yaml

from tests.deployment.conftest import DGDS, KUBERNETES

pytestmark = pytest.mark.live

ACCOUNT = "planner-serviceaccount"


@pytest.fixture(scope="module")
def namespace(kube_api_server):
    name = kube_api_server.namespace(f"ml-{uuid.uuid4().hex[:6]}")
    kube_api_server.kubectl("apply", "-n", name, "-f", str(KUBERNETES / "rbac.yaml"))
    return name


@pytest.fixture(scope="module")
def apply(kube_api_server, namespace):
    """Applies a manifest with kubectl, which checks fields against what the server says there are."""

    def run(text):
        if "policy/v1\n" in text and not kube_api_server.request("GET", "/apis/policy/v1").is_success:
            text = text.replace("policy/v1\n", "policy/v1beta1\n")  # before 1.21
        return kube_api_server.kubectl("apply", "-n", namespace, "-f", "-", text=text)

    return run


@pytest.mark.parametrize("path", DGDS, ids=lambda path: path.stem)
def test_deployments_are_accepted_as_they_are(kube_api_server, namespace, apply, path):
    text = path.read_text(encoding="utf-8")
    apply(text)
    wanted = yaml.safe_load(text)
    version, name = wanted["apiVersion"].partition("/")[2], wanted["metadata"]["name"]
    base = f"/apis/nvidia.com/{version}/namespaces/{namespace}/dynamographdeployments/{name}"
    assert kube_api_server.request("GET", base).json()["spec"] == wanted["spec"], "nothing was dropped or defaulted"
    kube_api_server.request("DELETE", base)


@pytest.mark.parametrize("name", ["standalone.yaml", "monitoring.yaml"])
def test_manifests_are_accepted(apply, name):
    shown = apply((KUBERNETES / name).read_text(encoding="utf-8"))
    assert shown.count("created") == 3


def test_the_chart_is_accepted(apply, helm):
    from profiles import sample_profile_dir

    profile = [
        word
        for role in ("prefill", "decode")
        for word in ("--set-file", f"profile.{role}={sample_profile_dir()}/{role}_raw_data.json")
    ]
    monitors = ("--set", "monitoring.planner=true,monitoring.frontend=true")
    shown = helm("template", "planner", "--set", "deployment.name=vllm-disagg", *monitors, *profile, "--no-hooks")
    text = "".join(line for line in shown.stdout.splitlines(keepends=True) if "namespace: default" not in line)
    assert apply(text).count("created") == 10


def test_the_controller_of_requests_is_accepted(apply, helm, kube_api_server):
    for name in ("controller.yaml", "profiling-job.yaml"):
        assert "created" in apply((KUBERNETES / "dgdr" / name).read_text(encoding="utf-8"))
    shown = kube_api_server.kubectl("apply", "-f", str(KUBERNETES / "dgdr" / "cluster-wide.yaml"))
    assert shown.count("created") == 2
    rendered = helm("template", "other", "--set", "dgdr.enabled=true,deployment.name=").stdout
    text = "".join(line for line in rendered.splitlines(keepends=True) if "namespace: default" not in line)
    # The account of jobs and its role are there already, from the manifests.
    assert apply(text).count("created") == 4


def test_a_profile_becomes_a_config_map_as_the_docs_say(kube_api_server, namespace, tmp_path):
    import sys

    from profiles import load_profiles, sample_profile_dir

    command = [sys.executable, "-m", "planner", "profile", "convert", sample_profile_dir(), "--to", "configmap"]
    subprocess.run([*command, "--output", tmp_path], check=True, capture_output=True, timeout=60)
    kube_api_server.kubectl("apply", "-n", namespace, "-f", str(tmp_path / "planner-profile-data.yaml"))
    path = f"/api/v1/namespaces/{namespace}/configmaps/planner-profile-data"
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    for name, content in kube_api_server.request("GET", path).json()["data"].items():
        (mounted / name).write_text(content)
    load_profiles(mounted, prefill_gpus=1, decode_gpus=1)


@pytest.fixture(scope="module")
def may(kube_api_server, namespace):
    """Whether the planner's account may do something, in its namespace or another."""
    token = kube_api_server.token_of(namespace, ACCOUNT)

    def ask(verb, group, resource, subresource="", *, where=namespace):
        attributes = {"namespace": where, "verb": verb, "group": group, "resource": resource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**attributes, "subresource": subresource}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = kube_api_server.request("POST", path, token=token, json=review)
        return answer.raise_for_status().json()["status"]["allowed"]

    return ask


def test_the_rights_are_enough_and_no_more(may):
    dgd, adapter = ("nvidia.com", "dynamographdeployments"), ("nvidia.com", "dynamographdeploymentscalingadapters")
    assert all(may(verb, *dgd) for verb in ("get", "list", "watch", "patch"))
    assert all(may(verb, *adapter, "scale") for verb in ("get", "patch"))
    assert may("list", "", "pods")
    assert may("list", "nvidia.com", "dynamoworkermetadatas")
    assert all(may(verb, "coordination.k8s.io", "leases") for verb in ("get", "create", "update"))
    assert may("create", "", "events")
    assert not any(may(verb, *dgd) for verb in ("create", "delete", "update"))
    assert not any(may(verb, *dgd, where="default") for verb in ("get", "patch"))
    assert not any(may(verb, "", "pods") for verb in ("get", "create", "delete", "patch"))
    assert not any(may("get", "", resource) for resource in ("secrets", "configmaps"))
    assert not may("delete", "coordination.k8s.io", "leases")
