"""What a deployment is taken to say: shapes, roles, models, GPUs, workers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import ConnectorError
from connectors.kubernetes.deployment import Deployment
from connectors.kubernetes.inventory import count, trouble
from connectors.kubernetes.model import deployed_model, model_in
from connectors.kubernetes.roles import find_roles
from planner.core.observation import Workers
from tests.kubernetes.fake import patched
from tests.kubernetes.shapes import SHAPES


def deployment(spec, status=None, generation=3):
    metadata = {"name": "graph", "uid": "u", "generation": generation}
    return Deployment.parse({"metadata": metadata, "spec": spec, "status": status or {}})


def of(*parts):
    """A deployment of components, each given as name, type and more."""
    return deployment({"components": [{"name": name, "type": role, **more} for name, role, more in parts]})


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
class TestBothShapes:
    def test_pools_replicas_gpus_and_model(self, shape):
        found = deployment(shape(prefill=2, decode=3, gpus=4))
        roles = find_roles(found, backend="vllm", aggregated=False)
        assert [(one.name, one.replicas, one.gpus) for one in roles.components] == [
            ("VllmPrefillWorker", 2, 4),
            ("VllmDecodeWorker", 3, 4),
        ]
        assert deployed_model(found, roles, []) == "Qwen/Qwen3-0.6B"

    def test_status(self, shape):
        spec = shape()
        key = "services" if "services" in spec else "components"
        status = {
            "observedGeneration": 3,
            key: {
                "VllmPrefillWorker": {"replicas": 1, "readyReplicas": 1, "gpusPerReplica": 8},
                "VllmDecodeWorker": {"replicas": 1, "readyReplicas": 2, "availableReplicas": 1},
            },
            "conditions": [{"type": "Ready", "status": "True"}],
            "rollingUpdate": {"phase": "InProgress"},
        }
        found = deployment(spec, status)
        assert (found.observed, found.ready, found.rolling) == (3, True, True)
        prefill, decode = found.components["VllmPrefillWorker"], found.components["VllmDecodeWorker"]
        assert (prefill.serving, prefill.gpus) == (1, 8)
        assert decode.serving == 1, "available ones have been ready for long enough"
        stale = deployment(spec, status, generation=4)
        assert stale.components["VllmPrefillWorker"].gpus == 1, "what was counted before the last change"

    def test_a_patch_of_replicas_reaches_its_component(self, shape):
        spec = shape()
        found = deployment(spec)
        patch = Deployment.replicas_patch(found.components["VllmDecodeWorker"], 9)
        if isinstance(patch, list):
            spec = patched({"spec": spec}, patch)["spec"]
        else:
            spec["services"]["VllmDecodeWorker"] |= patch["spec"]["services"]["VllmDecodeWorker"]
        assert {name: one.replicas for name, one in deployment(spec).components.items()} == {
            "Frontend": 1,
            "VllmPrefillWorker": 1,
            "VllmDecodeWorker": 9,
        }


def test_replicas_left_out_are_one_as_the_operator_has_it():
    assert of(("A", "decode", {})).components["A"].replicas == 1
    assert of(("A", "decode", {"replicas": 0})).components["A"].replicas == 0


@pytest.mark.parametrize(
    "spec", [{}, {"services": []}, {"components": {}}, {"components": [{}]}, {"components": ["A"]}]
)
def test_what_is_no_deployment_is_refused(spec):
    with pytest.raises(ValueError, match="graph"):
        deployment(spec)


def test_gpus_of_all_nodes_of_a_worker():
    more = {"multinode": {"nodeCount": 2}, "resources": {"requests": {"gpu": "8"}}}
    found = deployment({"services": {"A": {"componentType": "worker", "subComponentType": "decode", **more}}})
    assert (found.components["A"].gpus, found.components["A"].nodes) == (16, 2)


def test_gpus_that_nobody_states_are_unknown():
    assert of(("A", "decode", {})).components["A"].gpus is None


class TestRoles:
    @pytest.mark.parametrize(
        ("backend", "prefill", "decode"),
        [
            ("vllm", "VllmPrefillWorker", "VllmDecodeWorker"),
            ("trtllm", "TRTLLMPrefillWorker", "TRTLLMDecodeWorker"),
            ("sglang", "prefill", "decode"),
        ],
    )
    def test_names_of_the_backend_where_no_roles_are_stated(self, backend, prefill, decode):
        services = {name: {"componentType": "worker"} for name in (prefill, decode)}
        roles = find_roles(deployment({"services": services}), backend=backend, aggregated=False)
        assert roles.prefill.name == prefill
        assert roles.decode.name == decode

    def test_a_stated_role_beats_a_name(self):
        found = of(("VllmDecodeWorker", "prefill", {}), ("Other", "decode", {}))
        roles = find_roles(found, backend="vllm", aggregated=False)
        assert (roles.prefill.name, roles.decode.name) == ("VllmDecodeWorker", "Other")

    def test_missing_pools_are_told_with_what_there_is(self):
        found = of(("Frontend", "frontend", {}), ("Worker", "worker", {}))
        with pytest.raises(ConnectorError, match=r"no prefill and no decode.*Frontend \(frontend\), Worker \(worker\)"):
            find_roles(found, backend="vllm", aggregated=False)

    def test_two_of_one_role_are_told(self):
        found = of(("A", "decode", {}), ("B", "decode", {}), ("C", "prefill", {}))
        with pytest.raises(ConnectorError, match=r"several decode components.*A, B"):
            find_roles(found, backend="vllm", aggregated=False)

    def test_one_pool_that_does_both(self):
        found = of(("Frontend", "frontend", {}), ("Worker", "worker", {}))
        roles = find_roles(found, backend="vllm", aggregated=True)
        assert roles.prefill is None
        assert roles.decode.name == "Worker"
        with pytest.raises(ConnectorError, match="has prefill workers of their own, P, which nobody would scale with"):
            find_roles(of(("P", "prefill", {}), ("D", "decode", {})), backend="vllm", aggregated=True)
        with pytest.raises(ConnectorError, match="several worker"):
            find_roles(of(("A", "worker", {}), ("B", "worker", {})), backend="vllm", aggregated=True)


class TestModel:
    @pytest.mark.parametrize(
        ("command", "model"),
        [
            (["python3", "-m", "dynamo.vllm", "--model", "a/b"], "a/b"),
            (["--model=a/b", "--served-model-name", "c"], "c"),
            (["--model-path", "a/b"], "a/b"),
            (["sh", "-c", "set -e\nexec python3 -m dynamo.vllm --model 'a/b' # --model x\n"], "a/b"),
            (["bash", "-c", "echo it's off --model a/b"], "a/b"),
            (["--model"], None),
            (["--model", "--other"], None),
            (["--model-loader", "fast"], None),
            ([], None),
        ],
    )
    def test_in_a_command(self, command, model):
        assert model_in(command) == model

    def test_what_workers_registered_where_commands_say_nothing(self):
        found = of(("A", "decode", {}), ("B", "prefill", {}))
        roles = find_roles(found, backend="vllm", aggregated=False)
        card = {"card_json": '{"display_name": "a/b"}', "component": "A"}
        metadata = [
            {"metadata": {"name": "other-pod"}, "spec": {"data": {"model_cards": {"k": {"card_json": "{}"}}}}},
            {
                "metadata": {"name": "graph-a-0"},
                "spec": {"data": {"model_cards": {"bad": {"card_json": "{"}, "k": card}}},
            },
        ]
        assert deployed_model(found, roles, metadata) == "a/b"
        assert deployed_model(found, roles, []) is None

    def test_pools_with_different_models_are_told(self):
        args = [
            {"podTemplate": {"spec": {"containers": [{"name": "main", "args": ["--model", m]}]}}} for m in ("a", "b")
        ]
        found = of(("P", "prefill", args[0]), ("D", "decode", args[1]))
        with pytest.raises(ConnectorError, match="P serves a, D serves b"):
            deployed_model(found, find_roles(found, backend="vllm", aggregated=False), [])


def pod(*, ready=True, terminating=False, **status):
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}, *status.pop("conditions", ())]
    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if terminating else {}
    return {"metadata": metadata, "status": {"conditions": conditions, **status}}


class TestWorkers:
    @staticmethod
    def component(serving, nodes=1):
        status = {} if serving is None else {"components": {"A": {"readyReplicas": serving}}}
        spec = {"components": [{"name": "A", "type": "decode", "multinode": {"nodeCount": nodes}}]}
        return deployment(spec, status).components["A"]

    @given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
    def test_nothing_is_counted_twice(self, serving, asked, leaving):
        workers = count(self.component(serving), asked, [pod(terminating=True)] * leaving)
        assert workers.ready + workers.pending == asked
        assert workers.ready <= serving
        assert workers.draining >= max(leaving, serving - asked)

    def test_no_status_yet_but_pods(self):
        assert count(self.component(None), 3, [pod(), pod(ready=False)]) == Workers(ready=1, pending=2)

    def test_neither_status_nor_pods_is_unknown(self):
        assert count(self.component(None), 3, None) is None

    def test_pods_of_several_nodes_are_one_worker(self):
        pods = [pod(terminating=True)] * 2 + [pod()] * 4
        assert count(self.component(None, nodes=2), 2, pods) == Workers(ready=2, draining=1)

    def test_why_pods_do_not_start(self):
        unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/8 nodes"}
        waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
        pods = [pod(ready=False, conditions=[unscheduled]), pod(ready=False, containerStatuses=[waiting]), pod()]
        assert trouble(pods) == ("1 of 3 pods: Unschedulable: 0/8 nodes; 1 of 3 pods: ImagePullBackOff: no such image")
        assert trouble([pod()]) is None
