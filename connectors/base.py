"""The seam between a decision and the world that carries it out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from planner.core.observation import Workers

if TYPE_CHECKING:
    from planner.core.decision import Decision
    from planner.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCounts:
    """The workers of both pools; a pool that cannot be seen is None."""

    prefill: Workers | None = None
    decode: Workers | None = None


class Outcome(StrEnum):
    """What became of a decision."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    WAITING = "waiting"
    SKIPPED = "skipped"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a connector did with a decision.

    Attributes:
        outcome: ``applied``, ``unchanged`` (it already stood), ``waiting`` (an earlier one is still being carried
            out, so this one was not handed over), ``skipped`` (the connector never acts) or ``standby`` (another
            planner leads, or may soon).
        detail: One sentence for the log.
        overdue: An earlier decision was given up on after it had not been acknowledged in time.
    """

    outcome: Outcome
    detail: str
    overdue: bool = False


class ConnectorError(Exception):
    """A target could not be reached or refused; the message says which and why."""


class Connector(ABC):
    """Where decisions go, and what is running there.

    Life: ``start`` once, then ``workers`` and ``apply`` any number of times, ``close`` once. ``workers`` and
    ``apply`` raise ConnectorError when the target cannot be reached; the planner then goes on without.
    """

    @abstractmethod
    async def start(self) -> None:
        """Make ready.

        Raises:
            ConnectorError: The target can never work as configured.
        """

    @abstractmethod
    async def workers(self) -> WorkerCounts:
        """What is running now."""

    @abstractmethod
    async def apply(self, decision: Decision) -> Applied:
        """Hand over a decision; applying the same one twice does nothing the second time."""

    @abstractmethod
    async def check(self) -> list[Finding]:
        """Look, without changing anything, whether a run would work."""

    @property
    def leading(self) -> bool:
        """Whether decisions are acted on now; false while another planner scales or nothing ever is."""
        return True

    @property
    def engine_gpus(self) -> tuple[int | None, int | None]:
        """GPUs of a prefill and of a decode worker as deployed; None where that is not known.

        After ``start`` or ``check``.
        """
        return None, None

    @property
    def model_name(self) -> str | None:
        """The model that the workers serve; None if it is not known. After ``start`` or ``check``."""
        return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What looked wrong at the start but ends nothing, a sentence each."""
        return ()

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything that ``start`` took; may be called without ``start``."""
