"""The manifests: the planner understands what they tell it, and finds what it needs where it runs."""

from __future__ import annotations

import pytest

from planner.cli import parse

# What the operator tells every planner component.
OPERATOR = {
    "DYN_NAMESPACE": "ml-disagg",
    "DYN_PARENT_DGD_K8S_NAME": "disagg",
    "DYN_PARENT_DGD_K8S_NAMESPACE": "ml",
    "DYN_SYSTEM_PORT": "9090",
    "PLANNER_PROMETHEUS_PORT": "9085",
}


def components(dgd):
    """The components of a deployment of either shape: type, name, pod, main container, GPUs."""
    if "components" in dgd["spec"]:
        for one in dgd["spec"]["components"]:
            pod = one["podTemplate"]["spec"]
            main = next(container for container in pod["containers"] if container["name"] == "main")
            yield one["type"], one, pod, main, main.get("resources", {}).get("limits", {}).get("nvidia.com/gpu")
    else:
        for one in dgd["spec"]["services"].values():
            pod = one["extraPodSpec"]
            gpus = one.get("resources", {}).get("limits", {}).get("gpu")
            yield one.get("subComponentType", one["componentType"]), one, pod, pod["mainContainer"], gpus


def find(dgd, kind):
    return next(found for found in components(dgd) if found[0] == kind)


def test_every_backend_in_both_versions():
    from tests.deployment.conftest import DGDS

    backends, versions = ("vllm", "sglang", "trtllm"), ("v1alpha1", "v1beta1")
    assert {path.stem for path in DGDS} == {f"{backend}-{version}" for backend in backends for version in versions}


def test_a_deployment_is_disaggregated_and_scaled_through_adapters(dgd):
    assert sorted(kind for kind, *_ in components(dgd)) == ["decode", "frontend", "planner", "prefill"]
    for role in ("prefill", "decode"):
        _, component, _, container, gpus = find(dgd, role)
        assert "scalingAdapter" in component
        assert gpus == "1"
        assert dgd["spec"]["backendFramework"] in container["command"][-1]
        assert any(word.startswith("--model") for word in container["args"])


def test_the_planner_understands_what_a_deployment_tells_it(dgd):
    _, _, _, container, _ = find(dgd, "planner")
    assert container["command"] == ["python3", "-m", "planner"]
    settings = parse(container["args"], OPERATOR).settings
    assert settings.environment == "kubernetes"
    assert settings.backend == dgd["spec"]["backendFramework"]
    assert (settings.dgd_namespace, settings.dgd_name, settings.namespace) == ("ml", "disagg", "ml-disagg")
    assert settings.report_ports == (9085, 9090), "metrics, and where the operator probes"
    assert settings.leader_elect, "a rollout runs the old and the new planner for a while"


def test_the_planner_alone_understands_what_it_is_told(load):
    pod = load("standalone.yaml")[0]["spec"]["template"]["spec"]
    settings = parse(pod["containers"][0]["args"], {}).settings
    assert settings.dgd_name == "vllm-disagg"
    assert settings.leader_elect
    assert settings.metric_reporting_prometheus_port == pod["containers"][0]["ports"][0]["containerPort"]
    assert pod["serviceAccountName"] == load("rbac.yaml")[0]["metadata"]["name"]


def hardened(pod, container):
    security = {**pod.get("securityContext", {}), **container["securityContext"]}
    assert security["runAsNonRoot"]
    assert security["readOnlyRootFilesystem"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounted["/tmp"]] == {"name": "tmp", "emptyDir": {}}, "models are fitted in a writable /tmp"
    return volumes, mounted


def test_planners_run_on_a_read_only_root_with_their_profile(dgd, load):
    _, _, pod, container, _ = find(dgd, "planner")
    alone = load("standalone.yaml")[0]["spec"]["template"]["spec"]
    for where, what, arguments in ((pod, container, OPERATOR), (alone, alone["containers"][0], {})):
        volumes, mounted = hardened(where, what)
        profile = parse(what["args"], arguments).settings.profile_results_dir
        assert volumes[mounted[profile]]["configMap"] == {"name": "planner-profile-data"}


def test_frontends_are_scraped_with_the_label_that_the_planner_asks_for(load):
    frontend, planner, alone = load("monitoring.yaml")
    relabel = {
        "sourceLabels": ["__meta_kubernetes_pod_label_nvidia_com_dynamo_namespace"],
        "targetLabel": "dynamo_namespace",
    }
    assert frontend["spec"]["selector"]["matchLabels"] == {"nvidia.com/dynamo-component-type": "frontend"}
    for monitor in (frontend, planner):
        assert relabel in monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]
    service = load("standalone.yaml")[2]
    assert alone["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert alone["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


@pytest.mark.parametrize("path", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_ask_pages_that_are_served(load, path):
    container = load("standalone.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    assert container[path]["httpGet"]["path"] in ("/healthz", "/readyz")
    assert container[path]["httpGet"]["port"] == container["ports"][0]["name"]


def test_the_planner_of_autoscalers_is_where_they_ask(load):
    deployment, service = load("virtual.yaml")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    settings = parse(container["args"], {}).settings
    assert (settings.environment, settings.virtual_ack_timeout) == ("virtual", 0)
    assert deployment["spec"]["replicas"] == 1
    assert pod["automountServiceAccountToken"] is False, "it asks nothing of Kubernetes"
    volumes, mounted = hardened(pod, container)
    assert volumes[mounted[settings.profile_results_dir]]["configMap"] == {"name": "planner-profile-data"}
    token = volumes[mounted[str(settings.virtual_token_file.parent)]]["secret"]["secretName"]
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert ports == {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {
        "metrics": settings.metric_reporting_prometheus_port,
        "decisions": int(settings.virtual_listen.rpartition(":")[2]),
    }
    authentication, *scaled = load("keda-scaledobject.yaml")
    assert authentication["spec"]["secretTargetRef"][0]["name"] == token
    for one in scaled:
        url = one["spec"]["triggers"][0]["metadata"]["url"]
        assert url == f"http://{service['metadata']['name']}:{ports['decisions']}/api/v1/desired"
