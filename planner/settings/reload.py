"""What a running planner takes of settings that are read anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from planner.settings.settings import Settings, reloadable_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """The settings to go on with.

    Attributes:
        settings: Those that run, with what can be taken of the ones wanted.
        taken: Fields that change.
        refused: Fields that would change, but cannot before a restart.
    """

    settings: Settings
    taken: frozenset[str]
    refused: frozenset[str]

    @classmethod
    def of(cls, running: Settings, wanted: Settings) -> Self:
        """Take what can be taken of the settings that are wanted.

        Raises:
            ValueError: The settings that come out do not go together.
        """
        fields = Settings.model_fields
        changed = frozenset(name for name in fields if getattr(wanted, name) != getattr(running, name))
        taken = changed & frozenset(reloadable_names())
        settings = Settings(**running.model_dump() | {name: getattr(wanted, name) for name in taken})
        return cls(settings=settings, taken=taken, refused=changed - taken)
