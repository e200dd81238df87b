"""Requests as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cli import parse as parse_flags
from planner.dgdr.issues import RequestError
from planner.dgdr.options import field_of, flags_of, read_options
from planner.dgdr.request import Request
from planner.dgdr.section import Section, snake
from planner.dgdr.systems import system_name
from planner.dgdr.terms import ConfigMapRef, Sla
from planner.settings import Settings
from tests.dgdr.render.conftest import ALPHA, BETA, REQUESTS, SHAPES, alpha, beta, changed, load


@pytest.mark.parametrize("version", SHAPES)
def test_both_versions_say_the_same(version):
    request = Request.parse(SHAPES[version])
    assert (request.name, request.namespace, request.uid, request.generation) == ("chat", "serving", "u-1", 3)
    assert request.version == version
    assert request.sla == Sla(isl=3000, osl=150, ttft_ms=500, itl_ms=30)
    assert request.sweep.use_ai_configurator
    assert request.sweep.system == "h200_sxm"
    assert not request.online
    assert request.profiler_image == "registry.example.com/sla-planner:0.1.0"
    assert request.auto_apply is (version == "v1beta1"), "left out it means different things"
    assert request.notes == ()


def test_everything_that_v1alpha1_has():
    request = alpha(
        useMocker=True,
        autoApply=True,
        profilingConfig__configMapRef={"name": "base"},
        profilingConfig__outputPVC="plots",
        profilingConfig__resources={"limits": {"cpu": "4"}},
        profilingConfig__tolerations=[{"key": "gpu", "operator": "Exists"}],
        profilingConfig__config__sweep={
            "useAiConfigurator": False,
            "aicHfId": "Qwen/Qwen3-32B",
            "aicBackendVersion": "0.24.0",
        },
        profilingConfig__config__hardware={"gpuType": "h100_sxm", "maxNumGpusPerEngine": 4, "minNumGpusPerEngine": 2},
        deploymentOverrides={
            "name": "qwen",
            "namespace": "prod",
            "labels": {"team": "a"},
            "annotations": {"why": "b"},
            "workersImage": "engine:1",
        },
    )
    assert request.use_mocker
    assert request.auto_apply
    assert request.online
    assert request.config_map_ref == ConfigMapRef(name="base", key="disagg.yaml")
    assert request.output_pvc == "plots"
    assert request.resources == {"limits": {"cpu": "4"}}
    assert request.tolerations == ({"key": "gpu", "operator": "Exists"},)
    assert request.sweep.system == "h100_sxm"
    assert (request.sweep.hf_id, request.sweep.backend_version) == ("Qwen/Qwen3-32B", "0.24.0")
    assert (request.hardware.least_per_engine, request.hardware.most_per_engine) == (2, 4)
    assert (request.overrides.name, request.deployment_namespace) == ("qwen", "prod")
    assert request.overrides.workers_image == "engine:1"


def test_everything_that_v1beta1_has():
    request = beta(
        backend=None,
        autoApply=False,
        sla={"ttft": 800, "itl": 20, "e2eLatency": 3800},
        hardware={"gpuSku": "NVIDIA-H100-80GB-HBM3", "totalGpus": 24, "numGpusPerNode": 8},
        modelCache={"pvcName": "models", "pvcModelPath": "qwen"},
        features={
            "kvRouter": {"enabled": True},
            "mocker": {"enabled": True},
            "planner": {"max_gpu_budget": 12, "enable_load_scaling": True},
        },
        overrides={
            "dgd": {"metadata": {"name": "qwen"}, "spec": {"envs": []}},
            "profilingJob": {
                "template": {
                    "spec": {"tolerations": [{"key": "gpu"}], "containers": [{"resources": {"limits": {"cpu": 1}}}]}
                }
            },
        },
    )
    assert request.backend == "auto"
    assert not request.auto_apply
    assert request.hardware.total_gpus == 24
    assert request.model_cache.mount_path == "/opt/model-cache"
    assert request.kv_router
    assert request.use_mocker
    assert flags_of(request.planner.values) == ("--max-gpu-budget=12",)
    assert request.unknown_planner_options == ("spec.features.planner.enable_load_scaling",)
    assert request.overrides.name == "qwen"
    assert request.tolerations == ({"key": "gpu"},)
    assert request.resources == {"limits": {"cpu": 1}}
    assert beta(searchStrategy="thorough").online


def test_keys_may_be_in_snake_case():
    config = {
        "sla": {"isl": 10, "osl": 20, "ttft": "1.5e2", "itl": 5.5},
        "sweep": {"use_ai_configurator": True, "aic_system": "b200_sxm", "aic_hf_id": "x/y"},
        "planner": {"planner_min_endpoint": 2},
    }
    request = alpha(profilingConfig__config=config)
    assert request.sla == Sla(isl=10, osl=20, ttft_ms=150, itl_ms=5.5)
    assert (request.sweep.system, request.sweep.hf_id) == ("b200_sxm", "x/y")
    assert flags_of(request.planner.values) == ("--min-endpoint=2",)


def test_the_fields_tell_the_version_where_a_server_does_not_convert():
    request = Request.parse(changed(ALPHA, apiVersion="nvidia.com/v1beta1"))
    assert request.version == "v1alpha1"
    assert "claims to be v1beta1" in request.notes[0]


def test_what_a_server_fills_in_tells_no_version():
    request = Request.parse(changed(BETA, spec__useMocker=False, spec__enableGpuDiscovery=False))
    assert request.version == "v1beta1"
    assert request.notes == ()


def test_what_is_assumed_and_what_has_no_influence_is_told():
    request = alpha(
        profilingConfig__config__sla={"ttft": 300},
        profilingConfig__config__engine={"isMoe": True},
        profilingConfig__config__sweep__prefillInterpolationGranularity=16,
        enableGpuDiscovery=True,
    )
    told = "\n".join(request.notes)
    assert request.sla.itl_ms == 50
    assert "sla.itl is not given: 50 ms is assumed" in told
    for path in ("config.engine", "sweep.prefillInterpolationGranularity", "enableGpuDiscovery"):
        assert f"{path} has no influence here" in told
    told = "\n".join(beta(workload={"concurrency": 8}, sla={"ttft": 9, "itl": 9, "optimizationType": "latency"}).notes)
    assert "workload.concurrency has no influence" in told
    assert "sla.optimizationType has no influence" in told


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_the_examples_are_understood_without_remarks(path):
    for manifest in load(path):
        request = Request.parse(manifest)
        assert request.notes == ()
        assert request.unknown_planner_options == ()


OPTIONS = sorted(Settings.model_fields)


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_known_in_every_spelling(name):
    for key in (name, camel(name), name.replace("_", "-"), f"planner_{name}", camel(f"planner_{name}")):
        assert field_of(key) == name


VALUES = {
    "min_endpoint": st.integers(0, 50),
    "max_gpu_budget": st.integers(-1, 500),
    "adjustment_interval": st.floats(1, 86400),
    "load_predictor": st.sampled_from(["auto", "constant", "arima", "kalman", "prophet"]),
    "no_correction": st.booleans(),
    "idle_intervals": st.integers(1, 9),
    "metrics_timeout": st.floats(0.5, 300),
    "frontend_metrics_url": st.lists(st.sampled_from(["http://a:1/metrics", "http://b:2/metrics"]), min_size=1),
    "log_level": st.sampled_from(["debug", "info", "warning", "error"]),
}


@settings(max_examples=40, deadline=None)
@given(st.fixed_dictionaries({}, optional=VALUES), st.booleans(), st.booleans())
def test_the_planner_gets_what_the_request_says(values, in_camel, prefixed):
    section = {}
    for name, value in values.items():
        key = f"planner_{name}" if prefixed else name
        section[camel(key) if in_camel else key] = value
    options = read_options(Section(section, "planner"))
    assert options.unknown == ()
    # The minimum and the budget are weighed against each other when the engines are known.
    arguments = [word for word in flags_of(options.values) if not word.startswith(("--min-endpoint", "--max-gpu"))]
    told = parse_flags(arguments, {}).settings
    for name, value in values.items():
        if name not in {"min_endpoint", "max_gpu_budget"}:
            expected = tuple(value) if isinstance(value, list) else value
            assert getattr(told, name) == expected
    if "min_endpoint" in values:
        assert options.whole("min_endpoint") == values["min_endpoint"]


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(st.characters(categories=["Ll", "Lu", "Nd"]), min_size=1, max_size=12), st.integers()))
def test_what_is_no_option_is_kept_and_told(section):
    strange = {key: value for key, value in section.items() if field_of(key) is None}
    options = read_options(Section(strange, "planner"))
    assert options.values == {}
    assert [path.partition(" ")[0] for path in options.unknown] == [f"planner.{key}" for key in strange]


def test_what_follows_from_the_deployment_is_not_passed_on():
    request = alpha(profilingConfig__config__planner={"namespace": "x", "backend": "sglang", "mode": "disagg"})
    assert flags_of(request.planner.values) == ()
    assert len(request.notes) == 3


def test_a_near_miss_is_recognised():
    request = alpha(profilingConfig__config__planner={"plannerMinEndpoints": 2})
    assert request.unknown_planner_options[0].endswith("plannerMinEndpoints (did you mean min_endpoint?)")


def test_secrets_are_warned_about():
    request = alpha(profilingConfig__config__planner={"prometheusBearerToken": "t"})
    assert "is a secret" in request.notes[0]


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("h200_sxm", "h200_sxm"),
        ("H100", "H100"),
        ("NVIDIA-H100-80GB-HBM3", "h100_sxm"),
        ("NVIDIA-H200", "h200_sxm"),
        ("NVIDIA-A100-SXM4-80GB", "a100_sxm"),
        ("NVIDIA-GB200", "gb200"),
        ("NVIDIA-L40S", "l40s"),
        ("NVIDIA-H100-PCIe", "NVIDIA-H100-PCIe"),
        ("NVIDIA-GeForce-RTX-4090", "NVIDIA-GeForce-RTX-4090"),
    ],
)
def test_gpus_go_by_the_names_of_node_labels(name, system):
    assert system_name(name) == system


@pytest.mark.parametrize("name", ["aicHFId", "aicHfId", "aic_hf_id", "aic-hf-id"])
def test_one_name_in_many_spellings(name):
    assert snake(name) == "aic_hf_id"


@pytest.mark.parametrize("name", ["Chat", "-chat", "chat_1", "a" * 254])
def test_names_are_such_as_kubernetes_accepts(name):
    with pytest.raises(RequestError, match="small letters, digits, dashes"):
        Request.parse(changed(BETA, metadata__name=name))
