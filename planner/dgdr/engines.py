"""What the engines of each backend are told: model and parallelism, and how to pretend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from planner.dgdr import issues, words
from planner.dgdr.graph import Graph, Part
from planner.dgdr.terms import ModelCache, Overrides
from profiles.provenance import Engine

_SERVED = ("--served-model-name", "--model-name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallelism:
    """How an engine is spread over its GPUs.

    Attributes:
        tp: Tensor parallelism.
        pp: Pipeline parallelism.
        ep: Expert parallelism, of a model with experts that are spread whole.
        gpus: GPUs, all together.
    """

    tp: int
    pp: int = 1
    ep: int = 1
    gpus: int

    @classmethod
    def of(cls, engine: Engine, gpus: int) -> Self:
        """That of a profiled engine."""
        pp, ep = (_whole(engine.details, *names) for names in (("pp", "pp_size"), ("ep", "moe_ep_size")))
        return cls(tp=engine.tp or max(1, gpus // pp), pp=pp, ep=ep, gpus=gpus)

    def __str__(self) -> str:
        """As people say it."""
        parts = [
            f"TP {self.tp}",
            *([f"PP {self.pp}"] if self.pp > 1 else []),
            *([f"EP {self.ep}"] if self.ep > 1 else []),
        ]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Flags:
    """Flags of a backend, each by its names, the usual one first."""

    model: Sequence[str]
    tp: Sequence[str]
    pp: Sequence[str]
    ep: Sequence[str]
    sequences: Sequence[str]


_FLAGS: Mapping[str, Flags] = {
    "vllm": Flags(
        model=("--model",),
        tp=("--tensor-parallel-size", "-tp"),
        pp=("--pipeline-parallel-size", "-pp"),
        ep=("--enable-expert-parallel",),
        sequences=("--max-num-seqs",),
    ),
    "sglang": Flags(
        model=("--model-path", "--model"),
        tp=("--tp", "--tp-size", "--tensor-parallel-size"),
        pp=("--pp-size", "--pipeline-parallel-size"),
        ep=("--ep-size", "--ep", "--expert-parallel-size"),
        sequences=("--max-running-requests",),
    ),
    "trtllm": Flags(
        model=("--model-path", "--model"),
        tp=("--tensor-parallel-size",),
        pp=("--pipeline-parallel-size",),
        ep=("--expert-parallel-size",),
        sequences=("--max-batch-size",),
    ),
}
_OVERRIDES = ("--override-engine-args",)


def set_images(graph: Graph, overrides: Overrides, workers: Sequence[Part]) -> None:
    """The image that is asked for, in the workers and in whatever else runs their old one: versions go together."""
    old = {part.image for part in workers if part.image}
    for part in graph.parts:
        if part.role == "planner" or not (part.image in old or part.name in {one.name for one in workers}):
            continue
        if overrides.workers_image:
            part.image = overrides.workers_image
        elif overrides.runtime_version and part.image:
            part.image = f"{part.image.partition('@')[0].rpartition(':')[0] or part.image}:{overrides.runtime_version}"


def mount_cache(part: Part, cache: ModelCache) -> None:
    """Let a worker have a volume with the model, to read; or to keep downloads on."""
    volume = {"name": "model-cache", "persistentVolumeClaim": {"claimName": cache.claim}}
    part.mount(volume, cache.mount_path, read_only=cache.path is not None)


def set_model(part: Part, backend: str, model: str, path: str | None) -> None:
    """Have a worker load a model, from a path if it is kept there, and serve it under its name."""
    part.set_flag(_FLAGS[backend].model, path or model)
    served = words.value_of(part.words, _SERVED) is not None
    if served or path:
        part.set_flag(_SERVED, model)


def most_sequences(part: Part, backend: str) -> int | None:
    """Sequences that a worker is told to run at once at most; None if it is left to the engine."""
    told = words.value_of(part.words, _FLAGS[backend].sequences)
    if told is None and backend == "trtllm":
        told = str(_overrides(part).get("max_batch_size") or "")
    return int(told) if told and told.isdecimal() and int(told) > 0 else None


def limit_flag(backend: str) -> str:
    """The flag of a backend that limits the sequences which run at once."""
    return _FLAGS[backend].sequences[0]


def backend_of(part: Part) -> str | None:
    """The backend that a worker runs, by its command; None if that does not say."""
    return next((backend for backend in _FLAGS if f"dynamo.{backend}" in part.words), None)


def set_parallelism(part: Part, backend: str, parallelism: Parallelism) -> None:
    """Have a worker spread its engine over GPUs, and ask for them."""
    part.set_gpus(parallelism.gpus)
    flags = _FLAGS[backend]
    if backend == "trtllm":
        _set_overrides(part, parallelism)
        return
    part.set_flag(flags.tp, str(parallelism.tp))
    if parallelism.pp > 1:
        part.set_flag(flags.pp, str(parallelism.pp))
    else:
        part.drop_flags(flags.pp)
    if backend == "vllm":
        part.set_switch(flags.ep[0], on=parallelism.ep > 1)
    elif parallelism.ep > 1:
        part.set_flag(flags.ep, str(parallelism.ep))
    else:
        part.drop_flags(flags.ep)


def _set_overrides(part: Part, parallelism: Parallelism) -> None:
    """Parallelism of TensorRT-LLM: its file of engine arguments beats flags, and these beat the file."""
    part.drop_flags([*_FLAGS["trtllm"].tp, *_FLAGS["trtllm"].pp, *_FLAGS["trtllm"].ep])
    found = _overrides(part)
    experts = {"moe_expert_parallel_size": parallelism.ep, "moe_tensor_parallel_size": parallelism.tp // parallelism.ep}
    found |= {
        "tensor_parallel_size": parallelism.tp,
        "pipeline_parallel_size": parallelism.pp,
        **(experts if parallelism.ep > 1 else {}),
    }
    part.set_flag(_OVERRIDES, json.dumps(found))


def _overrides(part: Part) -> dict[str, object]:
    text = words.value_of(part.words, _OVERRIDES) or "{}"
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        complaint = f"{_OVERRIDES[0]} of component {part.name} is no JSON object: {text}"
        raise issues.NO_BASE.error(origin="the base deployment", complaint=complaint)
    return found


def pretend(part: Part, role: str, model: str, profile: str, *, listed: bool) -> None:
    """Turn a worker into a mocker, which takes the time that the profile says and no GPU.

    Args:
        part: The worker.
        role: ``prefill`` or ``decode``.
        model: The model, whose tokenizer it needs.
        profile: Where the profile is mounted.
        listed: Whether it is one of a list of components, as those of newer versions are.
    """
    part.set_gpus(0)
    disaggregated = ["--disaggregation-mode", role] if listed else [f"--is-{role}-worker"]
    part.container["command"] = ["python3", "-m", "dynamo.mocker"]
    part.container["args"] = [
        "--model-path",
        model,
        "--model-name",
        model,
        *disaggregated,
        "--planner-profile-data",
        profile,
    ]


def _whole(details: Mapping[str, object], *names: str) -> int:
    found = next((details[name] for name in names if name in details), 1)
    return found if isinstance(found, int) and found > 0 else 1
