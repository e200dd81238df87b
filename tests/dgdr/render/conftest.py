"""Requests of both versions, and engines made up for them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from planner.dgdr.request import Request
from profiles import read_data, sample_profile_dir
from profiles.making.progress import MakingError

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples" / "dgdr").glob("*.yaml"))
REQUESTS = [path for path in EXAMPLES if "kind: DynamoGraphDeploymentRequest" in path.read_text(encoding="utf-8")]
DGDS = ROOT / "examples" / "kubernetes" / "dgd"

ALPHA = {
    "apiVersion": "nvidia.com/v1alpha1",
    "kind": "DynamoGraphDeploymentRequest",
    "metadata": {"name": "chat", "namespace": "serving", "uid": "u-1", "generation": 3},
    "spec": {
        "model": "Qwen/Qwen3-32B",
        "backend": "vllm",
        "profilingConfig": {
            "profilerImage": "registry.example.com/sla-planner:0.1.0",
            "config": {
                "sla": {"isl": 3000, "osl": 150, "ttft": 500, "itl": 30},
                "sweep": {"useAiConfigurator": True, "aicSystem": "h200_sxm"},
            },
        },
    },
}
BETA = {
    "apiVersion": "nvidia.com/v1beta1",
    "kind": "DynamoGraphDeploymentRequest",
    "metadata": {"name": "chat", "namespace": "serving", "uid": "u-1", "generation": 3},
    "spec": {
        "model": "Qwen/Qwen3-32B",
        "backend": "vllm",
        "image": "registry.example.com/sla-planner:0.1.0",
        "hardware": {"gpuSku": "h200_sxm", "totalGpus": 16},
        "workload": {"isl": 3000, "osl": 150},
        "sla": {"ttft": 500, "itl": 30},
    },
}
SHAPES = {"v1alpha1": ALPHA, "v1beta1": BETA}


def changed(manifest, **changes):
    """A manifest with values at dotted paths (``__`` for a dot); None takes away."""
    body = copy.deepcopy(manifest)
    for path, value in changes.items():
        *above, last = path.split("__")
        place = body
        for key in above:
            place = place.setdefault(key, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return body


def alpha(**changes):
    return Request.parse(changed(ALPHA, **{f"spec__{path}": value for path, value in changes.items()}))


def beta(**changes):
    return Request.parse(changed(BETA, **{f"spec__{path}": value for path, value in changes.items()}))


@dataclass(frozen=True)
class MadeEngine:
    """An engine that scales with its GPUs, less well the more it has."""

    tp: int
    slowness: float = 1.0
    max_kv_tokens: int = 400_000
    memory: tuple = ()
    parallelism: tuple = ()

    def ttft_ms(self, isl):
        return self.slowness * (10 + 0.1 * isl / self.tp**0.6)

    def itl_ms(self, concurrency, context_length):
        load = 0.05 * concurrency + 4e-6 * concurrency * context_length
        return self.slowness * (4 + 8 / self.tp + load / self.tp**0.6)


class MadeEngines:
    """Engines with one GPU have no room for the weights."""

    model, system, backend_version, package = "Qwen/Qwen3-32B", "h200_sxm", "1", "made 1"
    gpus_of_a_node = 8

    def __init__(self, backend="vllm", slowness=1.0, parallelism=()):
        self.backend, self.slowness, self.parallelism = backend, slowness, parallelism

    def engine(self, tp):
        if tp == 1:
            raise MakingError("no room for the weights")
        spread = ((key, tp) for key in self.parallelism)
        return MadeEngine(tp, self.slowness, parallelism=tuple(spread))


@pytest.fixture(scope="session")
def profile():
    """A profile that does not say of which model."""
    return read_data(sample_profile_dir())


def load(path):
    return list(yaml.safe_load_all(Path(path).read_text(encoding="utf-8")))
