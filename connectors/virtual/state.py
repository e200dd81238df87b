"""What a virtual deployment was told, and what it says of itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from planner.core.observation import Workers

UNSET = -1


@dataclass(frozen=True, slots=True)
class VirtualDecision:
    """The numbers of workers that should run.

    Attributes:
        num_prefill_workers: Prefill workers; -1 before the first decision.
        num_decode_workers: Decode workers; -1 before the first decision.
        decision_id: Grows by one with every decision, from 0; -1 before the first.
    """

    num_prefill_workers: int = UNSET
    num_decode_workers: int = UNSET
    decision_id: int = UNSET

    @property
    def targets(self) -> tuple[int, int]:
        """Prefill and decode workers."""
        return self.num_prefill_workers, self.num_decode_workers


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualState:
    """Everything that is kept of a virtual deployment; every change makes a new one.

    Attributes:
        decision: The newest decision.
        decided_at: When it was made, seconds since the epoch; None before the first.
        scaled_decision_id: The newest decision that the orchestrator has completed; -1 before the first.
        completed: The targets of the last decision that was completed while it was the newest; None before the first.
        prefill: Prefill workers as the orchestrator last reported; None if it never did.
        decode: Decode workers as the orchestrator last reported; None if it never did.
    """

    decision: VirtualDecision = VirtualDecision()
    decided_at: float | None = None
    scaled_decision_id: int = UNSET
    completed: tuple[int, int] | None = None
    prefill: Workers | None = None
    decode: Workers | None = None

    @property
    def acknowledged(self) -> bool:
        """Whether nothing is outstanding."""
        return self.scaled_decision_id >= self.decision.decision_id

    def decide(self, prefill: int, decode: int, time: float) -> VirtualState:
        """The state after a new decision, with a number that nobody has completed yet."""
        number = max(self.decision.decision_id, self.scaled_decision_id) + 1
        decision = VirtualDecision(prefill, decode, number)
        return replace(self, decision=decision, decided_at=time)

    def complete(self, decision_id: int) -> VirtualState:
        """The state after the orchestrator completed a decision; completing an older one again changes nothing.

        Raises:
            ValueError: No such decision was made.
        """
        if not 0 <= decision_id <= self.decision.decision_id:
            raise ValueError(
                f"decision {decision_id} was never made; the newest is {self.decision.decision_id}"
                if self.decision.decision_id >= 0
                else f"decision {decision_id} was never made; there is none yet"
            )
        if decision_id <= self.scaled_decision_id:
            return self
        if decision_id < self.decision.decision_id:
            return replace(self, scaled_decision_id=decision_id)
        return replace(self, scaled_decision_id=decision_id, completed=self.decision.targets)

    def report(self, prefill: Workers | None, decode: Workers | None) -> VirtualState:
        """The state after the orchestrator told what runs; a pool left out stays as it was."""
        return replace(self, prefill=prefill or self.prefill, decode=decode or self.decode)

    def to_dict(self) -> dict[str, Any]:
        """The state as plain dictionaries and numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The state that ``to_dict`` gave ``data`` for.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is not of that shape.
        """
        completed = data["completed"]
        state = cls(
            decision=VirtualDecision(**{name: int(value) for name, value in data["decision"].items()}),
            decided_at=None if data["decided_at"] is None else float(data["decided_at"]),
            scaled_decision_id=int(data["scaled_decision_id"]),
            completed=None if completed is None else (int(completed[0]), int(completed[1])),
            prefill=Workers(**data["prefill"]) if data["prefill"] else None,
            decode=Workers(**data["decode"]) if data["decode"] else None,
        )
        if not UNSET <= state.scaled_decision_id <= state.decision.decision_id:
            raise ValueError(
                f"decision {state.scaled_decision_id} is completed but {state.decision.decision_id} the newest"
            )
        made = state.decision.decision_id >= 0
        if made and (state.decided_at is None or min(*state.decision.targets, *(state.completed or ())) < 0):
            raise ValueError(f"decision {state.decision} was made, but has no time or negative workers")
        return state
