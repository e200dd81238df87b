"""One adjustment, or one reaction between two of them: look, learn, decide, hand over, remember."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace

from connectors.base import Connector, Outcome, WorkerCounts
from planner.clock import Clock
from planner.core.decision import Action, Decision, Explanation
from planner.core.observation import Observation
from planner.daemon.handover import Handover
from planner.daemon.lookout import Lookout
from planner.log import get_logger
from planner.planner import Planner
from planner.report.gpu_hours import GpuMeter
from planner.report.history import History
from planner.report.metrics import PlannerMetrics
from planner.report.record import Kind, Record
from planner.sources.base import Source
from planner.tracing import Tracing, decided_attributes, seen_attributes

log = get_logger("planner.daemon")

# How the log tells of a change, by what became of it; None where the connector could not be reached.
_BEGINNINGS: Mapping[Outcome | None, str] = {
    Outcome.APPLIED: "Scaling",
    Outcome.UNCHANGED: "Scaling",
    Outcome.WAITING: "Waiting to scale",
    Outcome.SKIPPED: "Would scale",
    Outcome.STANDBY: "Would scale",
    None: "Could not scale",
}
_NUMBER = re.compile(r"\d+(\.\d+)?")


class Adjuster:
    """Takes what a source and a connector see through a planner, and back to the connector.

    Attributes:
        planner: What decides.
        meter: The account of the GPUs in use.
        adjusted: Whether an adjustment has been made.
    """

    def __init__(
        self,
        planner: Planner,
        source: Source,
        connector: Connector,
        *,
        clock: Clock,
        metrics: PlannerMetrics,
        history: History,
        tracing: Tracing,
    ) -> None:
        self.planner = planner
        self.meter = GpuMeter(planner.engine_gpus)
        self.adjusted = False
        self._source = source
        self._lookout = Lookout(source, connector, metrics, meter=self.meter, aggregated=planner.settings.aggregated)
        self._handover = Handover(connector, metrics)
        self._clock = clock
        self._metrics = metrics
        self._history = history
        self._tracing = tracing
        self._last_counts = WorkerCounts()
        self._warned: frozenset[str] = frozenset()

    async def adjust(self) -> Record:
        """Look at the last interval, learn from it, decide, and hand the decision over."""
        started = self._clock.now()
        with self._tracing.span("adjustment") as whole:
            with self._tracing.span("observe") as span:
                observation = await self._observe()
                span.note(**seen_attributes(observation), errors=len(self._source.status.errors))
            with self._tracing.span("learn"):
                self.planner.learn(observation)
                await self._await_fits()
            with self._tracing.span("decide") as span:
                decision = self.planner.decide(observation)
                span.note(**decided_attributes(decision))
            self._metrics.decided(decision)
            record = await self._carry_out(observation, decision, started, Kind.ADJUSTMENT)
            whole.note(action=decision.action.value, reason=decision.explanation.reason, record=record.id)
        self.adjusted = True
        self._metrics.ended(record)
        self._warn(decision.explanation)
        _tell(record)
        return record

    def _warn(self, why: Explanation) -> None:
        """Log what has become worth a warning; it stands in every record for as long as it lasts."""
        found = {_NUMBER.sub("", warning): warning for warning in why.warnings}
        for kind, warning in found.items():
            if kind not in self._warned:
                log.warning(warning)
        # Where nothing was sized, nothing is known of targets: what was out of reach may still be.
        sized = why.decode.required is not None
        self._warned = frozenset(found) if sized else self._warned.union(found)

    async def react(self, span_s: float) -> Decision:
        """Look at the last ``span_s`` seconds, and raise the targets if they are too low for what comes in."""
        with self._tracing.span("reaction") as span:
            decision = await self._react(span_s)
            span.note(**decided_attributes(decision))
            return decision

    async def _react(self, span_s: float) -> Decision:
        started = self._clock.now()
        observation = await self._lookout.look(span_s)
        decision = self.planner.react(observation)
        counts, before = _counts(observation), self._last_counts
        if decision.action is Action.SCALE:
            self._metrics.reacted(decision)
            applied = (await self._carry_out(observation, decision, started, Kind.REACTION)).applied
            log.info(
                f"Reacting (prefill={decision.prefill}, decode={decision.decode})",
                reason=decision.explanation.reason,
                outcome=applied.outcome.value if applied else "failed",
            )
        elif counts != before:
            # When workers came and went tells how long they take to start.
            await self._history.add(self._record(observation, decision, started, Kind.REACTION))
        self._last_counts = counts
        return decision

    async def _observe(self) -> Observation:
        observation = await self._lookout.look(self.planner.settings.adjustment_interval)
        self._last_counts = _counts(observation)
        status = self._source.status
        self._metrics.observed(observation, status, self.meter)
        for field, error in status.errors.items():
            log.warning("not observed", field=field, detail=error)
        return observation

    async def _await_fits(self) -> None:
        fits = [asyncio.wrap_future(fit) for fit in self.planner.pending_fits()]
        if not fits:
            return
        _, unfinished = await asyncio.wait(fits, timeout=self.planner.settings.predictor_time_limit)
        if unfinished:
            self._metrics.unfinished_fits.inc(len(unfinished))
            log.warning("model fits not done in time; the last models answer", unfinished=len(unfinished))
        for error in self.planner.fit_errors():
            log.warning("a model could not be fitted", detail=error)

    async def _carry_out(self, observation: Observation, decision: Decision, started: float, kind: Kind) -> Record:
        """Hand a decision over, once it is on the disk, and remember what became of it."""
        record = self._record(observation, decision, started, kind)
        applied, announced = None, None
        with self._tracing.span("apply") as span:
            if self._handover.wants(decision):
                announced = await self._history.announce(record)
                applied = await self._handover.give(decision)
                span.note(outcome=applied.outcome.value if applied else "unreachable")
            else:
                span.note(outcome="nothing to do")
        return await self._history.add(
            replace(record, applied=applied, duration_s=self._clock.now() - started), announced
        )

    def _record(self, observation: Observation, decision: Decision, started: float, kind: Kind) -> Record:
        return Record(
            observation=observation,
            decision=decision,
            applied=None,
            duration_s=self._clock.now() - started,
            kind=kind,
            source=self._source.status,
            gpu_hours=self.meter.gpu_hours,
        )


def _counts(observation: Observation) -> WorkerCounts:
    return WorkerCounts(prefill=observation.prefill, decode=observation.decode)


def _tell(record: Record) -> None:
    """Log how an adjustment ended."""
    decision, why, applied = record.decision, record.decision.explanation, record.applied
    if applied is not None and applied.overdue:
        log.warning("an earlier decision was never acknowledged", detail=applied.detail)
    targets = f"(prefill={decision.prefill}, decode={decision.decode})"
    outcome = applied.outcome if applied else None
    # What is held may still have to be carried out, when an earlier decision was waited for.
    if decision.action is Action.HOLD and outcome not in (Outcome.APPLIED, Outcome.WAITING):
        log.info(f"No scaling needed {targets}", reason=why.reason)
    else:
        log.info(
            f"{_BEGINNINGS[outcome]} {targets}",
            reason=why.reason,
            outcome=outcome.value if outcome else "failed",
            detail=applied.detail if applied else "",
        )
