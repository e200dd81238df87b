"""Deployments of both shapes."""

from __future__ import annotations


def services(*, prefill=1, decode=1, gpus=1, model="Qwen/Qwen3-0.6B", adapters=False):
    """A v1alpha1 deployment: a map of services."""

    def worker(role, replicas):
        return {
            "componentType": "worker",
            "subComponentType": role,
            "replicas": replicas,
            "resources": {"limits": {"gpu": str(gpus)}},
            **({"scalingAdapter": {"enabled": True}} if adapters else {}),
            "extraPodSpec": {
                "mainContainer": {"image": "engine", "args": ["python3", "-m", "dynamo.vllm", "--model", model]}
            },
        }

    return {
        "backendFramework": "vllm",
        "services": {
            "Frontend": {"componentType": "frontend", "replicas": 1},
            "VllmPrefillWorker": worker("prefill", prefill),
            "VllmDecodeWorker": worker("decode", decode),
        },
    }


def components(*, prefill=1, decode=1, gpus=1, model="Qwen/Qwen3-0.6B", adapters=False):
    """A v1beta1 deployment: a list of components."""

    def worker(name, role, replicas):
        container = {
            "name": "main",
            "image": "engine",
            "command": ["sh", "-c"],
            "args": [f"exec python3 -m dynamo.vllm --model {model}"],
            "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
        }
        return {
            "name": name,
            "type": role,
            "replicas": replicas,
            **({"scalingAdapter": {}} if adapters else {}),
            "podTemplate": {"spec": {"containers": [container]}},
        }

    return {
        "backendFramework": "vllm",
        "components": [
            {"name": "Frontend", "type": "frontend", "replicas": 1},
            worker("VllmPrefillWorker", "prefill", prefill),
            worker("VllmDecodeWorker", "decode", decode),
        ],
    }


SHAPES = {"v1alpha1": services, "v1beta1": components}
