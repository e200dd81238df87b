"""The deployment to measure, as the request would be given it."""

from __future__ import annotations

import copy

import pytest

from planner.dgdr.graph import Graph
from planner.dgdr.online.engines import deployment_to_measure
from planner.dgdr.request import Request
from tests.dgdr.render.conftest import BETA


def asked(**spec):
    manifest = copy.deepcopy(BETA)
    manifest["spec"] |= spec
    return Request.parse(manifest)


@pytest.mark.parametrize("where", ["qwen/32b", "/qwen/32b", "/qwen/32b/"])
def test_a_model_on_a_volume_is_where_the_deployment_will_have_it(where):
    request = asked(modelCache={"pvcName": "models", "pvcModelPath": where, "pvcMountPath": "/models"})
    workers = Graph(deployment_to_measure(request, None, 2)).workers("vllm")
    for part in workers:
        assert part.words[part.words.index("--model") + 1] == "/models/qwen/32b"
        assert {"name": "model-cache", "mountPath": "/models", "readOnly": True} in part.container["volumeMounts"]


def test_versions_are_those_of_the_deployment_to_come():
    graph = Graph(deployment_to_measure(asked(runtimeVersionOverride="1.6.1"), None, 2))
    images = {part.role: part.image for part in graph.parts}
    assert {image.rpartition(":")[2] for image in images.values()} == {"1.6.1"}
