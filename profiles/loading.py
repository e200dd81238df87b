"""From a folder of profiling data to an engine profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

from profiles.decode import DecodeProfile
from profiles.engine import EngineProfile, ProfileError
from profiles.files import locate, read_meta, read_role
from profiles.pchip import averaged
from profiles.prefill import PrefillProfile
from profiles.provenance import Engine, Provenance
from profiles.sanity import check_decode, check_prefill


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
            role; or the ``use-pre-swept-results:`` form of Dynamo 0.9.
        prefill_gpus: GPUs of one prefill engine; left out, what ``meta.json`` says, or else 1.
        decode_gpus: GPUs of one decode engine, likewise.
        prefill_select: Columns that a row of pre-swept prefill data must match.
        decode_select: Columns that a row of pre-swept decode data must match.

    Raises:
        ProfileError: Data is missing or unusable.
    """
    location = locate(str(directory), {"prefill": prefill_select or {}, "decode": decode_select or {}})
    prefill, decode = read_role(location, "prefill"), read_role(location, "decode")
    provenance = Provenance.read(read_meta(location.directory))
    gpus = {
        "prefill": prefill_gpus or provenance.prefill.gpus or 1,
        "decode": decode_gpus or provenance.decode.gpus or 1,
    }
    max_num_seqs = provenance.decode.max_num_seqs
    isl, ttft = averaged(prefill.columns["prefill_isl"], prefill.columns["prefill_ttft"])
    if len(isl) < 2:
        raise ProfileError(f"{prefill.file} has a single ISL, {isl[0]:g}; expected two or more to interpolate between")
    assert decode.max_kv_tokens is not None  # noqa: S101 - read_role makes sure of it for decode
    return EngineProfile(
        prefill=PrefillProfile(isl, ttft, gpus=gpus["prefill"]),
        decode=DecodeProfile(
            decode.columns["x_kv_usage"],
            decode.columns["y_context_length"],
            decode.columns["z_itl"],
            max_kv_tokens=decode.max_kv_tokens,
            gpus=gpus["decode"],
            max_num_seqs=max_num_seqs,
        ),
        warnings=(
            *check_prefill(prefill, gpus["prefill"]),
            *check_decode(decode, gpus["decode"], max_num_seqs),
            *_check_gpus("prefill", provenance.prefill, gpus["prefill"]),
            *_check_gpus("decode", provenance.decode, gpus["decode"]),
        ),
        files=(prefill.file, decode.file),
        provenance=provenance,
    )


def _check_gpus(role: str, engine: Engine, configured: int) -> Iterator[str]:
    if engine.gpus is not None and engine.gpus != configured:
        yield (
            f"the {role} profile was made with {engine.gpus} GPUs an engine, {configured} are configured: leave "
            f"--{role}-engine-num-gpu out, set it to {engine.gpus}, or profile the deployed engine"
        )


def sample_profile_dir() -> Path:
    """The folder with the synthetic sample profile that comes with the package."""
    return Path(str(files("profiles"))) / "sample"
