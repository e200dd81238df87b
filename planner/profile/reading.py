"""The profile that a command line names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from planner.cli import Invocation, failed
from planner.settings import ConfigurationError, Settings
from planner.settings.options import by_key
from profiles import ProfileData, ProfileError, read_data


@dataclass(frozen=True, slots=True)
class Target:
    """What a profile is looked at for: latencies to meet (ms) at lengths (tokens)."""

    ttft_ms: float
    itl_ms: float
    isl: float
    osl: float

    @property
    def context_length(self) -> float:
        """Mean context length while decoding, tokens."""
        return self.isl + self.osl / 2


def target(settings: Settings) -> Target:
    """The targets and lengths of the settings."""
    return Target(ttft_ms=settings.ttft, itl_ms=settings.itl, isl=settings.isl, osl=settings.osl)


def named_settings(invocation: Invocation) -> Settings:
    """The settings, with the folder that the command line names for the profile."""
    folder = invocation.extras.folder
    return invocation.settings.model_copy(update={"profile_results_dir": folder}) if folder else invocation.settings


def named_data(invocation: Invocation) -> ProfileData:
    """The points of the profile.

    Raises:
        ProfileError: There is none, or it cannot be used.
    """
    settings = named_settings(invocation)
    return read_data(
        settings.profile_results_dir,
        prefill_select=by_key(settings.prefill_profile_select),
        decode_select=by_key(settings.decode_profile_select),
    )


def explaining(command: Callable[[Invocation], int]) -> Callable[[Invocation], int]:
    """Let a command end with a message where a profile cannot be used or written."""

    @wraps(command)
    def carry_out(invocation: Invocation) -> int:
        try:
            return command(invocation)
        except (ProfileError, ConfigurationError) as error:
            return failed(invocation, error)

    return carry_out
