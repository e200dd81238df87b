"""What an engine can do: the performance model of prefill and decode."""

from profiles.data import ProfileData, data_of_points, read_data
from profiles.decode import DecodeProfile, OperatingPoint
from profiles.engine import EngineProfile, ProfileError
from profiles.loading import load_profiles, sample_profile_dir
from profiles.prefill import PrefillProfile
from profiles.provenance import Provenance
from profiles.writing import LAYOUTS, write_data

__all__ = [
    "LAYOUTS",
    "DecodeProfile",
    "EngineProfile",
    "OperatingPoint",
    "PrefillProfile",
    "ProfileData",
    "ProfileError",
    "Provenance",
    "data_of_points",
    "load_profiles",
    "read_data",
    "sample_profile_dir",
    "write_data",
]
