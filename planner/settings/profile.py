"""Where the engine profile is."""

from __future__ import annotations

from typing import ClassVar

from planner.settings.options import KeyValues, OptionGroup, option


class ProfileOptions(OptionGroup):
    """Where the engine profile is."""

    title: ClassVar[str] = "Engine profile"

    profile_results_dir: str = option(
        "profiling_results",
        "Folder with the profile: selected_{prefill,decode}_interpolation/raw_data.npz, "
        "{prefill,decode}_raw_data.json, or pre-swept {prefill,decode}.npz.",
    )
    prefill_profile_select: KeyValues = option(
        (),
        "Row of a pre-swept prefill profile, as KEY=VALUE pairs such as tp=1; repeat or separate by commas.",
    )
    decode_profile_select: KeyValues = option(
        (), "Row of a pre-swept decode profile, as KEY=VALUE pairs; repeat or separate by commas."
    )
    prefill_engine_num_gpu: int | None = option(
        None,
        "GPUs of one prefill worker. Left out: what the profile's meta.json says, or else 1.",
        unit="GPUs",
        ge=1,
    )
    decode_engine_num_gpu: int | None = option(
        None,
        "GPUs of one decode worker. Left out: what the profile's meta.json says, or else 1.",
        unit="GPUs",
        ge=1,
    )
