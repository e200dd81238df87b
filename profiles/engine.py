"""A whole engine profile: both roles, and what looked wrong when it was loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from profiles.decode import DecodeProfile
from profiles.prefill import PrefillProfile


class ProfileError(Exception):
    """A profile is missing or cannot be used; the message names the file, what is wrong, and how to get data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """What the prefill and decode engines of a deployment can do.

    Attributes:
        prefill: The prefill engine.
        decode: The decode engine.
        warnings: What looked wrong in the data but can be used, a sentence with figures each.
        files: The files it was read from.
    """

    prefill: PrefillProfile
    decode: DecodeProfile
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
