"""The adjustment loop: observe, learn, decide, hand over; again and again, whatever fails."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

from connectors.base import Applied, Connector, ConnectorError, Outcome, WorkerCounts
from planner.assembly import make_connector, make_dashboard, make_source
from planner.clock import Clock, WallClock
from planner.core.decision import Action, Decision
from planner.core.observation import Observation, Workers
from planner.dashboard.facts import planner_facts
from planner.log import get_logger
from planner.planner import Planner, Remembered
from planner.report.gpu_hours import GpuMeter
from planner.report.history import History
from planner.report.metrics import PlannerMetrics
from planner.report.record import Kind, Record
from planner.report.server import ReportServer
from planner.report.store import HistoryStore, Life
from planner.settings import NO_BUDGET, Settings, flag, reloadable_names
from planner.sources.base import Source
from planner.tracing import NoTracing, Tracing, decided_attributes, seen_attributes
from predictors import ProcessFitter

_STOP_GRACE_S = 0.8

# A loop that has not come round for so many intervals is stuck.
_STUCK_INTERVALS = 3

log = get_logger("planner.daemon")


class PlannerDaemon:
    """Runs a planner against a source and a connector, on a clock.

    It installs no signal handlers and sets up no logging, so it can be embedded:

        async with PlannerDaemon(settings, source=source, connector=connector) as daemon:
            await daemon.run()

    Attributes:
        settings: What it runs with now.
        planner: What decides.
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
        self.settings = settings
        self.clock = clock or WallClock()
        self._fitter = ProcessFitter(time_limit_s=settings.predictor_time_limit)
        self.planner = Planner(settings, fitter=self._fitter)
        self.source = source or make_source(settings, self.clock.now)
        self.connector = connector or make_connector(settings, self.clock.now)
        self.metrics = PlannerMetrics()
        self._export_settings()
        self.metrics.leader.set_function(lambda: float(self.connector.leading))
        self.tracing = tracing or NoTracing()
        self.history = History(settings.decision_history, store, on_failure=self._history_failed)
        self._meter = self._make_meter()
        self._reload = reload
        self._reload_requested = False
        self._on_record = on_record
        self._stopping = asyncio.Event()
        self._unsettled = False
        self._adjusted = False
        self._last_counts = WorkerCounts()
        self._last_round: float | None = None
        self._in_tick = False
        self._due: float | None = None
        self._server = self._make_server()
        self.dashboard = make_dashboard(settings, self.history, self._state)

    def _make_meter(self) -> GpuMeter:
        prefill_gpus, decode_gpus = self.planner.engine_gpus
        return GpuMeter(prefill_gpus=prefill_gpus, decode_gpus=decode_gpus)

    def _make_server(self) -> ReportServer | None:
        ports = self.settings.report_ports
        if not ports:
            return None
        return ReportServer(
            host=self.settings.metric_reporting_host,
            ports=ports,
            registry=self.metrics.registry,
            history=self.history,
            healthy=self._trouble,
            ready=self._not_ready,
        )

    async def __aenter__(self) -> Self:
        """Start the servers, the source and the connector.

        Raises:
            SourceError, ConnectorError: One of them can never work as configured.
            ConfigurationError: The port of the dashboard cannot be had.
            OSError: The port for metrics cannot be had.
        """
        try:
            if self._server is not None:
                await self._server.start()
            await self.connector.start()
            differences = self.planner.take_deployed(*self.connector.engine_gpus)
            self._meter = self._make_meter()
            await self.history.start(self._life())
            if self.dashboard is not None:
                await self.dashboard.start()
                log.info("dashboard open", url=self.dashboard.url)
            await self._recall()
            self.source.prefer_model(self.connector.model_name)
            await self.source.start()
        except BaseException:
            await self.close()
            raise
        for warning in (*self.planner.warnings, *self.connector.warnings, *differences):
            log.warning(warning)
        return self

    def _export_settings(self) -> None:
        limit = self.settings.max_gpu_budget
        self.metrics.configured(
            mode=self.settings.mode,
            interval_s=self.settings.adjustment_interval,
            max_gpus=None if limit == NO_BUDGET else limit,
        )

    def _life(self) -> Life:
        """What the history tells of this planner: its settings, with the sizes of engines that it reckons with."""
        gpus = dict(zip(("prefill_engine_num_gpu", "decode_engine_num_gpu"), self.planner.engine_gpus, strict=True))
        settings = self.settings.model_dump(mode="json") | gpus
        return Life(started=self.clock.now(), version=version("sla-planner"), settings=settings)

    async def _recall(self) -> None:
        """Let the planner go on where it was before a restart; it takes a while, which a stop ends."""
        past = await self.history.read(self.settings.history_warm_start)
        if not past:
            return
        remembered = (
            Remembered(record.observation, record.decision, reaction=record.kind is Kind.REACTION)
            for record in past
            if not self._stopping.is_set()
        )
        try:
            learnt = await asyncio.to_thread(self.planner.recall, remembered, self.clock.now())
        except Exception:
            self.metrics.history_failures.inc()
            log.exception("the history cannot be learnt from; the planner begins anew")
            self.planner = Planner(self.settings, fitter=self._fitter)
            self.planner.take_deployed(*self.connector.engine_gpus)
            return
        log.info("learnt from the history", adjustments=learnt)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of everything."""
        await self.close()

    async def close(self) -> None:
        """Let go of everything; may be called more than once."""
        await self.connector.close()
        await self.source.close()
        await self.history.close()
        if self._server is not None:
            await self._server.close()
        if self.dashboard is not None:
            await self.dashboard.close()
        self._fitter.close()

    def stop(self) -> None:
        """End ``run``: at once while it waits, otherwise within a second."""
        self._stopping.set()

    def request_reload(self) -> None:
        """Read the settings anew at the next adjustment."""
        self._reload_requested = True

    async def run(self) -> None:
        """Adjust at once and then once an interval, on a fixed cadence, until ``stop``."""
        self._due = due = self.clock.now()
        while await self._sleep_until(due):
            if self._reload_requested:
                await self._take_new_settings()
            if not await self._finish_or_stop(asyncio.create_task(self._guarded_tick(due))):
                break
            last, due = due, self._next_due(due)
            self._due = due
            if not await self._react_between(last, due):
                break

    async def _sleep_until(self, due: float) -> bool:
        """Wait for an adjustment to be due; False if the daemon stops instead."""
        sleeping = asyncio.create_task(self.clock.sleep_until(due))
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sleeping, stopping):
            task.cancel()
        return not self._stopping.is_set()

    async def _finish_or_stop(self, tick: asyncio.Task[None]) -> bool:
        """Wait for an adjustment to end; when the daemon stops it has a moment left. False if it stops."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({tick, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._stopping.is_set() and not tick.done():
            await asyncio.wait({tick}, timeout=_STOP_GRACE_S)
            tick.cancel()
        await asyncio.gather(tick, return_exceptions=True)
        return not self._stopping.is_set()

    def _next_due(self, due: float) -> float:
        """The next instant of the cadence that is still to come; instants that passed are left out and counted."""
        interval = self.settings.adjustment_interval
        missed = max(0, int((self.clock.now() - due) // interval))
        if missed:
            self.metrics.missed_ticks.inc(missed)
            log.warning("adjustments left out: the last one took too long", missed=missed)
        return due + (missed + 1) * interval

    async def _react_between(self, last: float, due: float) -> bool:
        """Look now and then whether more is needed at once, until shortly before an adjustment; False if it stops."""
        every = self.settings.reaction_interval_s
        moment = last
        while every:
            moment += every * max(1, math.ceil((self.clock.now() - moment) / every))
            if moment > due - every / 2:
                break
            if not await self._sleep_until(moment):
                return False
            if not await self._finish_or_stop(asyncio.create_task(self._guarded_reaction(every))):
                return False
        return True

    async def _guarded_reaction(self, span_s: float) -> None:
        try:
            await self.react(span_s)
        except Exception:
            self.metrics.tick_failures.inc()
            log.exception("reaction failed; the last decision stands")

    async def react(self, span_s: float) -> Decision:
        """Look at the last ``span_s`` seconds, and raise the targets if they are too low for what comes in."""
        with self.tracing.span("reaction") as span:
            decision = await self._react(span_s)
            span.note(**decided_attributes(decision))
            return decision

    async def _react(self, span_s: float) -> Decision:
        started = self.clock.now()
        seen, counts = await asyncio.gather(self.source.observe(span_s), self._count_workers())
        self._meter.read(seen.time, counts)
        self.metrics.counted(counts)
        observation = replace(seen, prefill=counts.prefill, decode=counts.decode)
        decision = self.planner.react(observation)
        if decision.action is Action.SCALE:
            self.metrics.reacted(decision)
            applied = (await self._carry_out(observation, decision, started, Kind.REACTION)).applied
            log.info(
                f"Reacting (prefill={decision.prefill}, decode={decision.decode})",
                reason=decision.explanation.reason,
                outcome=applied.outcome.value if applied else "failed",
            )
        elif counts != self._last_counts:
            # When workers came and went tells how long they take to start.
            await self.history.add(self._record(observation, decision, started, Kind.REACTION))
        self._last_counts = counts
        return decision

    async def _guarded_tick(self, due: float) -> None:
        self._in_tick = True
        try:
            await self.tick()
        except Exception:
            self.metrics.tick_failures.inc()
            log.exception("adjustment failed; the last decision stands", due=due)
        finally:
            self._in_tick = False
            self._last_round = self.clock.now()

    async def tick(self) -> Record:
        """One adjustment: observe, learn, decide, hand over."""
        started = self.clock.now()
        with self.tracing.span("adjustment") as whole:
            with self.tracing.span("observe") as span:
                observation = await self._observe()
                span.note(**seen_attributes(observation), errors=len(self.source.status.errors))
            with self.tracing.span("learn"):
                self.planner.learn(observation)
                await self._await_fits()
            with self.tracing.span("decide") as span:
                decision = self.planner.decide(observation)
                span.note(**decided_attributes(decision))
            self.metrics.decided(decision)
            record = await self._carry_out(observation, decision, started, Kind.ADJUSTMENT)
            whole.note(action=decision.action.value, reason=decision.explanation.reason, record=record.id)
        self._adjusted = True
        self._report(record)
        return record

    async def _carry_out(self, observation: Observation, decision: Decision, started: float, kind: Kind) -> Record:
        """Hand a decision over, once it is on the disk, and remember what became of it."""
        record = self._record(observation, decision, started, kind)
        with self.tracing.span("apply") as span:
            handing_over = self._to_hand_over(decision)
            announced = await self.history.announce(record) if handing_over else None
            applied = await self._hand_over(decision)
            outcome = "unreachable" if handing_over else "nothing to do"
            span.note(outcome=applied.outcome.value if applied else outcome)
        return await self.history.add(
            replace(record, applied=applied, duration_s=self.clock.now() - started), announced
        )

    def _record(self, observation: Observation, decision: Decision, started: float, kind: Kind) -> Record:
        return Record(
            observation=observation,
            decision=decision,
            applied=None,
            duration_s=self.clock.now() - started,
            kind=kind,
            source=self.source.status,
            gpu_hours=self._meter.gpu_hours,
        )

    def _to_hand_over(self, decision: Decision) -> bool:
        return decision.action is Action.SCALE or self._unsettled

    async def _observe(self) -> Observation:
        seen, counts = await asyncio.gather(
            self.source.observe(self.settings.adjustment_interval), self._count_workers()
        )
        self._meter.read(seen.time, counts)
        self._last_counts = counts
        observation = replace(seen, prefill=counts.prefill, decode=counts.decode)
        self.metrics.observed(observation, self.source.status, self._meter)
        self.metrics.counted(counts)
        for field, error in self.source.status.errors.items():
            log.warning("not observed", field=field, detail=error)
        return observation

    async def _count_workers(self) -> WorkerCounts:
        try:
            counts = await self.connector.workers()
        except ConnectorError as error:
            self.metrics.connector_failures.inc()
            log.warning("workers unknown", detail=str(error))
            return WorkerCounts()
        if self.settings.aggregated and counts.prefill is None:
            return replace(counts, prefill=Workers(0))
        return counts

    async def _await_fits(self) -> None:
        fits = [asyncio.wrap_future(fit) for fit in self.planner.pending_fits()]
        if not fits:
            return
        _, unfinished = await asyncio.wait(fits, timeout=self.settings.predictor_time_limit)
        if unfinished:
            self.metrics.unfinished_fits.inc(len(unfinished))
            log.warning("model fits not done in time; the last models answer", unfinished=len(unfinished))
        for error in self.planner.fit_errors():
            log.warning("a model could not be fitted", detail=error)

    async def _hand_over(self, decision: Decision) -> Applied | None:
        """Give the connector what changed, or what it could not take before; None if it cannot be reached."""
        if not self._to_hand_over(decision):
            return None
        try:
            applied = await self.connector.apply(decision)
        except ConnectorError as error:
            self._unsettled = True
            self.metrics.connector_failures.inc()
            log.error("decision not handed over; it is tried again at the next adjustment", detail=str(error))  # noqa: TRY400
            return None
        self._unsettled = applied.outcome in (Outcome.WAITING, Outcome.STANDBY)
        return applied

    def _history_failed(self, problem: str) -> None:
        self.metrics.history_failures.inc()
        log.warning("history", detail=problem)

    def _report(self, record: Record) -> None:
        self.metrics.ended(record)
        decision, why = record.decision, record.decision.explanation
        for warning in why.warnings:
            log.warning(warning)
        if record.applied is not None and record.applied.overdue:
            log.warning("an earlier decision was never acknowledged", detail=record.applied.detail)
        if decision.action is Action.HOLD:
            log.info(f"No scaling needed (prefill={decision.prefill}, decode={decision.decode})", reason=why.reason)
        else:
            log.info(
                f"Scaling (prefill={decision.prefill}, decode={decision.decode})",
                reason=why.reason,
                outcome=record.applied.outcome.value if record.applied else "failed",
                detail=record.applied.detail if record.applied else "",
            )
        if self._on_record is not None:
            self._on_record(record)

    async def _take_new_settings(self) -> None:
        self._reload_requested = False
        if self._reload is None:
            return
        try:
            wanted = self._reload()
            changed = {name for name in Settings.model_fields if getattr(wanted, name) != getattr(self.settings, name)}
            taken = changed & set(reloadable_names())
            values = self.settings.model_dump() | {name: getattr(wanted, name) for name in taken}
            settings = Settings(**values)
            self.planner.reconfigure(settings)
            self.settings = settings
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, the loop goes on
            log.error("settings not reloaded; the old ones stand", detail=str(error))  # noqa: TRY400
            return
        self._export_settings()
        await self.history.begin(self._life())
        log.info("settings reloaded", taken=sorted(map(flag, taken)))
        if changed - taken:
            log.warning("these need a restart to change", options=sorted(map(flag, changed - taken)))

    def _trouble(self) -> str | None:
        """Why the process should be restarted: its loop no longer comes round."""
        if self._last_round is None or self._in_tick:
            return None
        late = self.clock.now() - self._last_round
        limit = _STUCK_INTERVALS * self.settings.adjustment_interval
        return f"no adjustment for {late:.0f} s" if late > limit else None

    def _state(self) -> dict[str, Any]:
        """The moment, for the dashboard."""
        newest = self.history.latest(1)
        return {
            "now": self.clock.now(),
            "due": self._due,
            "newest": newest[0].decision.time if newest else None,
            "planner": planner_facts(self.settings, self.planner.engine_gpus),
            "source": asdict(self.source.status),
            "leading": self.connector.leading,
            "trouble": self._trouble(),
            "failures": self.metrics.failures,
            "gpus": self._meter.gpus,
            "gpu_hours": self._meter.gpu_hours,
        }

    def _not_ready(self) -> str | None:
        """Why nobody should rely on the planner yet."""
        return None if self._adjusted else "no adjustment made yet"
