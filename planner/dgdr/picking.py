"""What is picked for a request: the engines of a profile at its targets, the GPUs for them, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.dgdr import issues
from planner.dgdr.choice import Choice, Picked
from planner.dgdr.engines import Parallelism
from planner.dgdr.estimating import Found, Paths, budget_too_small, least_workers, sla_missed
from planner.dgdr.graph import Part
from planner.dgdr.request import Request
from planner.settings import NO_BUDGET, Settings
from profiles import ProfileData, ProfileError
from profiles.making.estimate import Estimate


def pick(request: Request, data: ProfileData, workers: tuple[Part, Part]) -> tuple[Picked, Picked]:
    """The engines of a profile, and what they can do at the targets.

    Args:
        request: What is asked for.
        data: The profile.
        workers: The prefill and the decode workers, for GPUs that the profile does not tell.

    Raises:
        GenerationError: The profile cannot be used, or its engines miss the targets.
    """
    sla = request.sla
    stated = (request.planner.whole("prefill_engine_num_gpu"), request.planner.whole("decode_engine_num_gpu"))
    profiled = (data.provenance.prefill, data.provenance.decode)
    gpus = [
        given or engine.gpus or engine.tp or part.gpus or 1
        for given, engine, part in zip(stated, profiled, workers, strict=True)
    ]
    try:
        engines = data.engines(prefill_gpus=gpus[0], decode_gpus=gpus[1])
        ttft_ms = engines.prefill.ttft_ms(sla.isl)
        point = engines.decode.operating_point(sla.itl_ms, sla.isl + sla.osl / 2)
    except (ProfileError, ValueError) as error:
        raise issues.PROFILE_UNUSABLE.error(complaint=error) from error
    prefill, decode = (Parallelism.of(engine, count) for engine, count in zip(profiled, gpus, strict=True))
    itl_ms = point.itl_ms if point.feasible else engines.decode.itl_ms(1, sla.isl + sla.osl / 2)
    if ttft_ms > sla.ttft_ms or not point.feasible:
        raise sla_missed(request, ttft_ms, itl_ms, f"{prefill} for prefill and {decode} for decode")
    return (
        Picked(
            role="prefill",
            parallelism=prefill,
            latency_ms=ttft_ms,
            target_ms=sla.ttft_ms,
            concurrency=1,
            throughput_per_gpu=engines.prefill.throughput_per_gpu(sla.isl),
        ),
        Picked(
            role="decode",
            parallelism=decode,
            latency_ms=itl_ms,
            target_ms=sla.itl_ms,
            concurrency=point.concurrency,
            throughput_per_gpu=point.throughput_per_gpu,
            max_kv_tokens=engines.decode.max_kv_tokens,
        ),
    )


def budget_of(request: Request, picked: Sequence[Picked]) -> tuple[int, list[str]]:
    """GPUs that the planner may use, and what there is to say of that.

    Raises:
        GenerationError: Those that are given do not hold the minimum.
    """
    prefill, decode = (one.parallelism.gpus for one in picked)
    needed = max(1, least_workers(request)) * (prefill + decode)
    told = request.planner.whole("max_gpu_budget")
    given = request.hardware.total_gpus if told is None else told
    if given is not None:
        if NO_BUDGET != given < needed:
            raise budget_too_small(request, given, prefill, decode)
        return given, []
    budget = max(int(Settings.model_fields["max_gpu_budget"].default), needed)
    return budget, [f"no GPU budget is given: the planner uses {budget} GPUs at most; see {Paths.of(request).budget}"]


def choice_of(
    request: Request,
    data: ProfileData,
    backend: str,
    picked: tuple[Picked, Picked],
    *,
    found: Found | None,
    notes: Sequence[str],
) -> Choice:
    """What was picked, with why and all there is to say of it.

    Args:
        request: What is asked for.
        data: The profile of the engines.
        backend: Their software.
        picked: The prefill and the decode engine.
        found: What an estimate looked at; None if the profile was given.
        notes: What there is to say so far.
    """
    engines = f"{picked[0].parallelism} for prefill and {picked[1].parallelism} for decode"
    unknown = [f"{path} is no option of the planner and is left out" for path in request.unknown_planner_options]
    remarks = [*request.notes, *unknown, *notes]
    if found is None:
        reason = f"{engines}: the engines that were profiled, which meet both targets"
        estimates, refused = dict[str, Estimate](), dict[str, str]()
        remarks += _doubts(request, data, backend, picked)
    else:
        reason = (
            f"{engines}{f' with {backend}' if found.others or found.refused else ''}: of the engines that meet both "
            "targets, those that serve a request with the fewest GPU-seconds"
        )
        estimates = {backend: found.estimate, **found.others}
        refused = {f"{name} TP {tp}": why for name, one in estimates.items() for tp, why in one.refused.items()}
        refused |= found.refused
        remarks += found.estimate.notes
    return Choice(
        model=request.model,
        backend=backend,
        system=data.provenance.system,
        how=_how(data),
        sla=request.sla,
        prefill=picked[0],
        decode=picked[1],
        reason=reason,
        candidates={name: one.candidates for name, one in estimates.items()},
        refused=refused,
        notes=tuple(remarks),
    )


def _doubts(request: Request, data: ProfileData, backend: str, picked: Sequence[Picked]) -> Iterator[str]:
    """What a profile that was given leaves open, or what is of something else than the request."""
    provenance = data.provenance
    yield from provenance.mismatches(model=request.sweep.hf_id or request.model, backend=backend)
    for one, engine in zip(picked, (provenance.prefill, provenance.decode), strict=True):
        if not (engine.gpus or engine.tp):
            yield f"the profile does not say how many GPUs a {one.role} engine has: {one.parallelism.gpus} is assumed"


def _how(data: ProfileData) -> str:
    provenance = data.provenance
    made = provenance.how or "of unknown origin"
    details = [provenance.details.get(key) for key in ("package", "database")]
    with_what = ", ".join(str(one) for one in details if one)
    return f"{made} with {with_what}" if with_what else made
