"""The seam between the planner and whatever measures the load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.core.observation import Observation
    from planner.finding import Finding


def without_password(url: str) -> str:
    """A URL as it may be shown: without the user and password it may hold."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


class SourceError(Exception):
    """The source can never work as configured; the message names what was found and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """How the last read went.

    Attributes:
        series_matched: Series found, by field of the observation.
        errors: What failed, by field of the observation, a sentence each.
        newest_data: Time of the newest sample read so far, seconds since the epoch; None before the first.
    """

    series_matched: Mapping[str, int]
    errors: Mapping[str, str]
    newest_data: float | None


class Source(ABC):
    """Something that knows what a frontend served.

    Life: ``start`` once, ``observe`` once an interval, ``close`` once.
    """

    def prefer_model(self, name: str | None) -> None:  # noqa: B027 - a source need not tell models apart
        """Observe the model of this name, unless one was chosen already; before ``start``.

        Args:
            name: The model that the workers serve; None if that is not known.
        """

    @abstractmethod
    async def start(self) -> None:
        """Make ready.

        Raises:
            SourceError: Configuration that no retry can mend.
        """

    @abstractmethod
    async def observe(self, interval: float) -> Observation:
        """What happened in the ``interval`` seconds that end now.

        A failed read makes fields unknown (None), never zero, and raises nothing: blindness is an observation too.
        The fields ``prefill`` and ``decode`` are left unknown; the connector knows the workers.
        """

    @abstractmethod
    async def check(self) -> list[Finding]:
        """Look whether every query finds what it needs."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything that ``start`` took; may be called without ``start``."""

    @property
    @abstractmethod
    def status(self) -> SourceStatus:
        """How the last ``observe`` went."""
