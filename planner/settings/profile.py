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
