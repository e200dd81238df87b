"""``python -m planner dgdr controller``: the controller as a process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

from connectors.base import ConnectorError
from connectors.election import Elector
from connectors.kubernetes import KubernetesApi, KubernetesLeases
from connectors.kubernetes.rights import Right, missing
from planner.assembly import make_elector, make_kubernetes_api
from planner.cli import Invocation, failed
from planner.dgdr.controller.controller import Controller, ControllerOptions
from planner.dgdr.controller.issues import NO_RIGHT
from planner.dgdr.controller.metrics import ControllerMetrics
from planner.dgdr.controller.rights import CONTROLLER_LEASE_RIGHTS, CONTROLLER_RIGHTS
from planner.log import get_logger, logging_to
from planner.report.server import ReportServer
from planner.settings import Settings

LEASE = "sla-planner-dgdr"

log = get_logger("planner.dgdr")


def run(invocation: Invocation) -> int:
    """Run the controller until SIGTERM or SIGINT.

    Returns:
        The exit code: 0, or 2 if it could not start as configured.
    """
    settings = invocation.settings
    try:
        with logging_to(level=settings.log_level, style=settings.log_format, directory=settings.log_dir):
            asyncio.run(_serve(invocation))
    except (ConnectorError, OSError) as error:
        return failed(invocation, error)
    return 0


async def _serve(invocation: Invocation) -> None:
    settings, extras = invocation.settings, invocation.extras
    # Two clients: the one that changes things is fenced, the one of the election cannot be.
    free = make_kubernetes_api(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(free.close)
        await free.start()
        own = free.credentials.namespace or "default"
        namespace = None if extras.all_namespaces else extras.watch_namespace or own
        elector = _elector(settings, free, own, extras.controller_name) if settings.leader_elect else None
        await _look_at_rights(free, namespace, own if elector else None)
        api = make_kubernetes_api(settings, elector)
        stack.push_async_callback(api.close)
        metrics = ControllerMetrics()
        options = ControllerOptions(
            namespace=namespace,
            name=extras.controller_name,
            takes_all=extras.all,
            image=extras.profiler_image,
            job_timeout_s=extras.job_timeout,
            resync_s=extras.resync,
            workers=extras.workers,
        )
        controller = Controller(api, options, elector=elector, metrics=metrics)
        server = ReportServer(
            host=settings.metric_reporting_host,
            ports=settings.report_ports,
            registry=metrics.registry,
            healthy=lambda: None,
            ready=controller.unready,
        )
        stack.push_async_callback(server.close)
        await server.start()
        await _until_stopped(controller)
    log.info("controller stopped")


async def _until_stopped(controller: Controller) -> None:
    running = asyncio.create_task(controller.run(), name="controller")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    log.info("controller started")
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _elector(settings: Settings, api: KubernetesApi, namespace: str, name: str) -> Elector:
    place = (
        settings.leader_elect_resource_namespace or namespace,
        settings.leader_elect_resource_name or f"{LEASE}-{name}".lower(),
    )
    return make_elector(settings, KubernetesLeases(api, lambda: place), time.time)


async def _look_at_rights(api: KubernetesApi, namespace: str | None, elects_in: str | None) -> None:
    """See that the rights are there.

    Raises:
        ConnectorError: One is missing without which requests cannot be taken care of.
    """
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    found = await missing(api, namespace or "", CONTROLLER_RIGHTS, {})
    for right in found:
        if not right.essential:
            log.warning(_complaint(right, where))
    fatal = [_complaint(right, where) for right in found if right.essential]
    if elects_in is not None:
        without = await missing(api, elects_in, CONTROLLER_LEASE_RIGHTS, {})
        fatal += [_complaint(right, f"in namespace {elects_in}") for right in without]
    if fatal:
        raise ConnectorError("\n".join(fatal))


def _complaint(right: Right, where: str) -> str:
    named = {"verb": right.verb, "what": right.what, "without": right.without, "rule": right.rule}
    return str(NO_RIGHT.error(**named, where=where))
