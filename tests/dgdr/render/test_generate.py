"""What is generated, read by those who get it: the planner's command line, the connector's discovery, kubectl."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kubernetes.deployment import Deployment
from connectors.kubernetes.model import model_in
from connectors.kubernetes.roles import find_roles
from planner.cli import parse
from planner.dgdr.base import template
from planner.dgdr.choice import CHOICE, REASON
from planner.dgdr.generate import GenerationError, from_profile, offline
from planner.dgdr.graph import Graph
from planner.dgdr.words import value_of
from profiles import load_profiles
from profiles.provenance import Engine
from profiles.writing import to_yaml
from tests.deployment.test_manifests import OPERATOR
from tests.dgdr.render.conftest import DGDS, MadeEngines, alpha, beta, load

BACKENDS = ("vllm", "sglang", "trtllm")
MAKE = {"v1alpha1": alpha, "v1beta1": beta}


def made(request, **how):
    how.setdefault("engines", MadeEngines)
    return asyncio.run(offline(request, **how))


def of_profile(request, profile, **how):
    return asyncio.run(from_profile(request, profile, **how))


def parts(generated):
    return {part.role: part for part in Graph(generated.dgd).parts}


def planner_settings(generated):
    container = parts(generated)["planner"].container
    assert container["command"] == ["python3", "-m", "planner"]
    return parse(container["args"], OPERATOR).settings


def parallelism(part, backend):
    if backend == "trtllm":
        return json.loads(value_of(part.words, ["--override-engine-args"]))["tensor_parallel_size"]
    names = {"vllm": ["--tensor-parallel-size"], "sglang": ["--tp"]}[backend]
    return int(value_of(part.words, names))


@pytest.mark.parametrize("version", MAKE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_connector_finds_what_was_chosen(version, backend):
    generated = made(MAKE[version](backend=backend), engines=MadeEngines)
    choice = generated.choice
    assert generated.dgd["apiVersion"] == f"nvidia.com/{version}"
    roles = find_roles(Deployment.parse(generated.dgd), backend=backend, aggregated=False)
    for found, picked in ((roles.prefill, choice.prefill), (roles.decode, choice.decode)):
        assert found.gpus == picked.parallelism.gpus == picked.parallelism.tp
        assert found.replicas == 1
        assert model_in(found.command) == "Qwen/Qwen3-32B"
        assert parallelism(parts(generated)[picked.role], backend) == picked.parallelism.tp
        assert picked.met
    assert choice.prefill.parallelism.tp > 1, "one GPU has no room for the weights"


@pytest.mark.parametrize("version", MAKE)
def test_the_planner_understands_what_it_is_told(version):
    generated = made(MAKE[version]())
    told = planner_settings(generated)
    assert (told.ttft, told.itl, told.isl, told.osl) == (500, 30, 3000, 150)
    assert told.backend == "vllm"
    assert told.prefill_engine_num_gpu == generated.choice.prefill.parallelism.gpus
    assert told.decode_engine_num_gpu == generated.choice.decode.parallelism.gpus
    assert told.max_gpu_budget == {"v1alpha1": 8, "v1beta1": 16}[version]
    assert told.leader_elect
    (config_map,) = generated.additional
    volumes = {volume["name"]: volume for volume in parts(generated)["planner"].pod["volumes"]}
    (mount,) = (
        mount
        for mount in parts(generated)["planner"].container["volumeMounts"]
        if mount["mountPath"] == told.profile_results_dir
    )
    assert (
        volumes[mount["name"]]["configMap"]
        == {"name": "planner-profile-data"}
        == {"name": config_map["metadata"]["name"]}
    )


def test_the_planner_reads_the_profile_that_is_mounted(tmp_path):
    generated = made(alpha())
    for name, content in generated.additional[0]["data"].items():
        (tmp_path / name).write_text(content)
    engines = load_profiles(tmp_path)
    assert engines.prefill.gpus == generated.choice.prefill.parallelism.gpus
    assert engines.decode.gpus == generated.choice.decode.parallelism.gpus
    assert engines.prefill.ttft_ms(3000) == pytest.approx(generated.choice.prefill.latency_ms)
    assert engines.warnings == ()


def test_what_the_request_tells_the_planner_comes_first():
    generated = made(
        alpha(
            profilingConfig__config__planner={
                "plannerMinEndpoint": 2,
                "plannerMaxGpuBudget": 40,
                "plannerTtft": 400,
                "plannerAdjustmentInterval": 30,
                "noCorrection": True,
                "plannerTea": "please",
            }
        )
    )
    told = planner_settings(generated)
    assert (told.min_endpoint, told.max_gpu_budget, told.ttft, told.adjustment_interval) == (2, 40, 400, 30)
    assert told.no_correction
    assert [part.spec["replicas"] for role, part in parts(generated).items() if role in {"prefill", "decode"}] == [2, 2]
    assert any("plannerTea is no option of the planner and is left out" in note for note in generated.choice.notes)


@settings(max_examples=25, deadline=None)
@given(budget=st.integers(2, 64), least=st.integers(0, 3), ttft=st.integers(60, 900), itl=st.integers(9, 60))
def test_the_planner_starts_with_whatever_is_generated(budget, least, ttft, itl):
    config = {
        "sla": {"isl": 3000, "osl": 150, "ttft": ttft, "itl": itl},
        "sweep": {"useAiConfigurator": True, "aicSystem": "h200_sxm"},
        "planner": {"maxGpuBudget": budget, "minEndpoint": least},
    }
    generated = None
    with contextlib.suppress(GenerationError):
        generated = made(alpha(profilingConfig__config=config))
    if generated is None:
        assert budget < 4 * max(1, least) or ttft < 100 or itl < 10, "two engines of two GPUs meet it"
        return
    told = planner_settings(generated)
    assert told.over_budget(told.prefill_engine_num_gpu, told.decode_engine_num_gpu) is None
    assert generated.choice.prefill.latency_ms <= ttft
    assert generated.choice.decode.latency_ms <= itl


def test_the_same_request_gives_the_same_bytes():
    def text():
        generated = made(beta())
        return "".join(map(to_yaml, (*generated.additional, generated.dgd)))

    first = text()
    assert first == text()
    assert "created" not in json.loads(made(beta()).additional[0]["data"]["meta.json"])


@pytest.mark.parametrize("version", MAKE)
def test_everything_is_labelled_and_explained(version):
    generated = made(MAKE[version]())
    labels = {"dgdr.nvidia.com/name": "chat", "dgdr.nvidia.com/namespace": "serving"}
    for manifest in (generated.dgd, *generated.additional):
        assert labels.items() <= manifest["metadata"]["labels"].items()
        assert manifest["metadata"]["namespace"] == "serving"
    annotations = generated.dgd["metadata"]["annotations"]
    assert annotations[REASON] == generated.choice.reason
    kept = json.loads(annotations[CHOICE])
    assert kept["prefill"]["tp"] == generated.choice.prefill.parallelism.tp
    assert kept["sla"] == {"isl": 3000, "osl": 150, "ttftMs": 500, "itlMs": 30}
    assert {one["tp"] for one in kept["candidates"]} == {2, 4, 8}
    assert "no room for the weights" in kept["refused"]["vllm TP 1"]


def test_overrides_of_v1alpha1():
    generated = made(
        alpha(
            deploymentOverrides={
                "name": "qwen",
                "namespace": "prod",
                "labels": {"team": "a", "dgdr.nvidia.com/name": "theirs"},
                "annotations": {"why": "b"},
                "workersImage": "engine:1",
            }
        )
    )
    metadata = generated.dgd["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("qwen", "prod")
    assert metadata["labels"]["team"] == "a"
    assert metadata["labels"]["dgdr.nvidia.com/name"] == "chat", "or it would not be found again"
    assert metadata["annotations"]["why"] == "b"
    assert generated.additional[0]["metadata"]["namespace"] == "prod"
    images = {role: part.image for role, part in parts(generated).items()}
    assert images["prefill"] == images["decode"] == images["frontend"] == "engine:1", "versions go together"
    assert images["planner"] == "registry.example.com/sla-planner:0.1.0"


def test_overrides_of_v1beta1():
    components = [{"name": "Frontend", "replicas": 3}, {"name": "Extra", "type": "worker"}]
    dgd = {
        "metadata": {"labels": {"team": "a"}},
        "spec": {"env": [{"name": "A", "value": "b"}], "components": components},
    }
    generated = made(
        beta(
            overrides={"dgd": dgd},
            runtimeVersionOverride="1.6.1",
            features={"kvRouter": {"enabled": True}},
            modelCache={"pvcName": "models", "pvcModelPath": "/qwen/32b"},
        )
    )
    found = {part.name: part for part in Graph(generated.dgd).parts}
    assert found["Frontend"].spec["replicas"] == 3
    assert found["Frontend"].container["env"] == [{"name": "DYN_ROUTER_MODE", "value": "kv"}]
    assert found["Extra"].role == "worker"
    assert generated.dgd["spec"]["env"] == [{"name": "A", "value": "b"}]
    worker = parts(generated)["decode"]
    assert worker.image.endswith("vllm-runtime:1.6.1")
    assert value_of(worker.words, ["--model"]) == "/opt/model-cache/qwen/32b"
    assert model_in(worker.words) == "Qwen/Qwen3-32B", "clients ask for it by its name"
    assert worker.pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "models"}


def test_of_a_base_everything_else_stays():
    base = load(DGDS / "sglang-v1alpha1.yaml")[0]
    base["metadata"] |= {"name": "mine", "labels": {"team": "a"}, "namespace": "elsewhere", "uid": "1"}
    services = base["spec"]["services"]
    services["decode"]["extraPodSpec"]["nodeSelector"] = {"zone": "b"}
    services["Planner"]["extraPodSpec"]["mainContainer"]["image"] = "ours:2"
    services["Planner"]["extraPodSpec"]["mainContainer"]["args"] += ["--log-level", "debug", "--namespace=other"]
    services["Planner"]["envs"] = [{"name": "PLANNER_PROMETHEUS_BEARER_TOKEN_FILE", "value": "/token"}]
    before = json.dumps(base)
    generated = made(beta(backend="sglang", image=None), base=base)
    assert json.dumps(base) == before, "what was given is not changed"
    assert generated.dgd["apiVersion"] == "nvidia.com/v1alpha1", "a base has a shape of its own"
    assert generated.dgd["metadata"]["name"] == "mine"
    assert "uid" not in generated.dgd["metadata"]
    assert generated.dgd["metadata"]["labels"]["team"] == "a"
    after = generated.dgd["spec"]["services"]
    assert after["decode"]["extraPodSpec"]["nodeSelector"] == {"zone": "b"}
    assert after["Planner"]["envs"] == services["Planner"]["envs"]
    assert parts(generated)["planner"].image == "ours:2"
    told = planner_settings(generated)
    assert (told.log_level, told.namespace, told.ttft) == ("debug", "ml-disagg", 500)


@pytest.mark.parametrize(
    ("backend", "limit"),
    [
        ("vllm", ["--max-num-seqs=32"]),
        ("sglang", ["--max-running-requests", "32"]),
        ("trtllm", ["--override-engine-args", '{"max_batch_size": 32}']),
    ],
)
def test_a_base_that_limits_its_sequences_is_reckoned_with(backend, limit):
    base = load(DGDS / f"{backend}-v1alpha1.yaml")[0]
    decode = next(one for one in base["spec"]["services"].values() if one.get("subComponentType") == "decode")
    decode["extraPodSpec"]["mainContainer"]["args"] += limit
    generated = made(alpha(backend=backend), engines=MadeEngines, base=base)
    assert generated.choice.decode.concurrency <= 32
    assert not any("see that it is allowed them" in note for note in generated.choice.notes)
    assert "32" in " ".join(parts(generated)["decode"].words)


def test_many_sequences_are_told():
    loose = {"isl": 300, "osl": 150, "ttft": 500, "itl": 60}
    generated = made(alpha(profilingConfig__config__sla=loose))
    assert generated.choice.decode.concurrency > 256
    told = "sequences at once: see that it is allowed them, --max-num-seqs of vllm"
    assert any(told in note for note in generated.choice.notes)


def test_the_base_says_which_backend_it_is_of():
    base = load(DGDS / "sglang-v1beta1.yaml")[0]
    generated = made(beta(backend="auto"), base=base)
    assert generated.choice.backend == planner_settings(generated).backend == "sglang"
    for one in base["spec"]["components"]:
        one["podTemplate"]["spec"]["containers"][0].pop("command", None)
    with pytest.raises(GenerationError, match="the backend is auto and the base deployment does not say"):
        made(beta(backend="auto"), base=base)


def test_another_planner_is_replaced_and_what_it_was_told_is_kept():
    base = load(DGDS / "vllm-v1alpha1.yaml")[0]
    container = base["spec"]["services"]["Planner"]["extraPodSpec"]["mainContainer"]
    container |= {
        "image": "nvcr.io/nvidia/ai-dynamo/dynamo-planner:0.9.1",
        "command": ["python3", "-m", "planner_sla"],
        "args": [
            "--environment=kubernetes",
            "--adjustment-interval=45",
            "--profile-results-dir=/workspace",
            "--ttft=9",
        ],
    }
    generated = made(alpha(), base=base)
    assert parts(generated)["planner"].image == "registry.example.com/sla-planner:0.1.0"
    told = planner_settings(generated)
    assert (told.adjustment_interval, told.ttft, told.profile_results_dir) == (45, 500, "/etc/planner/profile")


def test_a_base_without_planner_gets_one():
    base = load(DGDS / "vllm-v1beta1.yaml")[0]
    base["spec"]["components"] = [one for one in base["spec"]["components"] if one["type"] != "planner"]
    assert planner_settings(made(beta(), base=base)).leader_elect


@pytest.mark.parametrize("version", MAKE)
def test_mockers_take_the_place_of_workers(version):
    change = {"useMocker": True} if version == "v1alpha1" else {"features": {"mocker": {"enabled": True}}}
    generated = made(MAKE[version](**change))
    roles = find_roles(Deployment.parse(generated.dgd), backend="vllm", aggregated=False)
    for role, component in (("prefill", roles.prefill), ("decode", roles.decode)):
        part = parts(generated)[role]
        assert component.gpus is None
        assert part.container["command"] == ["python3", "-m", "dynamo.mocker"]
        assert model_in(component.command) == "Qwen/Qwen3-32B"
        data = value_of(part.words, ["--planner-profile-data"])
        assert data in [mount["mountPath"] for mount in part.container["volumeMounts"]]
        assert (
            ["--disaggregation-mode", role] == part.words[-4:-2]
            if version == "v1beta1"
            else f"--is-{role}-worker" in part.words
        )
    assert planner_settings(generated).decode_engine_num_gpu == generated.choice.decode.parallelism.gpus


def test_the_cheapest_backend_is_taken():
    def engines(backend):
        return MadeEngines(backend, {"vllm": 1.2, "sglang": 1.0, "trtllm": 1.1}[backend])

    progress = []
    generated = made(beta(backend="auto"), engines=engines, on_progress=progress.append)
    assert generated.choice.backend == generated.dgd["spec"]["backendFramework"] == "sglang"
    assert set(generated.choice.candidates) == set(BACKENDS)
    assert "with sglang" in generated.choice.reason
    assert [moment.done for moment in progress] == sorted(moment.done for moment in progress)
    assert progress[-1].done == progress[-1].total


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ("vllm", lambda words: "--enable-expert-parallel" in words),
        ("sglang", lambda words: value_of(words, ["--ep-size"]) == "2"),
        ("trtllm", lambda words: '"moe_expert_parallel_size": 2' in value_of(words, ["--override-engine-args"])),
    ],
)
def test_experts_that_are_spread_whole(backend, told):
    request = alpha(backend=backend, profilingConfig__config__hardware={"maxNumGpusPerEngine": 2})
    generated = made(request, engines=lambda name: MadeEngines(name, parallelism=("moe_ep_size",)))
    assert told(parts(generated)["prefill"].words)
    assert str(generated.choice.prefill.parallelism) == "TP 2, EP 2"


def test_limits_of_an_engine_are_kept():
    hardware = {"minNumGpusPerEngine": 4, "maxNumGpusPerEngine": 4}
    generated = made(alpha(profilingConfig__config__hardware=hardware))
    assert {one.tp for one in generated.choice.candidates["vllm"]} == {4}


def test_a_profile_brings_its_engines(profile):
    engine = Engine(gpus=16, tp=8, details={"pp": 2})
    given = replace(profile, provenance=replace(profile.provenance, prefill=engine, backend="vllm", model=None))
    request = beta(hardware={"numGpusPerNode": 8, "totalGpus": 64})
    generated = of_profile(request, given)
    prefill = parts(generated)["prefill"]
    assert Deployment.parse(generated.dgd).components[prefill.name].gpus == 16
    assert prefill.spec["multinode"] == {"nodeCount": 2}
    assert value_of(prefill.words, ["--pipeline-parallel-size"]) == "2"
    assert value_of(prefill.words, ["--tensor-parallel-size"]) == "8"
    assert generated.choice.candidates == {}


def test_a_profile_that_does_not_say_gets_the_gpus_of_the_base(profile):
    base = load(DGDS / "vllm-v1alpha1.yaml")[0]
    base["spec"]["services"]["VllmDecodeWorker"]["resources"]["limits"]["gpu"] = "2"
    bare = replace(profile, provenance=replace(profile.provenance, prefill=Engine(), decode=Engine()))
    generated = of_profile(alpha(), bare, base=base)
    assert (generated.choice.prefill.parallelism.gpus, generated.choice.decode.parallelism.gpus) == (1, 2)
    assert sum("does not say how many GPUs" in note for note in generated.choice.notes) == 2


def test_a_profile_of_something_else_is_told(profile):
    other = replace(profile, provenance=replace(profile.provenance, model="meta/other", backend="sglang"))
    notes = "\n".join(of_profile(alpha(), other).choice.notes)
    assert "made with model 'meta/other'" in notes
    assert "made with backend sglang" in notes


def test_the_image_of_the_planner(profile):
    assert parts(of_profile(alpha(), profile, planner_image="mine:1"))["planner"].image == "mine:1"
    dynamo = alpha(profilingConfig__profilerImage="nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.9.1")
    generated = of_profile(dynamo, profile)
    assert parts(generated)["planner"].image == "registry.example.com/sla-planner:0.1.0"
    assert any("is a placeholder" in note for note in generated.choice.notes)


def test_the_environment_here_has_no_say(monkeypatch):
    wanted = made(beta())
    for name, value in {"PLANNER_MIN_ENDPOINT": "50", "PLANNER_TTFT": "soon", "PLANNER_MODE": "agg"}.items():
        monkeypatch.setenv(name, value)
    assert made(beta()).dgd == wanted.dgd


def test_a_large_profile_is_applied_in_another_way(profile):
    details = {"remark": "x" * 300_000}
    large = replace(profile, provenance=replace(profile.provenance, details=details))
    assert any("apply it with kubectl apply --server-side" in note for note in of_profile(alpha(), large).choice.notes)
    assert not any("--server-side" in note for note in of_profile(alpha(), profile).choice.notes)


def test_the_main_container_may_go_by_another_name(profile):
    base = load(DGDS / "vllm-v1beta1.yaml")[0]
    for one in base["spec"]["components"]:
        one["podTemplate"]["spec"]["containers"][0]["name"] = "engine"
    generated = of_profile(beta(), profile, base=base)
    assert all(len(part.pod["containers"]) == 1 for part in Graph(generated.dgd).parts if part.role != "planner")


def test_long_names_leave_room_for_components():
    request = replace(alpha(), name="a" * 200)
    generated = made(request)
    assert len(generated.dgd["metadata"]["name"]) <= 44
    assert len(generated.dgd["metadata"]["labels"]["dgdr.nvidia.com/name"]) <= 63


@pytest.mark.parametrize("version", MAKE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_templates_are_the_examples(version, backend):
    example = load(DGDS / f"{backend}-{version}.yaml")[0]
    assert template(backend, version)["spec"] == example["spec"]


@given(st.lists(st.sampled_from(["--a", "--a=1", "--b", "-tp", "x", "-1", "--c=2"]), max_size=8))
def test_flags_are_set_in_place(words):
    from planner.dgdr.words import drop, set_value

    before, changed = list(words), list(words)
    if set_value(changed, ["--a", "-tp"], "v"):
        assert value_of(changed, ["--a", "-tp"]) == "v"
        assert len(changed) <= len(before) + 1
    else:
        assert changed == before
    drop(changed, ["--a", "-tp"])
    assert value_of(changed, ["--a", "-tp"]) is None
    assert [word for word in changed if word.startswith("--c")] == [word for word in before if word.startswith("--c")]
