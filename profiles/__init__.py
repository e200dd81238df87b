"""What an engine can do: the performance model of prefill and decode."""

from profiles.decode import DecodeProfile, OperatingPoint
from profiles.engine import EngineProfile, ProfileError
from profiles.loading import load_profiles, sample_profile_dir
from profiles.prefill import PrefillProfile

__all__ = [
    "DecodeProfile",
    "EngineProfile",
    "OperatingPoint",
    "PrefillProfile",
    "ProfileError",
    "load_profiles",
    "sample_profile_dir",
]
