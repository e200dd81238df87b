"""The Helm chart, rendered by a real helm."""

from __future__ import annotations

import pytest
import yaml

from planner.cli import parse
from profiles import load_profiles, sample_profile_dir

NAME = "planner-sla-planner"
PROFILE = [
    word
    for role in ("prefill", "decode")
    for word in ("--set-file", f"profile.{role}={sample_profile_dir()}/{role}_raw_data.json")
]


def settings_of(rendered, tmp_path):
    file = tmp_path / "planner.yaml"
    file.write_text(rendered["ConfigMap", NAME]["data"]["planner.yaml"])
    return parse(["--config", str(file)], {}).settings


def test_it_passes_lint(helm):
    helm("lint", "--strict", "--set", "deployment.name=x")


def test_the_planner_understands_its_settings(render, tmp_path):
    rendered = render("--set", "settings.ttft=750", "--set", "settings.load_predictor=kalman")
    settings = settings_of(rendered, tmp_path)
    assert (settings.ttft, settings.load_predictor) == (750, "kalman")
    assert (settings.dgd_name, settings.dgd_namespace, settings.namespace) == ("vllm-disagg", "ml", "ml-vllm-disagg")
    assert settings.leader_elect
    container = rendered["Deployment", NAME]["spec"]["template"]["spec"]["containers"][0]
    assert settings.metric_reporting_prometheus_port == container["ports"][0]["containerPort"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {settings.profile_results_dir, "/etc/planner/settings", "/tmp"} <= mounts


def test_new_settings_are_new_pods(render):
    def annotations(*values):
        return render(*values)["Deployment", NAME]["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations()
    assert annotations() != annotations("--set", "settings.ttft=1")
    assert annotations() != annotations(*PROFILE)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("settings.tfft=3", "'tfft' not allowed"),
        ("settings.ttft=soon", "want number"),
        ("deployment.name=", "give the name of the DynamoGraphDeployment"),
        ("serviceAccount.create=false", "give the account to run as"),
        ("profile.prefill=x", "give both files of the profile"),
        ("replicas=many", "want integer"),
        ("monitring.planner=true", "'monitring' not allowed"),
        ("monitoring.alert=true", "'alert' not allowed"),
        ("settings.environment=virtual", "see examples/kubernetes/virtual.yaml"),
        ("settings.namespace=ml-x", "settings.namespace: give deployment.dynamoNamespace"),
        ("settings.metric_reporting_prometheus_port=9000", "probes and monitors ask port 9085"),
        ("settings.leader_elect=false", "without it all replicas would scale"),
        ("state.claim=kept", "a history is kept by one planner; set replicas=1"),
    ],
)
def test_what_cannot_work_is_refused_before_it_is_installed(helm, value, complaint):
    shown = helm("template", "planner", "--set", "deployment.name=x", "--set", value, check=False)
    assert shown.returncode != 0
    assert complaint in shown.stderr


def test_a_profile_from_files_is_the_one_that_is_mounted(render, tmp_path):
    rendered = render(*PROFILE)
    data = rendered["ConfigMap", f"{NAME}-profile"]["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    assert load_profiles(tmp_path, prefill_gpus=1, decode_gpus=1).warnings is not None
    volumes = rendered["Deployment", NAME]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "profile", "configMap": {"name": f"{NAME}-profile"}} in volumes
    assert ("ConfigMap", f"{NAME}-profile") not in render()


def test_its_rights_are_those_of_the_plain_manifest(render, load):
    plain = next(one for one in load("rbac.yaml") if one["kind"] == "Role")
    assert render()["Role", NAME]["rules"] == plain["rules"]


def test_a_deployment_in_another_namespace_is_reached_from_here(render, tmp_path):
    rendered = render("--set", "deployment.namespace=serving")
    assert settings_of(rendered, tmp_path).dgd_namespace == "serving"
    assert rendered["Role", NAME]["metadata"]["namespace"] == "serving"
    binding = rendered["RoleBinding", NAME]
    assert binding["metadata"]["namespace"] == "serving"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "ml"}]
    assert "namespace" not in rendered["Deployment", NAME]["metadata"]


def test_two_planners_and_one_of_them_at_a_time_is_evicted(render):
    rendered = render()
    assert rendered["Deployment", NAME]["spec"]["replicas"] == 2
    assert rendered["PodDisruptionBudget", NAME]["spec"]["maxUnavailable"] == 1
    assert ("PodDisruptionBudget", NAME) not in render("--set", "replicas=1")


def test_monitors_are_made_when_asked_for(render, load):
    assert not [kind for kind, _ in render() if kind.endswith("Monitor")]
    wanted = ("--set", "monitoring.planner=true,monitoring.frontend=true,monitoring.labels.release=prometheus")
    rendered = render(*wanted)
    frontend = rendered["PodMonitor", f"{NAME}-frontend"]
    assert frontend["metadata"]["labels"]["release"] == "prometheus"
    assert frontend["spec"]["podMetricsEndpoints"] == load("monitoring.yaml")[0]["spec"]["podMetricsEndpoints"]
    service = rendered["Service", NAME]["metadata"]["labels"]
    selected = rendered["ServiceMonitor", NAME]["spec"]["selector"]["matchLabels"]
    assert selected.items() <= service.items()


def test_alerts_and_the_dashboard_are_there_when_asked_for(render, root):
    kinds = {kind for kind, _ in render()}
    assert "PrometheusRule" not in kinds
    assert ("ConfigMap", f"{NAME}-dashboard") not in render()
    wanted = "monitoring.alerts=true,monitoring.dashboard=true,monitoring.labels.release=prometheus"
    rendered = render("--set", wanted, "--set", "monitoring.dashboardAnnotations.grafana_folder=Inference")
    rule = rendered["PrometheusRule", NAME]
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    grafana = root / "examples" / "grafana"
    assert rule["spec"] == yaml.safe_load((grafana / "alerts.yaml").read_text(encoding="utf-8"))["spec"]
    dashboard = rendered["ConfigMap", f"{NAME}-dashboard"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["metadata"]["annotations"] == {"grafana_folder": "Inference"}
    text = (grafana / "planner-dashboard.json").read_text(encoding="utf-8")
    assert dashboard["data"]["planner-dashboard.json"].strip() == text.strip()


def test_the_sidecar_may_select_by_another_label(render):
    rendered = render("--set", "monitoring.dashboard=true", "--set-json", 'monitoring.dashboardLabels={"show": "yes"}')
    labels = rendered["ConfigMap", f"{NAME}-dashboard"]["metadata"]["labels"]
    assert labels["show"] == "yes"


def test_it_runs_as_the_plain_manifest_does(render, load):
    ours = render()["Deployment", NAME]["spec"]["template"]["spec"]
    plain = load("standalone.yaml")[0]["spec"]["template"]["spec"]
    assert ours["securityContext"] == plain["securityContext"]
    for key in ("securityContext", "startupProbe", "livenessProbe", "readinessProbe", "ports", "env", "resources"):
        assert ours["containers"][0][key] == plain["containers"][0][key], key


def test_its_test_runs_the_check_with_the_same_settings(render):
    rendered = render()
    check = rendered["Pod", f"{NAME}-check"]
    planner = rendered["Deployment", NAME]["spec"]["template"]
    assert check["spec"]["containers"][0]["args"] == ["check", *planner["spec"]["containers"][0]["args"]]
    assert check["spec"]["volumes"] == planner["spec"]["volumes"]
    assert check["metadata"]["annotations"]["helm.sh/hook"] == "test"
    selector = rendered["Service", NAME]["spec"]["selector"]
    assert not selector.items() <= check["metadata"]["labels"].items(), "it is no planner to be scraped"


def test_a_history_that_outlives_pods_has_one_planner_at_a_time(render):
    rendered = render("--set", "state.claim=kept", "--set", "replicas=1", "--set", "image.tag=2")
    spec = rendered["Deployment", NAME]["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    volumes = spec["template"]["spec"]["volumes"]
    assert {"name": "state", "persistentVolumeClaim": {"claimName": "kept"}} in volumes
    assert {"name": "state", "emptyDir": {}} in rendered["Pod", f"{NAME}-check"]["spec"]["volumes"]


def test_services_beside_it_set_no_options(render, load):
    rendered = render("--set", "dgdr.enabled=true")
    pods = [one["spec"]["template"]["spec"] for (kind, _), one in rendered.items() if kind == "Deployment"]
    pods.append(rendered["Pod", f"{NAME}-check"]["spec"])
    for path in ("standalone.yaml", "virtual.yaml", "dgdr/controller.yaml"):
        pods += [one["spec"]["template"]["spec"] for one in load(path) if one["kind"] == "Deployment"]
    assert len(pods) == 6
    assert all(pod["enableServiceLinks"] is False for pod in pods)


def test_its_options_are_taken(render, tmp_path):
    values = yaml.safe_dump(
        {
            "image": {"pullSecrets": [{"name": "mine"}], "tag": "9"},
            "podLabels": {"team": "a"},
            "podAnnotations": {"note": "b"},
            "env": [{"name": "PLANNER_PROMETHEUS_BEARER_TOKEN", "value": "t"}],
            "volumes": [{"name": "ca", "configMap": {"name": "prometheus-ca"}}],
            "volumeMounts": [{"name": "ca", "mountPath": "/etc/planner/ca", "readOnly": True}],
            "nodeSelector": {"pool": "cpu"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "serviceAccount": {"annotations": {"c": "d"}},
        }
    )
    file = tmp_path / "values.yaml"
    file.write_text(values)
    rendered = render("--values", str(file))
    template = rendered["Deployment", NAME]["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["annotations"]["note"] == "b"
    assert template["spec"]["containers"][0]["image"].endswith(":9")
    assert template["spec"]["containers"][0]["env"][-1]["name"] == "PLANNER_PROMETHEUS_BEARER_TOKEN"
    for key in ("nodeSelector", "tolerations", "affinity", "imagePullSecrets"):
        assert template["spec"][key], key
    for pod in (template["spec"], rendered["Pod", f"{NAME}-check"]["spec"]):
        assert pod["nodeSelector"] == {"pool": "cpu"}
        assert pod["tolerations"]
        assert "ca" in {volume["name"] for volume in pod["volumes"]}
        assert "/etc/planner/ca" in {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert rendered["ServiceAccount", NAME]["metadata"]["annotations"] == {"c": "d"}


def test_the_controller_of_requests_comes_when_asked_for_alone_or_beside_a_planner(render, load):
    def kinds(rendered):
        return {kind for kind, name in rendered if "dgdr" in name}

    assert not kinds(render())
    both = render("--set", "dgdr.enabled=true")
    assert ("Deployment", NAME) in both
    alone = render("--set", "dgdr.enabled=true,deployment.name=")
    assert kinds(alone) == {"Deployment", "ServiceAccount", "Role", "RoleBinding"}
    assert all("dgdr" in name for _, name in alone)
    wide = render("--set", "dgdr.enabled=true,dgdr.allNamespaces=true,dgdr.all=true")
    assert kinds(wide) >= {"ClusterRole", "ClusterRoleBinding"}
    [container] = wide["Deployment", f"{NAME}-dgdr"]["spec"]["template"]["spec"]["containers"]
    invocation = parse(container["args"], {})
    assert invocation.name == "dgdr controller"
    assert (invocation.extras.all, invocation.extras.all_namespaces, invocation.settings.leader_elect) == (True,) * 3


def test_its_rights_are_those_of_the_manifests(render, load):
    def granted(role):
        return {
            (group, resource, verb)
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    shipped = {one["kind"]: one for one in load("dgdr/controller.yaml")}
    wide = {one["kind"]: one for one in load("dgdr/cluster-wide.yaml")}
    jobs = {one["kind"]: one for one in load("dgdr/profiling-job.yaml")}
    rendered = render("--set", "dgdr.enabled=true")
    assert granted(rendered["Role", f"{NAME}-dgdr"]) == granted(shipped["Role"])
    assert granted(rendered["Role", "dgdr-profiling-job"]) == granted(jobs["Role"])
    rendered = render("--set", "dgdr.enabled=true,dgdr.allNamespaces=true")
    assert granted(rendered["ClusterRole", f"ml-{NAME}-dgdr"]) == granted(wide["ClusterRole"])
