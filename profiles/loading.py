"""From a folder of profiling data to an engine profile."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from profiles.data import read_data
from profiles.engine import EngineProfile


def load_profiles(
    directory: str | Path,
    *,
    prefill_gpus: int | None = None,
    decode_gpus: int | None = None,
    prefill_select: Mapping[str, str] | None = None,
    decode_select: Mapping[str, str] | None = None,
) -> EngineProfile:
    """Load the profile of both roles.

    Args:
        directory: Folder with ``selected_{prefill,decode}_interpolation/raw_data.npz``,
            ``{prefill,decode}_raw_data.json`` or pre-swept ``{prefill,decode}.npz``, looked for in this order for each
            role; the manifest of a ConfigMap with the JSON files; or the ``use-pre-swept-results:`` form of Dynamo 0.9.
        prefill_gpus: GPUs of one prefill engine; left out, what ``meta.json`` says, or else 1.
        decode_gpus: GPUs of one decode engine, likewise.
        prefill_select: Columns that a row of pre-swept prefill data must match.
        decode_select: Columns that a row of pre-swept decode data must match.

    Raises:
        ProfileError: Data is missing or unusable.
    """
    data = read_data(directory, prefill_select=prefill_select, decode_select=decode_select)
    return data.engines(prefill_gpus=prefill_gpus, decode_gpus=decode_gpus)


def sample_profile_dir() -> Path:
    """The folder with the synthetic sample profile that comes with the package."""
    return Path(str(files("profiles"))) / "sample"
