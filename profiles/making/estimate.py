"""Estimating a profile offline, and choosing the engines of both roles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Protocol

from profiles.data import ProfileData, data_of_points
from profiles.making.configurator import Configurator, Simulated
from profiles.making.grid import geometric
from profiles.making.progress import MakingError, OnProgress, Progress, silent
from profiles.provenance import Engine, Provenance, now, tool

OPTIMISTIC = (
    "estimates are optimistic: real engines took 1.18 to 1.39 times the estimated TTFT and 1.13 to 1.65 times the "
    "estimated ITL. Leave the planner's correction on, and measure when an engine runs"
)

_FULLEST = 0.95
_LONGEST = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateRequest:
    """What to estimate.

    Attributes:
        model: Hugging Face name, or a folder with ``config.json``.
        system: The GPUs, such as ``h200_sxm``.
        backend: The engine's software.
        backend_version: A version there is data of, or ``current``.
        isl: Expected input, tokens.
        osl: Expected output, tokens.
        ttft_ms: TTFT target, milliseconds.
        itl_ms: ITL target, milliseconds.
        max_gpus: GPUs that one prefill and one decode engine may have together.
        tp: Tensor parallelism of both; None to choose it for each.
        least_tp: Smallest tensor parallelism to choose from.
        most_tp: Largest one; None for the GPUs of a node.
        max_num_seqs: Sequences that a decode engine runs at once at most; None for what its cache holds.
        prefill_points: Inputs to estimate.
        context_points: Context lengths to estimate.
        batch_points: Batches to estimate in each.
    """

    model: str
    system: str
    backend: str = "vllm"
    backend_version: str = "current"
    isl: int = 3000
    osl: int = 150
    ttft_ms: float = 500.0
    itl_ms: float = 50.0
    max_gpus: int = 16
    tp: int | None = None
    least_tp: int = 1
    most_tp: int | None = None
    max_num_seqs: int | None = None
    prefill_points: int = 17
    context_points: int = 8
    batch_points: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An engine that could take a role.

    Attributes:
        role: ``prefill`` or ``decode``.
        tp: Its tensor parallelism, and its GPUs.
        latency_ms: TTFT of the expected input, or ITL of ``batch``, milliseconds.
        batch: Sequences that decode within the ITL target and the cache; 1 for prefill.
        throughput_per_gpu: Input or output tokens per second and GPU.
        max_kv_tokens: Tokens that its KV cache holds.
        feasible: Whether it meets the target of its role.
    """

    role: str
    tp: int
    latency_ms: float
    batch: int
    throughput_per_gpu: float
    max_kv_tokens: int
    feasible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What was estimated.

    Attributes:
        data: The profile of the chosen engines.
        prefill: The engine chosen for prefill.
        decode: The engine chosen for decode.
        candidates: Every engine looked at.
        refused: Why engines with other tensor parallelism do not run, by that.
        notes: What is worth knowing; that estimates are optimistic, first of all.
    """

    data: ProfileData
    prefill: Candidate
    decode: Candidate
    candidates: Sequence[Candidate]
    refused: Mapping[int, str]
    notes: Sequence[str]


class Engines(Protocol):
    """Where engines come from; ``Configurator`` is one."""

    model: str
    system: str
    backend: str
    backend_version: str
    package: str

    @property
    def gpus_of_a_node(self) -> int:
        """GPUs of one node."""
        ...

    def engine(self, tp: int) -> Simulated:
        """An engine with a tensor parallelism; MakingError if it does not run."""
        ...


async def estimate(request: EstimateRequest, *, on_progress: OnProgress = silent) -> Estimate:
    """Estimate a profile with AI Configurator, off the event loop; it takes seconds of CPU time.

    Args:
        request: What to estimate.
        on_progress: Told how far it is, from another thread.

    Raises:
        MakingError: AI Configurator is not installed, does not support what is asked for, or no engine fits.
    """
    return await asyncio.to_thread(estimate_now, request, on_progress=on_progress)


def estimate_now(
    request: EstimateRequest, *, on_progress: OnProgress = silent, engines: Engines | None = None
) -> Estimate:
    """Estimate a profile in the calling thread.

    Args:
        request: What to estimate.
        on_progress: Told how far it is.
        engines: Where engines come from; AI Configurator if left out.

    Raises:
        MakingError: As ``estimate``.
    """
    source = engines or Configurator(
        model=request.model, system=request.system, backend=request.backend, backend_version=request.backend_version
    )
    simulated, refused = dict[int, Simulated](), dict[int, str]()
    degrees = _degrees(request, source.gpus_of_a_node)
    for done, tp in enumerate(degrees):
        on_progress(Progress(done=done, total=len(degrees) + 1, doing=f"engines with TP {tp}"))
        try:
            simulated[tp] = source.engine(tp)
        except MakingError as error:
            refused[tp] = str(error)
    candidates = [
        judge(request, engine)
        for engine in simulated.values()
        for judge in (_prefill, _decode)
        if _roomy(request, engine)
    ]
    refused |= {
        tp: f"its KV cache holds {engine.max_kv_tokens} tokens, fewer than one request has"
        for tp, engine in simulated.items()
        if not _roomy(request, engine)
    }
    prefill, decode = choose(request, candidates, refused)
    on_progress(Progress(done=len(degrees), total=len(degrees) + 1, doing="points of the profile"))
    data = _profile(request, source, simulated[prefill.tp], simulated[decode.tp], candidates)
    on_progress(Progress(done=len(degrees) + 1, total=len(degrees) + 1, doing="points of the profile", left_s=0.0))
    return Estimate(
        data=data,
        prefill=prefill,
        decode=decode,
        candidates=tuple(candidates),
        refused=refused,
        notes=(OPTIMISTIC, *_infeasible(request, prefill, decode)),
    )


def _degrees(request: EstimateRequest, gpus_of_a_node: int) -> list[int]:
    most = min(request.most_tp or gpus_of_a_node, gpus_of_a_node, request.max_gpus - 1)
    if request.tp is not None:
        if 2 * request.tp > request.max_gpus:
            raise MakingError(
                f"--tp {request.tp} of both engines takes {2 * request.tp} of --max-gpus {request.max_gpus}"
            )
        return [request.tp]
    if most < 1:
        raise MakingError(f"--max-gpus {request.max_gpus} cannot hold a prefill and a decode engine; give at least 2")
    degrees = [tp for tp in (1, 2, 4, 8, 16, 32, 64) if request.least_tp <= tp <= most]
    if not degrees:
        raise MakingError(
            f"no tensor parallelism is between {request.least_tp} and {most}, the GPUs an engine may have"
        )
    return degrees


def _roomy(request: EstimateRequest, engine: Simulated) -> bool:
    return engine.max_kv_tokens >= request.isl + request.osl


def _prefill(request: EstimateRequest, engine: Simulated) -> Candidate:
    ttft_ms = engine.ttft_ms(request.isl)
    return Candidate(
        role="prefill",
        tp=engine.tp,
        latency_ms=ttft_ms,
        batch=1,
        throughput_per_gpu=request.isl / ttft_ms * 1000 / engine.tp,
        max_kv_tokens=engine.max_kv_tokens,
        feasible=ttft_ms <= request.ttft_ms,
    )


def _decode(request: EstimateRequest, engine: Simulated) -> Candidate:
    context = request.isl + request.osl // 2
    most = max(1, engine.max_kv_tokens // context)
    most = min(most, request.max_num_seqs or most)
    batch = _largest(most, lambda sequences: engine.itl_ms(sequences, context) <= request.itl_ms)
    itl_ms = engine.itl_ms(batch or 1, context)
    return Candidate(
        role="decode",
        tp=engine.tp,
        latency_ms=itl_ms,
        batch=batch or 1,
        throughput_per_gpu=(batch or 1) / itl_ms * 1000 / engine.tp,
        max_kv_tokens=engine.max_kv_tokens,
        feasible=batch > 0,
    )


def _largest(most: int, holds: Callable[[int], bool]) -> int:
    """The largest number up to ``most`` for which something holds that holds for all smaller ones; 0 for none."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def choose(
    request: EstimateRequest, candidates: Sequence[Candidate], refused: Mapping[int, str] | None = None
) -> tuple[Candidate, Candidate]:
    """The prefill and the decode engine that serve a request with the fewest GPU-seconds.

    Engines that meet the target of their role come before those that do not, whatever they cost; of those that do not,
    the fastest comes first, since it misses its target by least.

    Args:
        request: Lengths, targets, and the GPUs that both may have together.
        candidates: Engines of both roles.
        refused: Why there are not more.

    Raises:
        MakingError: No pair fits.
    """
    of_role = [[one for one in candidates if one.role == role] for role in ("prefill", "decode")]
    pairs = [pair for pair in product(*of_role) if sum(one.tp for one in pair) <= request.max_gpus]
    if not pairs:
        why = "; ".join(f"TP {tp}: {reason}" for tp, reason in (refused or {}).items())
        raise MakingError(f"no engines fit into --max-gpus {request.max_gpus}. {why}".rstrip())

    def rank(pair: tuple[Candidate, ...]) -> tuple[float, ...]:
        prefill, decode = pair
        cost = request.isl / prefill.throughput_per_gpu + request.osl / decode.throughput_per_gpu
        missed = max(1.0, prefill.latency_ms / request.ttft_ms) * max(1.0, decode.latency_ms / request.itl_ms)
        return (missed if not (prefill.feasible and decode.feasible) else 1.0, cost)

    prefill, decode = min(pairs, key=rank)
    return prefill, decode


def _infeasible(request: EstimateRequest, prefill: Candidate, decode: Candidate) -> Iterator[str]:
    within = f"no engines within --max-gpus {request.max_gpus} meet"
    if not prefill.feasible:
        yield (
            f"{within} the TTFT target of {request.ttft_ms:g} ms at ISL {request.isl} with the other target: "
            f"the chosen one takes {prefill.latency_ms:.0f} ms"
        )
    if not decode.feasible:
        yield (
            f"{within} the ITL target of {request.itl_ms:g} ms at context {request.isl + request.osl // 2} with the "
            f"other target: the chosen one takes {decode.latency_ms:.1f} ms for a single sequence"
        )


def _profile(
    request: EstimateRequest, source: Engines, prefill: Simulated, decode: Simulated, candidates: Sequence[Candidate]
) -> ProfileData:
    longest = max(_LONGEST, 2 * (request.isl + request.osl))
    # The expected lengths are points of their own: there the profile need not be interpolated.
    lengths = {*geometric(100, min(longest, prefill.max_kv_tokens), request.prefill_points), request.isl}
    contexts = {
        *geometric(200, min(longest, int(_FULLEST * decode.max_kv_tokens)), request.context_points),
        request.isl + request.osl // 2,
    }
    points = []
    for context in sorted(contexts):
        most = max(1, int(_FULLEST * decode.max_kv_tokens // context))
        most = min(most, request.max_num_seqs or most)
        points += [(n, context, decode.itl_ms(n, context)) for n in geometric(1, most, request.batch_points)]
    return data_of_points(
        [(isl, prefill.ttft_ms(isl)) for isl in sorted(lengths)],
        points,
        max_kv_tokens=decode.max_kv_tokens,
        provenance=Provenance(
            how="estimated",
            created=now(),
            model=source.model,
            system=source.system,
            backend=source.backend,
            backend_version=source.backend_version,
            prefill=_engine(prefill, None),
            decode=_engine(decode, request.max_num_seqs),
            details={
                "tool": tool(),
                "package": source.package,
                "database": f"{source.system} {source.backend} {source.backend_version}",
                "targets": {name: getattr(request, name) for name in ("isl", "osl", "ttft_ms", "itl_ms", "max_gpus")},
                "candidates": [asdict(candidate) for candidate in candidates],
                "note": OPTIMISTIC,
            },
        ),
    )


def _engine(engine: Simulated, max_num_seqs: int | None) -> Engine:
    details = {"memory": dict(engine.memory)} | dict(engine.parallelism)
    return Engine(gpus=engine.tp, tp=engine.tp, max_num_seqs=max_num_seqs, details=details)
