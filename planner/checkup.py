"""``python -m planner check``: everything a run needs, looked at before it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from connectors.base import Connector, ConnectorError
from planner.assembly import make_connector, make_dashboard, make_source
from planner.cli import EXIT_FAILED, Invocation
from planner.engines import load_profile
from planner.finding import Finding, Health
from planner.planner import Planner
from planner.ports import check_ports
from planner.report.history import History
from planner.settings import ConfigurationError, Settings, misspelt
from planner.simulation.trace import Trace, TraceError
from planner.sources.base import Source, SourceError
from profiles import EngineProfile, ProfileError

_MARKS = {Health.OK: "[green]ok[/]", Health.WARNING: "[yellow]warning[/]", Health.FAILED: "[red]failed[/]"}


def check(invocation: Invocation) -> int:
    """Print what was checked.

    Returns:
        The exit code: 0, or 1 if a run could not work.
    """
    findings = asyncio.run(check_up(invocation.settings))
    failed = sum(finding.health is Health.FAILED for finding in findings)
    print_findings(findings, invocation.extras.format)
    if invocation.extras.format == "table":
        print(f"{failed} of {len(findings)} checks failed: a run could not work." if failed else "A run would work.")  # noqa: T201
    return EXIT_FAILED if failed else 0


async def check_up(settings: Settings) -> list[Finding]:
    """Evaluate settings, profile, source and connector; nothing is changed anywhere."""
    findings = [Finding(subject="settings", health=Health.OK, detail="consistent")]
    findings += check_environment(os.environ)
    findings += check_profile(settings)
    findings += _check_budget(settings)
    findings += await asyncio.to_thread(lambda: list(_check_past(settings)))
    findings += await _check_far_end("metrics", lambda: make_source(settings, time.time))
    findings += await _check_far_end(
        "connector", lambda: make_connector(settings, time.time), lambda asked: _check_deployed(settings, asked)
    )
    findings += await asyncio.to_thread(lambda: list(check_ports(settings)))
    findings += _check_dashboard(settings)
    return findings


def check_environment(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Evaluate the names of environment variables: one that is misspelt has no effect."""
    for variable, near in misspelt(environ):
        yield Finding(
            subject="environment",
            health=Health.WARNING,
            detail=f"{variable} sets no option",
            remedy=f"did you mean {near}?",
        )


def check_profile(settings: Settings) -> Iterator[Finding]:
    """Evaluate the profile, and whether its engines can meet the targets."""
    try:
        profile = load_profile(settings)
    except ProfileError as error:
        yield Finding(
            subject="profile",
            health=Health.FAILED,
            detail=str(error),
            remedy="give --profile-results-dir a folder with a profile of this engine",
        )
        return
    yield Finding(subject="profile", health=Health.OK, detail=f"read from {settings.profile_results_dir}")
    for warning in profile.warnings:
        yield Finding(
            subject="profile", health=Health.WARNING, detail=warning, remedy="profile again if this is not as meant"
        )
    yield _check_ttft(settings, profile)
    yield _check_itl(settings, profile)


def _check_budget(settings: Settings) -> Iterator[Finding]:
    """Engines of a size that only the profile tells."""
    with contextlib.suppress(ProfileError):
        profile = load_profile(settings)
        if problem := settings.over_budget(profile.prefill.gpus, profile.decode.gpus):
            yield Finding(subject="GPU budget", health=Health.FAILED, detail=problem, remedy="as it says")


def _check_past(settings: Settings) -> Iterator[Finding]:
    """Whether the predictors can be given the past that is set."""
    if settings.load_predictor_warmup_trace is None:
        return
    trace = Trace(settings.load_predictor_warmup_trace)
    try:
        intervals = len(trace.intervals(settings.adjustment_interval))
    except TraceError as error:
        yield _not_as_set("warm-up trace", error)
        return
    if trace.complaint:
        remedy = "mend these lines if they are requests"
        yield Finding(subject="warm-up trace", health=Health.WARNING, detail=trace.complaint, remedy=remedy)
        return
    detail = f"{intervals} interval{'s' * (intervals != 1)} of {settings.adjustment_interval:g} s"
    yield Finding(subject="warm-up trace", health=Health.OK, detail=detail)


def _check_ttft(settings: Settings, profile: EngineProfile) -> Finding:
    idle_ms = profile.prefill.ttft_ms(settings.isl)
    if idle_ms <= settings.ttft:
        detail = f"an idle prefill worker takes {idle_ms:.0f} of {settings.ttft:g} ms at ISL {settings.isl:g}"
        return Finding(subject="TTFT target", health=Health.OK, detail=detail)
    return Finding(
        subject="TTFT target",
        health=Health.WARNING,
        detail=f"{settings.ttft:g} ms is infeasible: an idle worker takes {idle_ms:.0f} ms at ISL {settings.isl:g}",
        remedy="raise --ttft, or use a prefill engine with more GPUs; until then prefill is sized for throughput",
    )


def _check_itl(settings: Settings, profile: EngineProfile) -> Finding:
    context_length = settings.isl + settings.osl / 2
    point = profile.decode.operating_point(settings.itl, context_length)
    if point.feasible:
        detail = (
            f"a decode worker carries {point.concurrency} sequences at {point.itl_ms:.1f} of {settings.itl:g} ms, "
            f"context length {context_length:g}"
        )
        return Finding(subject="ITL target", health=Health.OK, detail=detail)
    return Finding(
        subject="ITL target",
        health=Health.WARNING,
        detail=f"{settings.itl:g} ms is infeasible even for one sequence at context length {context_length:g}",
        remedy="raise --itl, or use a decode engine with more GPUs; until then decode is sized for throughput",
    )


def _check_dashboard(settings: Settings) -> Iterator[Finding]:
    """Whether its token can be read, and is there where it is needed."""
    try:
        make_dashboard(settings, History(1), dict)
    except (ConfigurationError, ConnectorError) as error:
        yield _not_as_set("dashboard", error)


async def _check_far_end(
    subject: str, make: Callable[[], Source | Connector], more: Callable[[Any], Iterator[Finding]] | None = None
) -> list[Finding]:
    """What a source or a connector finds out about what it talks to, and what follows from that."""
    asked: Source | Connector | None = None
    try:
        asked = make()
        findings = await asked.check()
        return [*findings, *(more(asked) if more else ())]
    except (SourceError, ConnectorError, ValueError) as error:
        return [_not_as_set(subject, error)]
    finally:
        if asked is not None:
            await asked.close()


def _check_deployed(settings: Settings, connector: Connector) -> Iterator[Finding]:
    """Whether the engines that are deployed are those of the profile, and fit into the budget."""
    with contextlib.suppress(ProfileError):
        # Predictors do not come into it, nor does what they are warmed up with.
        planner = Planner(settings.model_copy(update={"load_predictor_warmup_trace": None}))
        try:
            differences = planner.take_deployed(*connector.engine_gpus, model=connector.model_name)
        except ProfileError as error:
            yield Finding(subject="GPU budget", health=Health.FAILED, detail=str(error), remedy="as it says")
            return
        for difference in differences:
            yield Finding(
                subject="engines",
                health=Health.WARNING,
                detail=difference,
                remedy="profile what is deployed, or deploy what was profiled",
            )


def _not_as_set(subject: str, error: Exception) -> Finding:
    return Finding(subject=subject, health=Health.FAILED, detail=str(error), remedy="mend the setting it names")


def print_findings(findings: Sequence[Finding], form: str) -> None:
    """Print what was checked, as a ``table`` or as ``json``: a list of objects with the attributes of a finding."""
    if form == "json":
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))  # noqa: T201
        return
    from rich.console import Console  # noqa: PLC0415 - only this command shows tables
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(show_lines=False, pad_edge=False)
    for heading in ("", "Checked", "Found", "To mend it"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(_MARKS[finding.health], escape(finding.subject), escape(finding.detail), escape(finding.remedy))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table)
