"""``python -m planner dgdr profile``: what a profiling job runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from connectors.base import ConnectorError
from connectors.kubernetes.errors import KubernetesError
from planner.assembly import make_kubernetes_api
from planner.cli import EXIT_FAILED, Invocation, failed, interrupted
from planner.dgdr.base import read_base
from planner.dgdr.controller.status import Phase
from planner.dgdr.generate import from_profile
from planner.dgdr.issues import DgdrError
from planner.dgdr.online.measuring import Measurer, Measuring
from planner.dgdr.online.progress import Progress
from planner.dgdr.online.trial import TrialError, remove_trials
from planner.dgdr.ownership import Owner
from planner.dgdr.request import Request
from planner.dgdr.result import MANIFESTS, Result, ResultError, ResultStore
from planner.log import get_logger, logging_to
from planner.profile.reading import Target
from planner.settings import ConfigurationError
from profiles import ProfileData, ProfileError, write_data
from profiles.making.progress import MakingError

log = get_logger("planner.dgdr")


def run(invocation: Invocation) -> int:
    """Profile for a request, and leave the result in its ConfigMap.

    Returns:
        The exit code: 0; 1 if another try may help; 2 if none will; 130 if it was told to end.
    """
    settings, extras = invocation.settings, invocation.extras
    try:
        extras.output.mkdir(parents=True, exist_ok=True)
        with logging_to(
            level=settings.log_level, style=settings.log_format, directory=settings.log_dir or extras.output
        ):
            asyncio.run(_profile(invocation))
    except asyncio.CancelledError:
        return interrupted(invocation, "ended before it was done; temporary deployments are removed")
    except KubernetesError as error:
        return failed(invocation, error, EXIT_FAILED)
    except (
        ConfigurationError,
        ConnectorError,
        DgdrError,
        MakingError,
        OSError,
        ProfileError,
        ResultError,
        TrialError,
    ) as error:
        # The last line of its log is what the request is told.
        return failed(invocation, error)
    return 0


async def _profile(invocation: Invocation) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this is a coroutine of asyncio.run
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    extras = invocation.extras
    manifest = _manifest(extras.file, extras.request_json)
    request = Request.parse(manifest)
    if not request.namespace or not request.uid:
        raise ConfigurationError(
            "the request has no metadata.namespace or metadata.uid: give it as the cluster has it, such as with "
            "kubectl get dgdr NAME -o json"
        )
    owner = Owner.of({**manifest, "apiVersion": manifest.get("apiVersion", "nvidia.com/v1alpha1")})
    base = None if extras.base is None else read_base(_read(extras.base), str(extras.base))
    folder = extras.output / f"{owner.name}-{owner.uid[:8]}"
    api = make_kubernetes_api(invocation.settings)
    await api.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(api.close)
        store = ResultStore(api, owner)
        if MANIFESTS in await store.read():
            log.info("the result is there already")
            await remove_trials(api, owner)
            return
        progress = await stack.enter_async_context(Progress(store))
        data = await Measurer(api, request, owner, how=_how(invocation, folder), progress=progress).run(base)
        progress.say(Phase.GENERATE, "the deployment is generated")
        result = Result.of(await from_profile(request, data, base, planner_image=extras.planner_image))
        await asyncio.to_thread(_leave, data, request, result, folder)
        await store.keep(result)
    log.info("done", result=owner.results)


def _how(invocation: Invocation, folder: Path) -> Measuring:
    extras = invocation.extras
    return Measuring(
        folder=folder,
        endpoint=extras.endpoint,
        ready_within_s=extras.ready_timeout,
        lengths=extras.isl_range,
        prefill_points=extras.prefill_points,
        context_points=extras.context_points,
        batch_points=extras.batch_points,
        max_kv_tokens=extras.max_kv_tokens,
        time_limit_s=extras.time_limit,
    )


def _leave(data: ProfileData, request: Request, result: Result, folder: Path) -> None:
    """Keep the profile, pictures of it, and the manifests, for whoever mounts a claim there."""
    from planner.profile.plots import draw_profile  # noqa: PLC0415 - it takes a second to import

    write_data(data, folder / "profile", "npz")
    (folder / MANIFESTS).write_text(result.text(), encoding="utf-8")
    sla = request.sla
    target = Target(ttft_ms=sla.ttft_ms, itl_ms=sla.itl_ms, isl=sla.isl, osl=sla.osl)
    draw_profile(data, data.engines(), target, folder / "profile.png")


def _manifest(file: Path | None, text: str | None) -> Mapping[str, Any]:
    """The request.

    Raises:
        ConfigurationError: It cannot be read.
    """
    origin = "--request-json" if file is None else str(file)
    try:
        found = json.loads(text or "") if file is None else yaml.safe_load(_read(file))
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{origin} is no manifest: {error}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{origin} is no manifest but {type(found).__name__}")
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
