"""``python -m planner profile measure``."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from pathlib import Path

from rich.console import Console

from planner.cli import EXIT_FAILED, Invocation, failed, interrupted
from planner.profile.output import leave, refuse_to_overwrite, showing
from planner.profile.reading import explaining, target
from planner.profile.tables import Sheet, print_sheets
from planner.settings import ConfigurationError, Settings
from profiles.making.endpoint import Endpoint
from profiles.making.measure import JOURNAL, measure
from profiles.making.measurement import Measurement
from profiles.making.progress import MakingError
from profiles.making.request import MeasureRequest
from profiles.making.sweep import Precision
from profiles.provenance import Engine


@explaining
def run(invocation: Invocation) -> int:
    """Measure a profile, and write it.

    Returns:
        The exit code: 0, 1 if points are still to be measured, 130 if it was interrupted.
    """
    settings, extras = invocation.settings, invocation.extras
    folder = Path(settings.profile_results_dir)
    journal = folder / JOURNAL
    console = Console(stderr=True)
    try:
        request = _request(settings, extras)
        if extras.restart:
            journal.unlink(missing_ok=True)
        refuse_to_overwrite(folder, allowed=extras.overwrite or journal.exists())
        with showing(console) as tell:
            found = asyncio.run(measure(request, folder, on_progress=tell))
    except KeyboardInterrupt:
        return interrupted(
            invocation, f"stopped; what was measured is in {journal}: the same command goes on from there"
        )
    except (ConfigurationError, MakingError) as error:
        return failed(invocation, error)
    return _report(found, folder, invocation)


def _report(found: Measurement, folder: Path, invocation: Invocation) -> int:
    for note in found.notes:
        print(f"note: {note}")  # noqa: T201
    if found.failures:
        rows = [(failure.point, failure.reason) for failure in found.failures]
        print_sheets([Sheet("Points that could not be measured", ("point", "why"), rows)])
    if found.data is None:
        print(f"{len(found.entries)} points are too few for a profile; they are kept in {folder / JOURNAL}")  # noqa: T201
        return EXIT_FAILED
    leave(found.data, folder, invocation.extras.layout, target(invocation.settings))
    if found.missing:
        print(f"{found.missing} points are still to be measured: the same command goes on from there")  # noqa: T201
        return EXIT_FAILED
    return 0


def _request(settings: Settings, extras: Namespace) -> MeasureRequest:
    prefill, decode = _endpoints(extras)
    given = settings.model_fields_set
    return MeasureRequest(
        prefill=prefill,
        decode=decode,
        prefill_engine=Engine(gpus=settings.prefill_engine_num_gpu or extras.tp, tp=extras.tp),
        decode_engine=Engine(
            gpus=settings.decode_engine_num_gpu or extras.tp, tp=extras.tp, max_num_seqs=extras.max_num_seqs
        ),
        max_kv_tokens=extras.max_kv_tokens,
        system=extras.system,
        backend=settings.backend if "backend" in given else None,
        backend_version=extras.backend_version,
        lengths=extras.isl_range,
        contexts=extras.context_range,
        prefill_points=extras.prefill_points,
        context_points=extras.context_points,
        batch_points=extras.batch_points,
        most_sequences=extras.max_concurrency,
        steps=extras.steps,
        precision=Precision(wanted=extras.precision / 100, most=extras.repeats, least=min(3, extras.repeats)),
        time_limit_s=extras.time_limit,
    )


def _endpoints(extras: Namespace) -> tuple[Endpoint, Endpoint]:
    prefill, decode = extras.prefill_endpoint or extras.endpoint, extras.decode_endpoint or extras.endpoint
    if not prefill or not decode:
        raise ConfigurationError(
            "give --endpoint for an engine that does both, or --prefill-endpoint and --decode-endpoint; "
            "such as http://localhost:8000"
        )
    common = {
        "model": extras.model,
        "api": extras.api,
        "api_key": _api_key(extras),
        "timeout_s": extras.request_timeout,
    }
    return Endpoint(url=prefill, **common), Endpoint(url=decode, **common)


def _api_key(extras: Namespace) -> str | None:
    if extras.api_key_file is None:
        return os.environ.get("OPENAI_API_KEY") or None
    try:
        return str(extras.api_key_file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--api-key-file {extras.api_key_file} cannot be read: {error}") from error
