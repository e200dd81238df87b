"""A planner with everything it needs to run: opened, run, told to stop, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

from connectors.base import Connector
from planner.assembly import make_connector, make_dashboard, make_source
from planner.clock import Clock, WallClock
from planner.core.decision import Decision
from planner.daemon.adjuster import Adjuster
from planner.daemon.loop import Loop
from planner.dashboard.facts import planner_facts
from planner.log import get_logger
from planner.planner import Planner, Remembered
from planner.report.history import History
from planner.report.life import Life
from planner.report.metrics import PlannerMetrics
from planner.report.record import Kind, Record
from planner.report.server import ReportServer
from planner.report.store import HistoryStore
from planner.settings import NO_BUDGET, Reload, Settings, flag
from planner.sources.base import Source
from planner.tracing import NoTracing, Tracing
from predictors import ProcessFitter

log = get_logger("planner.daemon")


class PlannerDaemon:
    """Runs a planner against a source and a connector, on a clock.

    It installs no signal handlers and sets up no logging, so it can be embedded:

        async with PlannerDaemon(settings, source=source, connector=connector) as daemon:
            await daemon.run()

    Attributes:
        clock: What the time is.
        source: Where observations come from.
        connector: Where decisions go.
        metrics: What is exported.
        history: The recent adjustments.
        dashboard: The web page; None if the settings ask for none.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        source: Source | None = None,
        connector: Connector | None = None,
        clock: Clock | None = None,
        reload: Callable[[], Settings] | None = None,
        on_record: Callable[[Record], None] | None = None,
        store: HistoryStore | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Make a daemon that has not started.

        Args:
            settings: How to run.
            source: Where observations come from; made from the settings if left out.
            connector: Where decisions go; made from the settings if left out.
            clock: What the time is; the machine's clock if left out.
            reload: Reads the settings anew when asked by ``request_reload``.
            on_record: Called after each adjustment with what happened; must not block.
            store: The file that the history is kept in, such as ``planner.assembly.make_store`` gives; in memory only
                if left out.
            tracing: What follows adjustments, such as ``planner.tracing.OpenTelemetryTracing``; nothing if left out.

        Raises:
            ProfileError, TraceError: The profile, or the trace to warm up with, cannot be used.
            SourceError, ConnectorError, ConfigurationError: The settings name something that cannot be made.
        """
        self.clock = clock or WallClock()
        self._fitter = ProcessFitter(time_limit_s=settings.predictor_time_limit)
        planner = Planner(settings, fitter=self._fitter)
        self.source = source or make_source(settings, self.clock.now)
        self.connector = connector or make_connector(settings, self.clock.now)
        self.metrics = PlannerMetrics()
        self.metrics.leader.set_function(lambda: float(self.connector.leading))
        self.history = History(settings.decision_history, store, on_failure=self._history_failed)
        self._adjuster = Adjuster(
            planner,
            self.source,
            self.connector,
            clock=self.clock,
            metrics=self.metrics,
            history=self.history,
            tracing=tracing or NoTracing(),
        )
        self._loop = Loop(
            self.clock,
            self.metrics,
            lambda: self.settings,
            prepare=self._take_new_settings,
            adjust=self.tick,
            react=self.react,
        )
        self._reload = reload
        self._reload_requested = False
        self._on_record = on_record
        self._server = self._make_server()
        self.dashboard = make_dashboard(settings, self.history, self._state)
        self._export_settings()

    @property
    def planner(self) -> Planner:
        """What decides."""
        return self._adjuster.planner

    @property
    def settings(self) -> Settings:
        """What it runs with now."""
        return self.planner.settings

    async def __aenter__(self) -> Self:
        """Start the servers, the source and the connector.

        Raises:
            SourceError, ConnectorError: One of them can never work as configured.
            ConfigurationError: The port of the dashboard cannot be had.
            OSError: The port for metrics cannot be had.
        """
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of everything."""
        await self.close()

    async def close(self) -> None:
        """Let go of everything, of each part whether or not another can be let go of; may be called more than once."""
        async with AsyncExitStack() as parts:
            parts.callback(self._fitter.close)
            for part in (self.dashboard, self._server, self.history, self.source, self.connector):
                if part is not None:
                    parts.push_async_callback(part.close)

    async def run(self) -> None:
        """Adjust at once and then once an interval, on a fixed cadence, until ``stop``."""
        await self._loop.run()

    def stop(self) -> None:
        """End ``run``: at once while it waits, otherwise within a second."""
        self._loop.stop()

    def request_reload(self) -> None:
        """Read the settings anew at the next adjustment."""
        self._reload_requested = True

    async def tick(self) -> Record:
        """One adjustment: observe, learn, decide, hand over."""
        record = await self._adjuster.adjust()
        if self._on_record is not None:
            self._on_record(record)
        return record

    async def react(self, span_s: float) -> Decision:
        """Look at the last ``span_s`` seconds, and raise the targets if they are too low for what comes in."""
        return await self._adjuster.react(span_s)

    def trouble(self) -> str | None:
        """Why the process should be restarted: its loop no longer comes round; None if all is well."""
        return self._loop.trouble()

    def not_ready(self) -> str | None:
        """Why nobody should rely on the planner yet; None once it has adjusted."""
        return None if self._adjuster.adjusted else "no adjustment made yet"

    def _make_server(self) -> ReportServer | None:
        ports = self.settings.report_ports
        if not ports:
            return None
        return ReportServer(
            host=self.settings.metric_reporting_host,
            ports=ports,
            registry=self.metrics.registry,
            history=self.history,
            healthy=self.trouble,
            ready=self.not_ready,
        )

    async def _start(self) -> None:
        if self._server is not None:
            await self._server.start()
        await self.connector.start()
        differences = self._take_deployed()
        await self.history.start(self._life())
        if self.dashboard is not None:
            await self.dashboard.start()
            log.info("dashboard open", url=self.dashboard.url)
        await self._recall()
        self.source.prefer_model(self.connector.model_name)
        await self.source.start()
        for warning in (*self.planner.warnings, *self.connector.warnings, *differences):
            log.warning(warning)

    def _take_deployed(self) -> list[str]:
        """Reckon with the engines that are deployed; returns what differs from those that were expected."""
        differences = self.planner.take_deployed(*self.connector.engine_gpus, model=self.connector.model_name)
        self._adjuster.meter.engine_gpus = self.planner.engine_gpus
        return differences

    async def _recall(self) -> None:
        """Let the planner go on where it was before a restart; it takes a while, which a stop ends."""
        past = await self.history.read(self.settings.history_warm_start)
        if not past:
            return
        remembered = (
            Remembered(record.observation, record.decision, reaction=record.kind is Kind.REACTION)
            for record in past
            if not self._loop.stopped
        )
        try:
            learnt = await asyncio.to_thread(self.planner.recall, remembered, self.clock.now())
        except Exception:
            self.metrics.history_failures.inc()
            log.exception("the history cannot be learnt from; the planner begins anew")
            self._adjuster.planner = Planner(self.settings, fitter=self._fitter)
            self._take_deployed()
            return
        log.info("learnt from the history", adjustments=learnt)

    async def _take_new_settings(self) -> None:
        """Go on with other settings if that was asked for; whatever is wrong with them, the old ones stand."""
        if not self._reload_requested or self._reload is None:
            return
        self._reload_requested = False
        try:
            reload = Reload.of(self.settings, self._reload())
            self.planner.reconfigure(reload.settings)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, the loop goes on
            log.error("settings not reloaded; the old ones stand", detail=str(error))  # noqa: TRY400
            return
        self._export_settings()
        await self.history.begin(self._life())
        log.info("settings reloaded", taken=sorted(map(flag, reload.taken)))
        if reload.refused:
            log.warning("these need a restart to change", options=sorted(map(flag, reload.refused)))

    def _export_settings(self) -> None:
        limit = self.settings.max_gpu_budget
        self.metrics.configured(
            mode=self.settings.mode,
            interval_s=self.settings.adjustment_interval,
            max_gpus=None if limit == NO_BUDGET else limit,
        )

    def _history_failed(self, problem: str) -> None:
        self.metrics.history_failures.inc()
        log.warning("history", detail=problem)

    def _life(self) -> Life:
        """What the history tells of this planner: its settings, with the sizes of engines that it reckons with."""
        gpus = dict(zip(("prefill_engine_num_gpu", "decode_engine_num_gpu"), self.planner.engine_gpus, strict=True))
        settings = self.settings.model_dump(mode="json") | gpus
        return Life(started=self.clock.now(), version=version("sla-planner"), settings=settings)

    def _state(self) -> dict[str, Any]:
        """The moment, for the dashboard."""
        newest = self.history.latest(1)
        return {
            "now": self.clock.now(),
            "due": self._loop.due,
            "newest": newest[0].decision.time if newest else None,
            "planner": planner_facts(self.settings, self.planner.engine_gpus),
            "source": asdict(self.source.status),
            "leading": self.connector.leading,
            "trouble": self.trouble(),
            "failures": self.metrics.failures,
            "gpus": self._adjuster.meter.gpus,
            "gpu_hours": self._adjuster.meter.gpu_hours,
        }
