"""``python -m planner profile estimate``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from planner.cli import Invocation, failed
from planner.profile.output import leave, refuse_to_overwrite, showing
from planner.profile.reading import explaining, target
from planner.profile.tables import Sheet, print_sheets
from profiles.making.estimate import Candidate, Estimate, EstimateRequest, estimate_now
from profiles.making.progress import MakingError


@explaining
def run(invocation: Invocation) -> int:
    """Estimate a profile, print the candidates, and write it."""
    settings, extras = invocation.settings, invocation.extras
    folder = Path(settings.profile_results_dir)
    refuse_to_overwrite(folder, allowed=extras.overwrite)
    request = EstimateRequest(
        model=extras.model,
        system=extras.system,
        backend=settings.backend,
        backend_version=extras.backend_version,
        isl=round(settings.isl),
        osl=round(settings.osl),
        ttft_ms=settings.ttft,
        itl_ms=settings.itl,
        max_gpus=extras.max_gpus,
        tp=extras.tp,
        max_num_seqs=extras.max_num_seqs,
        prefill_points=extras.prefill_points,
        context_points=extras.context_points,
        batch_points=extras.batch_points,
    )
    try:
        with showing(Console(stderr=True)) as tell:
            found = estimate_now(request, on_progress=tell)
    except MakingError as error:
        return failed(invocation, error)
    print_sheets([_candidates(found)])
    for tp, reason in found.refused.items():
        print(f"TP {tp} is left out: {reason}")  # noqa: T201
    print(_why(found))  # noqa: T201
    for note in found.notes:
        print(f"note: {note}")  # noqa: T201
    leave(found.data, folder, extras.layout, target(settings))
    return 0


def _candidates(found: Estimate) -> Sheet:
    chosen = (found.prefill, found.decode)
    rows = [_row(one, one in chosen) for role in ("prefill", "decode") for one in found.candidates if one.role == role]
    headings = ("role", "TP", "latency", "sequences", "tokens/s/GPU", "KV cache, tokens", "target", "")
    return Sheet("Candidates", headings, rows)


def _row(one: Candidate, chosen: bool) -> tuple[str, ...]:
    latency = f"TTFT {one.latency_ms:.1f} ms" if one.role == "prefill" else f"ITL {one.latency_ms:.2f} ms"
    figures = (f"{one.batch}", f"{one.throughput_per_gpu:.0f}", f"{one.max_kv_tokens}")
    return (one.role, str(one.tp), latency, *figures, "met" if one.feasible else "missed", "chosen" if chosen else "")


def _why(found: Estimate) -> str:
    prefill, decode = found.prefill, found.decode
    return (
        f"chosen is TP {prefill.tp} for prefill and TP {decode.tp} for decode: of the pairs that "
        f"{'meet both targets' if prefill.feasible and decode.feasible else 'miss the targets by least'} "
        "the one that serves a request with the fewest GPU-seconds"
    )
