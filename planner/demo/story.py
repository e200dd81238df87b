"""What happened during a demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from planner.core.observation import Workers
from planner.report.record import Record
from planner.settings import Settings
from planner.simulation.request import Request
from profiles import EngineProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The stand-in at one instant.

    Attributes:
        time: When, seconds.
        arrived: Requests that had arrived.
        prefill: Its prefill workers.
        decode: Its decode workers.
        queued: Requests that waited for a worker.
    """

    time: float
    arrived: int
    prefill: Workers
    decode: Workers
    queued: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it went, in figures.

    Attributes:
        requests: Requests completed.
        within_both: Share of them within both targets.
        within_ttft: Share of them within the TTFT target.
        within_itl: Share of them within the ITL target.
        gpu_hours: GPU-hours that the workers used.
        peak_gpu_hours: What the most workers would have used all the time.
        scalings: Decisions that changed something.
    """

    requests: int
    within_both: float
    within_ttft: float
    within_itl: float
    gpu_hours: float
    peak_gpu_hours: float
    scalings: int


@dataclass(slots=True)
class Story:
    """Everything that is shown of a demo.

    Attributes:
        settings: What the planner ran with.
        begin: When it began, seconds.
        records: Its adjustments.
        moments: The stand-in, sampled.
        outcome: How it went; None before the end.
    """

    settings: Settings
    begin: float
    records: list[Record] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    outcome: Outcome | None = None

    def add(self, record: Record) -> Record:
        """Remember an adjustment."""
        self.records.append(record)
        return record

    def finish(self, completed: Sequence[Request], profile: EngineProfile) -> None:
        """Work out the figures."""
        ttft = [(request.ttft_ms or 0.0) <= self.settings.ttft for request in completed]
        itl = [(request.itl_ms or 0.0) <= self.settings.itl for request in completed]
        both = [one and other for one, other in zip(ttft, itl, strict=True)]
        number = max(1, len(completed))
        gpus = [
            moment.prefill.present * profile.prefill.gpus + moment.decode.present * profile.decode.gpus
            for moment in self.moments
        ]
        spans = [later.time - earlier.time for earlier, later in zip(self.moments, self.moments[1:], strict=False)]
        self.outcome = Outcome(
            requests=len(completed),
            within_both=sum(both) / number,
            within_ttft=sum(ttft) / number,
            within_itl=sum(itl) / number,
            gpu_hours=sum(gpu * span for gpu, span in zip(gpus, spans, strict=False)) / 3600,
            peak_gpu_hours=max(gpus, default=0) * sum(spans) / 3600,
            scalings=sum(record.decision.action == "scale" for record in self.records),
        )
