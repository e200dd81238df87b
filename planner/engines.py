"""The engine profile that the settings name."""

from __future__ import annotations

from dataclasses import replace

from planner.settings import Settings
from planner.settings.options import by_key
from profiles import EngineProfile, load_profiles


def load_profile(settings: Settings) -> EngineProfile:
    """The engine profile that the settings name.

    Raises:
        profiles.ProfileError: It is missing or unusable.
    """
    profile = load_profiles(
        settings.profile_results_dir,
        prefill_gpus=settings.prefill_engine_num_gpu,
        decode_gpus=settings.decode_engine_num_gpu,
        prefill_select=by_key(settings.prefill_profile_select),
        decode_select=by_key(settings.decode_profile_select),
    )
    # A backend that nobody chose says nothing of the deployment.
    backend = settings.backend if "backend" in settings.model_fields_set else None
    mismatches = tuple(profile.provenance.mismatches(model=settings.model_name, backend=backend))
    if settings.aggregated and profile.prefill.gpus != profile.decode.gpus:
        mismatches = (*mismatches, _two_engines(profile))
    return replace(profile, warnings=(*profile.warnings, *mismatches))


def _two_engines(profile: EngineProfile) -> str:
    return (
        f"With --mode agg one engine serves both phases, but the profile's prefill and decode data are of "
        f"engines that differ in GPUs, {profile.prefill.gpus} and {profile.decode.gpus}: a worker is taken to have as "
        "many as the latter and the latencies of both; profile the engine in both roles, or choose rows of the same "
        "one with --prefill-profile-select and --decode-profile-select"
    )
