"""From a folder of profiling data to an engine profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from profiles.decode import DecodeProfile
from profiles.engine import EngineProfile, ProfileError
from profiles.files import locate, read_meta, read_role
from profiles.pchip import averaged
from profiles.prefill import PrefillProfile
from profiles.sanity import check_decode, check_prefill


def load_profiles(
    directory: str | Path,
    *,
    prefill_gpus: int,
    decode_gpus: int,
    prefill_select: Mapping[str, str] | None = None,
    decode_select: Mapping[str, str] | None = None,
) -> EngineProfile:
    """Load the profile of both roles.

    Args:
        directory: Folder with ``selected_{prefill,decode}_interpolation/raw_data.npz``,
            ``{prefill,decode}_raw_data.json`` or pre-swept ``{prefill,decode}.npz``, looked for in this order for each
            role; or the ``use-pre-swept-results:`` form of Dynamo 0.9.
        prefill_gpus: GPUs of one prefill engine.
        decode_gpus: GPUs of one decode engine.
        prefill_select: Columns that a row of pre-swept prefill data must match.
        decode_select: Columns that a row of pre-swept decode data must match.

    Raises:
        ProfileError: Data is missing or unusable.
    """
    location = locate(str(directory), {"prefill": prefill_select or {}, "decode": decode_select or {}})
    prefill, decode = read_role(location, "prefill"), read_role(location, "decode")
    meta = read_meta(location.directory)
    max_num_seqs = _of_role(meta, "decode", "max_num_seqs")
    isl, ttft = averaged(prefill.columns["prefill_isl"], prefill.columns["prefill_ttft"])
    if len(isl) < 2:
        raise ProfileError(f"{prefill.file} has a single ISL, {isl[0]:g}; expected two or more to interpolate between")
    assert decode.max_kv_tokens is not None  # noqa: S101 - read_role makes sure of it for decode
    return EngineProfile(
        prefill=PrefillProfile(isl, ttft, gpus=prefill_gpus),
        decode=DecodeProfile(
            decode.columns["x_kv_usage"],
            decode.columns["y_context_length"],
            decode.columns["z_itl"],
            max_kv_tokens=decode.max_kv_tokens,
            gpus=decode_gpus,
            max_num_seqs=max_num_seqs,
        ),
        warnings=(
            *check_prefill(prefill, prefill_gpus),
            *check_decode(decode, decode_gpus, max_num_seqs),
            *_check_meta(meta, prefill=prefill_gpus, decode=decode_gpus),
        ),
        files=(prefill.file, decode.file),
    )


def _of_role(meta: Mapping[str, Any], role: str, key: str) -> int | None:
    section = meta.get(role)
    value = section.get(key) if isinstance(section, dict) else None
    return value if isinstance(value, int) and value > 0 else None


def _check_meta(meta: Mapping[str, Any], **gpus: int) -> Iterator[str]:
    for role, configured in gpus.items():
        profiled = _of_role(meta, role, "gpus")
        if profiled is not None and profiled != configured:
            yield (
                f"the {role} profile was made with {profiled} GPUs an engine, {configured} are configured: "
                f"set --{role}-engine-num-gpu {profiled} or profile the deployed engine"
            )


def sample_profile_dir() -> Path:
    """The folder with the synthetic sample profile that comes with the package."""
    return Path(str(files("profiles"))) / "sample"
