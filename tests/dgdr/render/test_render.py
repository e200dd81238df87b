"""``dgdr render``, as whoever writes a request by hand uses it."""

from __future__ import annotations

import asyncio
import io
import json
import threading

import pytest
import yaml

from connectors.kubernetes.resources import CONFIG_MAPS
from planner.__main__ import main
from profiles import read_data, sample_profile_dir
from profiles.writing import config_map, to_yaml
from tests.dgdr.render.conftest import ALPHA, BETA, DGDS, REQUESTS, changed
from tests.kubernetes.fake import FakeApiServer

# What the comments in an example say to give as well.
MORE = {
    "base-v1alpha1": ["--base", str(DGDS / "vllm-v1alpha1.yaml")],
    "measured-v1alpha1": ["--profile", str(sample_profile_dir())],
}


@pytest.fixture
def written(tmp_path):
    """Writes manifests to a file."""

    def write(*manifests):
        file = tmp_path / "request.yaml"
        file.write_text(yaml.safe_dump_all(manifests))
        return str(file)

    return write


@pytest.fixture
def render(capsys):
    """Runs the command: exit code, manifests, standard error."""

    def run(*arguments):
        code = main(["dgdr", "render", *map(str, arguments)])
        shown = capsys.readouterr()
        return code, list(yaml.safe_load_all(shown.out)), shown.err

    return run


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_every_example_gives_manifests(render, path):
    code, manifests, told = render("-f", path, *MORE.get(path.stem, []))
    assert code == 0, told
    assert [one["kind"] for one in manifests] == ["ConfigMap", "DynamoGraphDeployment"]
    assert manifests[0]["metadata"]["name"] == "planner-profile-data"
    request = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert request["spec"]["model"] in told
    assert "meet both targets" in told
    assert manifests[1]["metadata"]["annotations"]["planner.dynamo/reason"] in told


def test_the_same_command_gives_the_same_bytes(capsys, written):
    shown = []
    for _ in range(2):
        assert main(["dgdr", "render", "-f", written(BETA), "--quiet"]) == 0
        shown.append(capsys.readouterr())
    assert shown[0].out == shown[1].out
    assert shown[0].err == "", "quiet is quiet"


def test_manifests_go_to_a_folder(render, written, tmp_path):
    out = tmp_path / "deep" / "manifests"
    sample = ("--profile", sample_profile_dir())
    code, printed, told = render("-f", written(ALPHA), "-o", out, *sample)
    assert code == 0
    assert printed == []
    assert {file.name for file in out.iterdir()} == {"planner-profile-data.yaml", "chat-dgd.yaml"}
    assert f"wrote {out / 'chat-dgd.yaml'}" in told
    deployment = yaml.safe_load((out / "chat-dgd.yaml").read_text())
    assert deployment["metadata"]["name"] == "chat-dgd"


def test_a_file_where_the_folder_should_be_is_told(render, written, tmp_path):
    (tmp_path / "there").write_text("")
    code, _, told = render("-f", written(ALPHA), "-o", tmp_path / "there", "--profile", sample_profile_dir())
    assert code == 1
    assert "there" in told


def test_several_requests_of_a_file(render, written):
    other = changed(BETA, metadata__name="code")
    marked = changed(other, metadata__annotations={"planner.dynamo/profile-config-map": "profile-of-code"})
    sample = ("--profile", sample_profile_dir(), "--quiet")
    code, manifests, _ = render("-f", written({"kind": "Namespace"}, ALPHA, marked), *sample)
    assert code == 0
    names = [one["metadata"]["name"] for one in manifests]
    assert names == ["planner-profile-data", "chat-dgd", "profile-of-code", "code-dgd"]
    volumes = next(one for one in manifests[3]["spec"]["components"] if one["name"] == "Planner")["podTemplate"]["spec"]
    assert {"name": "profile", "configMap": {"name": "profile-of-code"}} in volumes["volumes"]
    code, _, told = render("-f", written(ALPHA, other), *sample)
    assert code == 2
    assert "two manifests would be ConfigMap planner-profile-data in one namespace" in told


def test_requests_from_standard_input_in_json(render, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(changed(ALPHA, metadata__namespace=None))))
    code, manifests, _ = render("-f", "-", "--profile", sample_profile_dir(), "--kube-namespace", "ml", "--quiet")
    assert code == 0
    assert {one["metadata"]["namespace"] for one in manifests} == {"ml"}
    assert manifests[1]["metadata"]["labels"]["dgdr.nvidia.com/namespace"] == "ml"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "request.yaml is no DynamoGraphDeploymentRequest: it is empty"),
        ("a: [", "it is no YAML"),
        ("kind: Pod", "its kind is Pod: give a manifest with kind: DynamoGraphDeploymentRequest"),
        ("[1, 2]", "is no DynamoGraphDeploymentRequest: it is a list, not a mapping"),
        ("just words", "is no DynamoGraphDeploymentRequest: it is a str, not a mapping"),
    ],
)
def test_what_is_no_request_is_told(render, tmp_path, text, told):
    file = tmp_path / "request.yaml"
    file.write_text(text)
    code, manifests, error = render("-f", file)
    assert (code, manifests) == (2, [])
    assert told in error


def test_a_file_that_is_not_there_is_told(render, tmp_path):
    code, _, told = render("-f", tmp_path / "none.yaml")
    assert code == 2
    assert "none.yaml is no DynamoGraphDeploymentRequest: it cannot be read: No such file or directory" in told
    code, _, told = render("-f", REQUESTS[0], "--base", tmp_path / "none.yaml")
    assert code == 2
    assert "none.yaml is no DynamoGraphDeployment to build on: it cannot be read" in told
    code, _, told = render("-f", REQUESTS[0], "--profile", tmp_path / "none")
    assert code == 2
    assert "the profile cannot be used" in told


def test_measuring_takes_a_cluster(render, written):
    sweep = {"spec__profilingConfig__config__sweep": {}}
    code, _, told = render("-f", written(changed(ALPHA, **sweep)))
    assert code == 2
    assert "asks for engines that are measured, which takes a cluster: give a profile with --profile" in told
    assert "sweep.useAiConfigurator: true" in told
    code, _, told = render("-f", written(changed(BETA, spec__searchStrategy="thorough")))
    assert "spec.searchStrategy: rapid" in told


def test_a_model_that_is_not_known_is_told_in_words_of_the_request(render, written):
    code, _, told = render("-f", written(changed(ALPHA, spec__model="Qwen/Qwen3-33B")))
    assert code == 2
    assert "no estimate is possible: spec.model 'Qwen/Qwen3-33B' is not supported; did you mean Qwen/Qwen3-32B" in told
    assert "--model" not in told
    code, _, told = render("-f", written(changed(BETA, spec__hardware__gpuSku="tpu-v5")))
    assert code == 2
    assert "spec.hardware.gpuSku 'tpu-v5' is not supported; choose from" in told


@pytest.fixture
def cluster(tmp_path):
    """A fake API server in a thread, as the command has a loop of its own: a function that adds a ConfigMap."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    async def start():
        server = FakeApiServer()
        await server.start()
        return server

    server = do(start())
    kubeconfig = server.kubeconfig(tmp_path, "serving")

    async def create(name, data, namespace):
        from connectors.kubernetes import Access, KubernetesApi

        api = KubernetesApi(Access(kubeconfig=kubeconfig))
        await api.start()
        await api.create(CONFIG_MAPS, namespace, {"metadata": {"name": name}, "data": data})
        await api.close()

    yield kubeconfig, lambda name, data, namespace="serving": do(create(name, data, namespace))
    do(server.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_profile_of_the_cluster(render, written, cluster):
    kubeconfig, create = cluster
    data = config_map(read_data(sample_profile_dir()))["data"]
    create("planner-profile-data", data, "prod")
    create("planner-profile-data", {"notes": "none"})
    where = ("-f", written(ALPHA), "--kubeconfig", kubeconfig)
    code, manifests, told = render(*where, "--profile-config-map", "prod/planner-profile-data")
    assert code == 0, told
    assert "the engines that were profiled" in told
    assert manifests[0]["data"]["decode_raw_data.json"] == data["decode_raw_data.json"]
    code, _, told = render(*where, "--profile-config-map", "planner-profile-data")
    assert code == 2
    assert "the profile cannot be used: ConfigMap planner-profile-data, which has notes:" in told
    code, _, told = render(*where, "--profile-config-map", "prod/gone")
    assert code == 2
    assert "ConfigMap gone cannot be had from the cluster" in told


def test_a_profile_of_a_config_map_in_a_file(render, written, tmp_path):
    file = tmp_path / "profile.yaml"
    file.write_text(to_yaml(config_map(read_data(sample_profile_dir()))))
    code, manifests, told = render("-f", written(ALPHA), "--profile-config-map", file)
    assert code == 0, told
    assert len(manifests) == 2


def test_the_base_that_a_request_names_is_read_from_the_cluster(render, written, cluster):
    kubeconfig, create = cluster
    create("my-disagg", {"disagg.yaml": (DGDS / "vllm-v1alpha1.yaml").read_text(), "empty.yaml": ""})
    sample = ("--profile", sample_profile_dir(), "--kubeconfig", kubeconfig)

    def request(reference):
        return written(changed(ALPHA, spec__profilingConfig__configMapRef=reference))

    code, manifests, told = render("-f", request({"name": "my-disagg"}), *sample)
    assert code == 0, told
    assert manifests[1]["metadata"]["name"] == "vllm-disagg", "as the base is called"
    code, _, told = render("-f", request({"name": "my-disagg", "key": "agg.yaml"}), *sample)
    assert code == 2
    assert "it has no key agg.yaml; there are disagg.yaml, empty.yaml" in told
    code, _, told = render("-f", request({"name": "my-disagg", "key": "empty.yaml"}), *sample)
    assert code == 2
    assert "key empty.yaml of ConfigMap my-disagg is no DynamoGraphDeployment to build on: it has 0 of them" in told


def test_a_cluster_that_is_not_reached_is_told(render, written, tmp_path):
    request = written(changed(ALPHA, spec__profilingConfig__configMapRef={"name": "my-disagg"}))
    code, _, told = render("-f", request, "--kubeconfig", tmp_path / "none")
    assert code == 2
    assert "ConfigMap my-disagg cannot be had from the cluster: no access to Kubernetes" in told
    assert "or give a file" in told
