"""Engines for a request from AI Configurator: of its backend, or of whichever is cheapest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from planner.dgdr import issues
from planner.dgdr.issues import DgdrError
from planner.dgdr.request import Request
from planner.dgdr.systems import system_name
from planner.settings import Settings
from profiles.making.configurator import INSTALL, Configurator
from profiles.making.estimate import Engines, Estimate, EstimateRequest, estimate_now
from profiles.making.progress import MakingError, NotInstalledError, OnProgress, Progress

BACKENDS = ("vllm", "sglang", "trtllm")
_MOST_GPUS = 16

EngineSource = Callable[[str], Engines]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where a request says what an estimate needs, for messages."""

    model: str
    system: str
    version: str
    gpus: str
    budget: str
    online: str

    @classmethod
    def of(cls, request: Request) -> Paths:
        """Those of a request's version."""
        if request.version == "v1alpha1":
            config = "spec.profilingConfig.config"
            return cls(
                model=f"{config}.sweep.aicHfId" if request.sweep.hf_id else "spec.model",
                system=f"{config}.sweep.aicSystem",
                version=f"{config}.sweep.aicBackendVersion",
                gpus=f"{config}.planner.plannerMaxGpuBudget or {config}.hardware.maxNumGpusPerEngine",
                budget=f"{config}.planner.plannerMaxGpuBudget",
                online="spec.profilingConfig.config.sweep.useAiConfigurator: false",
            )
        return cls(
            model="spec.model",
            system="spec.hardware.gpuSku",
            version="the version of the backend",
            gpus="spec.hardware.totalGpus",
            budget="spec.features.planner.maxGpuBudget",
            online="spec.searchStrategy: thorough",
        )

    def translated(self, complaint: str) -> str:
        """A complaint about flags, in terms of the request."""
        text = complaint.partition(" Known are: ")[0].partition("Give the exact name")[0]
        for flag, path in (
            ("--model", self.model),
            ("--system", self.system),
            ("--backend-version", self.version),
            ("--backend", "spec.backend"),
            ("--max-gpus", "GPUs"),
        ):
            text = text.replace(flag, path)
        return text.rstrip(".? ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Engines for a request.

    Attributes:
        backend: Their backend.
        estimate: They, and others that were looked at.
        others: What was found for other backends.
        refused: Why other backends are out of the question, by backend.
    """

    backend: str
    estimate: Estimate
    others: dict[str, Estimate]
    refused: dict[str, str]


def most_gpus(request: Request) -> int:
    """GPUs that one prefill and one decode engine may have together.

    Raises:
        GenerationError: They are too few for any engines.
    """
    budget = request.planner.whole("max_gpu_budget") or request.hardware.total_gpus
    if budget is None or budget < 0:
        return _MOST_GPUS
    least = max(1, least_workers(request))
    if budget < 2 * least:
        raise budget_too_small(request, budget, 1, 1)
    return budget // least


def least_workers(request: Request) -> int:
    """Workers that the planner keeps in each pool."""
    least = request.planner.whole("min_endpoint")
    return int(Settings.model_fields["min_endpoint"].default) if least is None else least


def budget_too_small(request: Request, budget: int, prefill: int, decode: int) -> DgdrError:
    """That a budget does not hold the minimum of pools whose engines have so many GPUs."""
    least = max(1, least_workers(request))
    return issues.BUDGET_TOO_SMALL.error(
        budget=budget,
        least=least,
        prefill=prefill,
        decode=decode,
        path=Paths.of(request).budget,
        needed=least * (prefill + decode),
    )


def find_engines(
    request: Request, on_progress: OnProgress, source: EngineSource | None = None, *, max_num_seqs: int | None = None
) -> Found:
    """Estimate engines in the calling thread; it takes seconds of CPU time.

    Args:
        request: What is asked for.
        on_progress: Told how far it is.
        source: Where engines of a backend come from; AI Configurator if left out.
        max_num_seqs: Sequences that a decode engine runs at once at most; None for what its cache holds.

    Raises:
        GenerationError: Nothing can be estimated, no engines fit, or none meets the SLA; it says what to do.
    """
    paths = Paths.of(request)
    if request.sweep.system is None and source is None:
        raise issues.SYSTEM_UNKNOWN.error(path=paths.system)
    backends = BACKENDS if request.backend == "auto" else (request.backend,)
    most_gpus(request)
    found, errors = dict[str, Estimate](), dict[str, DgdrError]()
    for index, backend in enumerate(backends):
        try:
            tell = _shifted(on_progress, backend, index, len(backends))
            wanted = _wanted(request, backend, max_num_seqs)
            found[backend] = _estimate(wanted, paths, tell, source)
        except DgdrError as error:
            errors[backend] = error
    if not found:
        raise errors[backends[0]]
    return _cheapest(request, found, {name: str(error) for name, error in errors.items()})


def _wanted(request: Request, backend: str, max_num_seqs: int | None) -> EstimateRequest:
    hardware, sla = request.hardware, request.sla
    limits = [limit for limit in (hardware.most_per_engine, hardware.gpus_per_node) if limit is not None]
    return EstimateRequest(
        model=request.sweep.hf_id or request.model,
        system=system_name(request.sweep.system or ""),
        backend=backend,
        backend_version=request.sweep.backend_version or "current",
        isl=sla.isl,
        osl=sla.osl,
        ttft_ms=sla.ttft_ms,
        itl_ms=sla.itl_ms,
        max_gpus=most_gpus(request),
        least_tp=hardware.least_per_engine or 1,
        most_tp=min(limits) if limits else None,
        max_num_seqs=max_num_seqs,
    )


def _estimate(wanted: EstimateRequest, paths: Paths, tell: OnProgress, source: EngineSource | None) -> Estimate:
    try:
        engines = source(wanted.backend) if source else _configurator(wanted)
    except NotInstalledError as error:
        raise issues.NO_CONFIGURATOR.error(install=INSTALL, online=paths.online) from error
    except MakingError as error:
        complaint = paths.translated(str(error))
        raise issues.NOT_ESTIMATED.error(complaint=complaint, online=paths.online) from error
    try:
        return estimate_now(wanted, on_progress=tell, engines=engines)
    except MakingError as error:
        raise issues.NO_ENGINES.error(complaint=paths.translated(str(error)), path=paths.gpus) from error


def _configurator(wanted: EstimateRequest) -> Configurator:
    return Configurator(
        model=wanted.model, system=wanted.system, backend=wanted.backend, backend_version=wanted.backend_version
    )


def _shifted(on_progress: OnProgress, backend: str, index: int, backends: int) -> OnProgress:
    """Progress of one backend as part of that of all."""

    def tell(moment: Progress) -> None:
        doing = f"{backend}: {moment.doing}" if backends > 1 else moment.doing
        done = index * moment.total + moment.done
        on_progress(Progress(done=done, total=backends * moment.total, doing=doing, left_s=moment.left_s))

    return tell


def _cheapest(request: Request, found: dict[str, Estimate], refused: dict[str, str]) -> Found:
    """Of the backends that meet the SLA, the one that serves a request with the fewest GPU-seconds.

    Raises:
        GenerationError: None meets it.
    """
    within = {name: one for name, one in found.items() if one.prefill.feasible and one.decode.feasible}
    if not within:
        raise sla_missed(request, *_closest(request, found), gpus=most_gpus(request))

    def cost(backend: str) -> float:
        prefill, decode = within[backend].prefill, within[backend].decode
        return request.sla.isl / prefill.throughput_per_gpu + request.sla.osl / decode.throughput_per_gpu

    best = min(within, key=cost)
    others = {name: one for name, one in found.items() if name != best}
    return Found(backend=best, estimate=within[best], others=others, refused=refused)


def _closest(request: Request, found: Mapping[str, Estimate]) -> tuple[float, float, str]:
    """TTFT and ITL of the engines that miss the SLA by least, and what they are."""

    def missed(one: Estimate) -> float:
        return max(1.0, one.prefill.latency_ms / request.sla.ttft_ms) * max(
            1.0, one.decode.latency_ms / request.sla.itl_ms
        )

    backend = min(found, key=lambda name: missed(found[name]))
    best = found[backend]
    engines = f"TP {best.prefill.tp} for prefill and TP {best.decode.tp} for decode with {backend}"
    return best.prefill.latency_ms, best.decode.latency_ms, engines


def sla_missed(request: Request, ttft_ms: float, itl_ms: float, engines: str, *, gpus: int | None = None) -> DgdrError:
    """That the SLA is not met, and what is.

    Args:
        request: What is asked for.
        ttft_ms: The best TTFT, milliseconds.
        itl_ms: The best ITL of a single sequence, milliseconds.
        engines: What has them.
        gpus: GPUs that both engines may have together; None where they are given.
    """
    sla = request.sla
    missed = []
    if ttft_ms > sla.ttft_ms:
        missed.append(f"TTFT is {ttft_ms:.1f} ms on an idle engine, target {sla.ttft_ms:g} ms")
    if itl_ms > sla.itl_ms:
        missed.append(f"ITL is {itl_ms:.2f} ms for a single sequence, target {sla.itl_ms:g} ms")
    limit = f" (within {gpus} GPUs for one engine of each role)" if gpus else ""
    return issues.SLA_MISSED.error(
        missed=" and ".join(missed) + limit,
        ttft=sla.ttft_ms if ttft_ms <= sla.ttft_ms else float(-(-ttft_ms // 1)),
        itl=sla.itl_ms if itl_ms <= sla.itl_ms else -(-itl_ms * 10 // 1) / 10,
        isl=sla.isl,
        osl=sla.osl,
        engines=engines,
    )
