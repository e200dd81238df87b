"""What happened at one adjustment, and the last few of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from connectors.base import Applied
from planner.core.decision import Decision
from planner.core.observation import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One adjustment: what was seen, what was decided, what became of it.

    Attributes:
        observation: What was seen.
        decision: What was decided.
        applied: What the connector did with it; None if it was not handed over.
        duration_s: Time the adjustment took, seconds.
    """

    observation: Observation
    decision: Decision
    applied: Applied | None
    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        """The record as plain dictionaries, lists, strings and numbers."""
        return {
            "observation": asdict(self.observation),
            "decision": self.decision.to_dict(),
            "applied": asdict(self.applied) if self.applied else None,
            "duration_s": self.duration_s,
        }


class History:
    """The most recent records, newest last."""

    def __init__(self, size: int) -> None:
        self._records: deque[Record] = deque(maxlen=size)

    def add(self, record: Record) -> None:
        """Remember a record; the oldest goes when there is no room."""
        self._records.append(record)

    def latest(self, limit: int | None = None) -> Sequence[Record]:
        """The newest records, oldest of them first; all that are remembered if ``limit`` is None."""
        records = list(self._records)
        return records if limit is None else records[-limit:] if limit else []

    def __len__(self) -> int:
        """How many records are remembered."""
        return len(self._records)
