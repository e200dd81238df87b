"""Recorded observations, decided anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from planner.core.decision import Bound, Decision
from planner.core.observation import Observation, Workers
from planner.planner import Planner
from planner.report.record import Kind, Record

# Targets are taken to have stood no longer than so many intervals: then the planner was away.
_LONGEST_STAND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One recorded decision, and the one that other settings give.

    Attributes:
        record: What was seen and decided then.
        decision: What is decided now.
    """

    record: Record
    decision: Decision

    @property
    def differs(self) -> bool:
        """Whether the two ask for different workers."""
        before = self.record.decision
        return (before.prefill, before.decode) != (self.decision.prefill, self.decision.decode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A row of decisions in figures.

    Attributes:
        scalings: Decisions that changed a target.
        gpu_hours: GPU-hours of the targets, each taken to stand until the next.
        most_prefill: Most prefill workers.
        most_decode: Most decode workers.
        over_budget: Decisions that the budget cut.
        infeasible: Decisions where no engine could meet a target.
    """

    scalings: int
    gpu_hours: float
    most_prefill: int
    most_decode: int
    over_budget: int
    infeasible: int


def replay(planner: Planner, records: Iterable[Record]) -> list[Replayed]:
    """Decide anew on what was recorded.

    The planner learns from the workers and latencies there were. Where the deployment had followed the recorded
    decision, it is taken to follow the new one just as far; so with the recorded settings the recorded decisions come
    out, and with others their own past is what patience looks at. Reactions are replayed where they were recorded,
    which is where they changed something; a planner that does not react leaves them out.

    Args:
        planner: The planner, which has observed nothing yet.
        records: What was recorded, oldest first.
    """
    replayed = list[Replayed]()
    for record in records:
        seen, last = record.observation, replayed[-1] if replayed else None
        deciding = _followed(seen, last) if last else seen
        if record.kind is Kind.REACTION:
            if not planner.settings.reaction_interval_s:
                continue
            planner.recall_traffic(record.decision.explanation)
            decision = planner.react(deciding)
        else:
            planner.learn(seen, record.decision.explanation)
            decision = planner.decide(deciding)
        replayed.append(Replayed(record=record, decision=decision))
    return replayed


def _followed(seen: Observation, last: Replayed) -> Observation:
    before = last.record.decision
    return replace(
        seen,
        prefill=_workers(seen.prefill, before.prefill, last.decision.prefill),
        decode=_workers(seen.decode, before.decode, last.decision.decode),
    )


def _workers(there: Workers | None, recorded: int, replayed: int) -> Workers | None:
    """The workers there would be; as there were, if nobody followed the recorded decision."""
    if there is None or there.requested != recorded or recorded == replayed:
        return there
    ready = min(there.ready, replayed)
    return Workers(ready=ready, pending=replayed - ready, draining=there.draining)


def summarise(decisions: Sequence[Decision], interval_s: float, gpus: tuple[int, int]) -> Summary:
    """A row of decisions in figures.

    Args:
        decisions: The decisions, oldest first; one at least.
        interval_s: Time between two adjustments, seconds.
        gpus: GPUs of one prefill and of one decode worker.
    """
    times = [decision.time for decision in decisions]
    spans = [later - earlier for earlier, later in pairwise(times)]
    stands = [min(max(0.0, span), _LONGEST_STAND * interval_s) for span in [*spans, interval_s]]
    used = [decision.prefill * gpus[0] + decision.decode * gpus[1] for decision in decisions]
    targets = [(decision.prefill, decision.decode) for decision in decisions]
    pools = [(decision.explanation.prefill, decision.explanation.decode) for decision in decisions]
    return Summary(
        scalings=sum(one != other for one, other in pairwise(targets)),
        gpu_hours=sum(span * number for span, number in zip(stands, used, strict=True)) / 3600,
        most_prefill=max(decision.prefill for decision in decisions),
        most_decode=max(decision.decode for decision in decisions),
        over_budget=sum(any(pool.bound_by is Bound.BUDGET for pool in pair) for pair in pools),
        infeasible=sum(not all(pool.feasible for pool in pair) for pair in pools),
    )
