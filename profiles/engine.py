"""A whole engine profile: both roles, and what looked wrong when it was loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from profiles.decode import DecodeProfile
from profiles.prefill import PrefillProfile
from profiles.provenance import Provenance


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
        provenance: What it is of, and how it was made, as far as ``meta.json`` tells.
    """

    prefill: PrefillProfile
    decode: DecodeProfile
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
