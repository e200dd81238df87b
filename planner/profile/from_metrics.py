"""``python -m planner profile from-metrics``."""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from planner.assembly import make_prometheus_api, make_prometheus_source
from planner.cli import Invocation, failed
from planner.core.observation import Observation
from planner.profile.output import leave, refuse_to_overwrite, showing
from planner.profile.reading import explaining, target
from planner.settings import Settings
from planner.sources.base import SourceError, without_password
from planner.sources.prometheus import QueryError
from profiles import ProfileData, Provenance, read_data
from profiles.making.history import Fitted, Served, fit_history
from profiles.making.progress import MakingError, OnProgress, Progress
from profiles.provenance import Engine


@explaining
def run(invocation: Invocation) -> int:
    """Fit or correct a profile by what Prometheus kept of a deployment, and write it."""
    settings, extras = invocation.settings, invocation.extras
    folder = Path(settings.profile_results_dir)
    refuse_to_overwrite(folder, allowed=extras.overwrite)
    base = read_data(extras.base) if extras.base else None
    try:
        with showing(Console(stderr=True)) as tell:
            served = asyncio.run(_history(settings, extras, tell))
        fitted = fit_history(
            served, provenance=_provenance(settings, extras), base=base, max_kv_tokens=extras.max_kv_tokens
        )
    except (MakingError, SourceError, QueryError) as error:
        return failed(invocation, error)
    _report(fitted, base)
    leave(fitted.data, folder, extras.layout, target(settings))
    return 0


def _report(fitted: Fitted, base: ProfileData | None) -> None:
    print(  # noqa: T201
        f"fitted to {fitted.intervals} intervals; {fitted.left_out} left out for long queues or as far off the others; "
        f"the profile is off what was observed by {fitted.ttft_error:.1%} of TTFT and {fitted.itl_error:.1%} of ITL in "
        "the median"
    )
    if base is not None:
        print(  # noqa: T201
            f"observed over the base: TTFT {fitted.ttft_ratio:.2f}, ITL {fitted.itl_ratio:.2f} times, in the median"
        )
    for note in fitted.notes:
        print(f"note: {note}")  # noqa: T201


def _provenance(settings: Settings, extras: Namespace) -> Provenance:
    return Provenance(
        model=settings.model_name,
        system=extras.system,
        backend=settings.backend if "backend" in settings.model_fields_set else None,
        prefill=Engine(gpus=settings.prefill_engine_num_gpu),
        decode=Engine(gpus=settings.decode_engine_num_gpu, max_num_seqs=extras.max_num_seqs),
    )


async def _history(settings: Settings, extras: Namespace, tell: OnProgress) -> list[Served]:
    """What the deployment served, one interval after the other.

    Raises:
        SourceError: The metrics cannot be read.
        QueryError: Prometheus is not reached, or a number of workers cannot be had.
        MakingError: Nothing was served.
    """
    end = extras.end or time.time()
    moments = [end - extras.step * index for index in reversed(range(max(1, int(extras.history // extras.step))))]
    reader = _Reader(settings, extras)
    served = []
    begun = time.monotonic()
    try:
        await reader.reach()
        for done, moment in enumerate(moments):
            left_s = (time.monotonic() - begun) / done * (len(moments) - done) if done else None
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
            tell(Progress(done=done, total=len(moments), doing=f"interval until {when}", left_s=left_s))
            if (one := await reader.served(moment)) is not None:
                served.append(one)
    finally:
        await reader.close()
    if not served:
        why = reader.why or "there were no requests, or not all of TTFT, ITL, ISL and OSL was observed"
        raise MakingError(f"of {len(moments)} intervals none tells anything: {why}")
    return served


class _Reader:
    """Reads intervals of the past."""

    def __init__(self, settings: Settings, extras: Namespace) -> None:
        self._moment = 0.0
        self._url = without_password(settings.metric_pulling_prometheus_endpoint)
        self._step = extras.step
        self._workers: Sequence[str] = (extras.prefill_workers, extras.decode_workers)
        self._api = make_prometheus_api(settings)
        self._source = make_prometheus_source(settings, lambda: self._moment, self._api)
        self.why = ""

    async def reach(self) -> None:
        """Look whether Prometheus answers at all, before it is asked for every interval.

        Raises:
            QueryError: It does not.
        """
        try:
            await self._api.value("vector(1)", time.time())
        except QueryError as error:
            raise QueryError(f"--metric-pulling-prometheus-endpoint {self._url} does not answer: {error}") from error

    async def served(self, moment: float) -> Served | None:
        """What was served in the interval that ended at a moment; None if that is not known, or nothing."""
        self._moment = moment
        seen = await self._source.observe(self._step)
        self.why = "; ".join(self._source.status.errors.values()) or self.why
        prefill, decode = [await self._count(text, moment) for text in self._workers]
        return _served(seen, prefill, decode)

    async def _count(self, text: str, moment: float) -> float | None:
        if text.isdecimal():
            return float(text)
        return await self._api.value(text, moment)

    async def close(self) -> None:
        """Close the connections."""
        await self._source.close()


def _served(seen: Observation, prefill: float | None, decode: float | None) -> Served | None:
    requests = seen.requests_completed
    if not (requests and seen.isl and seen.osl and seen.ttft_ms and seen.itl_ms and prefill and decode):
        return None
    return Served(
        requests=requests,
        rate_rps=(seen.requests_started or requests) / seen.interval,
        isl=seen.isl,
        osl=seen.osl,
        ttft_ms=seen.ttft_ms,
        itl_ms=seen.itl_ms,
        prefill_workers=prefill,
        decode_workers=decode,
    )
