"""What happened at one adjustment, or at a reaction between two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from connectors.base import Applied, Outcome
from planner.core.decision import Decision
from planner.core.observation import Observation
from planner.sources.base import SourceStatus


class Kind(StrEnum):
    """What gave rise to a record."""

    ADJUSTMENT = "adjustment"
    REACTION = "reaction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One adjustment: what was seen, what was decided, what became of it.

    Attributes:
        observation: What was seen.
        decision: What was decided.
        applied: What the connector did with it; None if it was not handed over.
        duration_s: Time the adjustment took, seconds.
        kind: An adjustment; or a reaction between two of them that raised the targets or saw other workers.
        source: How the source was read; None if that was not noted.
        gpu_hours: GPU-hours used since the planner started; None if that was not noted.
        id: Its number in the history, rising; None until it has one.
    """

    observation: Observation
    decision: Decision
    applied: Applied | None
    duration_s: float
    kind: Kind = Kind.ADJUSTMENT
    source: SourceStatus | None = None
    gpu_hours: float | None = None
    id: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain dictionaries, lists, strings and numbers; its shape is told in docs/history.md."""
        return {
            "id": self.id,
            "kind": self.kind.value,
            "observation": self.observation.to_dict(),
            "decision": self.decision.to_dict(),
            "applied": asdict(self.applied) if self.applied else None,
            "duration_s": self.duration_s,
            "source": asdict(self.source) if self.source else None,
            "gpu_hours": self.gpu_hours,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The record that ``to_dict`` gave ``data`` for, also after a way through JSON.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: ``data`` is not of that shape.
        """
        applied, source = data["applied"], data.get("source")
        return cls(
            id=data.get("id"),
            kind=Kind(data.get("kind", Kind.ADJUSTMENT)),
            observation=Observation.from_dict(data["observation"]),
            decision=Decision.from_dict(data["decision"]),
            applied=Applied(**{**applied, "outcome": Outcome(applied["outcome"])}) if applied else None,
            duration_s=data["duration_s"],
            source=SourceStatus(**source) if source else None,
            gpu_hours=data.get("gpu_hours"),
        )
