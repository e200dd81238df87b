"""The daemon as a process: logging, signals, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

from connectors.base import ConnectorError
from planner.assembly import make_store
from planner.cli import EXIT_BAD_CONFIGURATION, Invocation, parse
from planner.daemon import PlannerDaemon
from planner.dashboard.facts import planner_facts
from planner.log import get_logger, logging_to
from planner.report.decision_log import DecisionLog
from planner.settings import ConfigurationError, misspelt
from planner.simulation.trace import TraceError
from planner.sources.base import SourceError
from planner.tracing import Tracing, TracingError, tracing_to
from profiles import ProfileError

log = get_logger("planner.service")


def run(invocation: Invocation) -> int:
    """Run the daemon until SIGTERM or SIGINT.

    Args:
        invocation: The command line, which is read anew on SIGHUP.

    Returns:
        The exit code: 0, or 2 if it could not start as configured.
    """
    settings = invocation.settings
    try:
        with (
            logging_to(level=settings.log_level, style=settings.log_format, directory=settings.log_dir),
            tracing_to(settings) as tracing,
        ):
            asyncio.run(_serve(invocation, tracing))
    except (TracingError, ConfigurationError, ProfileError, TraceError, SourceError, ConnectorError, OSError) as error:
        print(f"python -m planner: error: {error}", file=sys.stderr)  # noqa: T201 - logging has ended
        return EXIT_BAD_CONFIGURATION
    return 0


def _where(daemon: PlannerDaemon) -> dict[str, Any]:
    """Where the daemon listens: for orchestrators, and for those who watch it."""
    places = {"decisions_url": getattr(daemon.connector, "url", None), "metrics_ports": daemon.settings.report_ports}
    return {name: place for name, place in places.items() if place}


@contextlib.asynccontextmanager
async def _decision_log(daemon: PlannerDaemon) -> AsyncIterator[None]:
    """Log every decision with what it stands on, if there is a folder for it."""
    directory = daemon.settings.log_dir
    if directory is None:
        yield
        return
    log_file = DecisionLog(directory, lambda: planner_facts(daemon.settings, daemon.planner.engine_gpus))
    async with log_file.following(daemon.history):
        yield


async def _serve(invocation: Invocation, tracing: Tracing) -> None:
    settings = invocation.settings
    daemon = PlannerDaemon(
        settings,
        reload=lambda: parse(invocation.arguments, os.environ).settings,
        store=make_store(settings),
        tracing=tracing,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)
    loop.add_signal_handler(signal.SIGHUP, daemon.request_reload)
    for variable, near in misspelt(os.environ):
        log.warning("environment variable sets no option", variable=variable, like=near)
    async with daemon, _decision_log(daemon):
        log.info(
            "planner started",
            environment=settings.environment,
            namespace=settings.namespace,
            interval_s=settings.adjustment_interval,
            ttft_ms=settings.ttft,
            itl_ms=settings.itl,
            predictor=settings.load_predictor,
            max_gpus=settings.max_gpu_budget,
            **_where(daemon),
        )
        with contextlib.suppress(asyncio.CancelledError):
            await daemon.run()
    log.info("planner stopped")
