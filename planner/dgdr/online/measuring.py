"""Profiling at engines: one temporary deployment after the other, each measured through its frontend."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from connectors.kubernetes.api import KubernetesApi
from connectors.kubernetes.errors import KubernetesError
from connectors.kubernetes.inventory import DEPLOYMENT_LABEL
from connectors.kubernetes.resources import PODS
from planner.dgdr.controller.status import Phase
from planner.dgdr.online.engines import deployment_to_measure, engines_of
from planner.dgdr.online.progress import Progress
from planner.dgdr.online.sweep import candidates, chosen
from planner.dgdr.online.trial import Trial, TrialError, frontend_url
from planner.dgdr.ownership import Owner
from planner.dgdr.request import Request
from planner.log import get_logger
from profiles import ProfileData, ProfileError, read_data, write_data
from profiles.making.endpoint import Endpoint
from profiles.making.limits import read_limits
from profiles.making.measure import measure
from profiles.making.measurement import Measurement
from profiles.making.progress import MakingError
from profiles.making.progress import Progress as Moment
from profiles.making.request import MeasureRequest

# Where the Dynamo operator has every component tell its metrics.
_SYSTEM_PORT = 9090

log = get_logger("planner.dgdr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """How engines are measured.

    Attributes:
        folder: Where journals and profiles are kept.
        endpoint: Where the frontend answers; None for its service in the cluster.
        ready_within_s: Longest wait for a temporary deployment, seconds.
        lengths: Shortest and longest input, tokens; None for what the lengths of the SLA ask for.
        prefill_points: Inputs to measure.
        context_points: Context lengths to measure.
        batch_points: Batches to measure in each.
        max_kv_tokens: Tokens that the KV cache of a decode engine holds; None for what it tells.
        time_limit_s: Each deployment is measured no longer than this, seconds.
        look_s: Time between two looks at a deployment, seconds.
    """

    folder: Path
    endpoint: str | None = None
    ready_within_s: float = 3600.0
    lengths: tuple[int, int] | None = None
    prefill_points: int = 10
    context_points: int = 6
    batch_points: int = 7
    max_kv_tokens: int | None = None
    time_limit_s: float | None = None
    look_s: float = 2.0


class Measurer:
    """Measures the engines that a request allows; what an earlier try measured is not measured again."""

    def __init__(
        self, api: KubernetesApi, request: Request, owner: Owner, *, how: Measuring, progress: Progress
    ) -> None:
        """Prepare.

        Args:
            api: The server; it has started.
            request: The request.
            owner: The same, as the owner of temporary deployments.
            how: How engines are measured.
            progress: Told how far it has come.
        """
        self._api = api
        self._request = request
        self._owner = owner
        self._how = how
        self._progress = progress

    async def run(self, base: Mapping[str, Any] | None) -> ProfileData:
        """The profile of the engines that serve best.

        Args:
            base: The deployment to build on; None for the template of the backend.

        Raises:
            TrialError, MakingError: No engine could be measured; the message says why and what to do.
            GenerationError: The deployment to measure cannot be built.
            KubernetesError: The server does not answer.
            ProfileError: What was measured cannot be used.
        """
        found: dict[int, ProfileData] = {}
        refused: dict[str, TrialError | MakingError] = {}
        wanted: tuple[int | None, ...] = candidates(self._request.hardware) or (None,)
        for number, gpus in enumerate(wanted, 1):
            label = f"engines {'as they are' if gpus is None else f'of {gpus} GPUs'} ({number} of {len(wanted)})"
            body = deployment_to_measure(self._request, base, gpus)
            try:
                data = await self._measured(body, f"trial-{gpus or 'base'}", label)
            except (TrialError, MakingError) as error:
                # Engines that are too small for the model do not start: others may.
                log.warning("left out", engines=label, detail=str(error))
                refused[label] = error
                continue
            found[gpus or data.provenance.decode.gpus or 1] = data
        if not found:
            raise next(iter(refused.values()))
        left_out = f"; left out: {', '.join(refused)}" if refused else ""
        self._progress.say(Phase.SELECT, f"choosing among {len(found)} measured engines{left_out}")
        return chosen(found, self._request.sla)

    async def _measured(self, body: dict[str, Any], name: str, label: str) -> ProfileData:
        """The profile of one deployment."""
        folder = self._how.folder / name
        try:
            return read_data(folder)
        except ProfileError:
            result = await self._measure(body, folder, label)
        for note in (*result.notes, *(f"{one.point}: {one.reason}" for one in result.failures)):
            log.info(note, engines=label)
        if result.data is None:
            reasons = "; ".join(dict.fromkeys((*(one.reason for one in result.failures), *result.notes)))
            raise MakingError(
                f"{len(result.entries)} measured points are too few for a profile: {reasons or 'no reason told'}"
            )
        write_data(result.data, folder, "npz")
        return result.data

    async def _measure(self, body: dict[str, Any], folder: Path, label: str) -> Measurement:
        async def waits(message: str) -> None:
            self._progress.say(Phase.BEGIN, f"{label}: {message}")

        def measures(moment: Moment) -> None:
            phase = Phase.PREFILL if moment.doing.startswith("TTFT") else Phase.DECODE
            left = f", about {math.ceil(moment.left_s / 60)} min left" if moment.left_s else ""
            self._progress.say(phase, f"{label}: {moment.done} of {moment.total} points{left}; {moment.doing}")

        how = self._how
        trial = Trial(
            self._api,
            self._owner,
            body,
            name=folder.name,
            tell=waits,
            ready_within_s=how.ready_within_s,
            look_s=how.look_s,
        )
        async with trial:
            url = how.endpoint or frontend_url(body, trial.name, self._owner.namespace)
            tokens = how.max_kv_tokens or await self._kv_tokens(trial.name, url)
            return await measure(self._asked(body, url, tokens), folder, on_progress=measures)

    def _asked(self, body: dict[str, Any], url: str, max_kv_tokens: int | None) -> MeasureRequest:
        how, request = self._how, self._request
        prefill, decode = engines_of(body, request.backend)
        return MeasureRequest(
            prefill=Endpoint(url=url),
            decode=Endpoint(url=url),
            prefill_engine=prefill,
            decode_engine=decode,
            max_kv_tokens=max_kv_tokens,
            system=request.sweep.system,
            backend=request.backend,
            lengths=how.lengths or _lengths(request),
            prefill_points=how.prefill_points,
            context_points=how.context_points,
            batch_points=how.batch_points,
            time_limit_s=how.time_limit_s,
        )

    async def _kv_tokens(self, deployment: str, frontend: str) -> int | None:
        """Tokens that the KV cache of an engine holds, as frontend or workers tell; None if none does."""
        urls = [f"{frontend}/metrics"]
        with contextlib.suppress(KubernetesError):
            pods, _ = await self._api.list_all(PODS, self._owner.namespace, labels=f"{DEPLOYMENT_LABEL}={deployment}")
            addresses = [(pod.get("status") or {}).get("podIP") for pod in pods]
            urls += [f"http://{address}:{_SYSTEM_PORT}/metrics" for address in addresses if address]
        told: list[int] = []
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            for url in urls:
                with contextlib.suppress(httpx.HTTPError):
                    limits = read_limits((await client.get(url)).text)
                    if limits.max_kv_tokens is not None:
                        told.append(limits.max_kv_tokens)
        return min(told, default=None)


def _lengths(request: Request) -> tuple[int, int]:
    """Inputs from short ones to twice what is expected: traffic varies, and the planner must not guess there."""
    return min(100, request.sla.isl), max(2 * (request.sla.isl + request.sla.osl), 1000)
