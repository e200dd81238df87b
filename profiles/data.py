"""The points of a profile with their provenance: what is made, read, compared and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from profiles.decode import DecodeProfile
from profiles.engine import EngineProfile, ProfileError
from profiles.files import DecodeData, RawData, locate, read_decode, read_meta, read_prefill
from profiles.pchip import averaged
from profiles.prefill import PrefillProfile
from profiles.provenance import Provenance
from profiles.sanity import check_decode, check_gpus, check_prefill


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileData:
    """The points of both roles.

    Attributes:
        prefill: Points of the prefill engine.
        decode: Points of the decode engine.
        provenance: What they are of, and how they were made.
    """

    prefill: RawData
    decode: DecodeData
    provenance: Provenance = field(default_factory=Provenance)

    def gpus(self, prefill: int | None = None, decode: int | None = None) -> tuple[int, int]:
        """GPUs of one prefill and of one decode engine: as given, else as profiled, else 1."""
        return prefill or self.provenance.prefill.gpus or 1, decode or self.provenance.decode.gpus or 1

    def engines(self, *, prefill_gpus: int | None = None, decode_gpus: int | None = None) -> EngineProfile:
        """The performance model of the points.

        Args:
            prefill_gpus: GPUs of one prefill engine; left out, as profiled, or else 1.
            decode_gpus: GPUs of one decode engine, likewise.

        Raises:
            ProfileError: There are too few points.
        """
        gpus = self.gpus(prefill_gpus, decode_gpus)
        isl, ttft = averaged(self.prefill.columns["prefill_isl"], self.prefill.columns["prefill_ttft"])
        if len(isl) < 2:
            raise ProfileError(
                f"{self.prefill.file} has a single ISL, {isl[0]:g}; expected two or more to interpolate between"
            )
        max_num_seqs = self.provenance.decode.max_num_seqs
        return EngineProfile(
            prefill=PrefillProfile(isl, ttft, gpus=gpus[0]),
            decode=DecodeProfile(
                self.decode.columns["x_kv_usage"],
                self.decode.columns["y_context_length"],
                self.decode.columns["z_itl"],
                max_kv_tokens=self.decode.max_kv_tokens,
                gpus=gpus[1],
                max_num_seqs=max_num_seqs,
            ),
            warnings=(
                *check_prefill(self.prefill, gpus[0]),
                *check_decode(self.decode, gpus[1], max_num_seqs),
                *check_gpus("prefill", self.provenance.prefill, gpus[0]),
                *check_gpus("decode", self.provenance.decode, gpus[1]),
            ),
            files=(self.prefill.file, self.decode.file),
            provenance=self.provenance,
        )


def read_data(
    directory: str | Path,
    *,
    prefill_select: Mapping[str, str] | None = None,
    decode_select: Mapping[str, str] | None = None,
) -> ProfileData:
    """Read the points of both roles; see ``load_profiles`` for where they are looked for.

    Raises:
        ProfileError: Data is missing or unusable.
    """
    location = locate(str(directory), {"prefill": prefill_select or {}, "decode": decode_select or {}})
    return ProfileData(
        prefill=read_prefill(location),
        decode=read_decode(location),
        provenance=Provenance.read(read_meta(location.directory)),
    )


def data_of_points(
    prefill: Iterable[tuple[float, float]],
    decode: Iterable[tuple[float, float, float]],
    *,
    max_kv_tokens: int,
    provenance: Provenance,
) -> ProfileData:
    """A profile of points that were made.

    Args:
        prefill: ISL (tokens) with TTFT (ms), two lengths or more.
        decode: Concurrency and context length (tokens) with ITL (ms), one point or more.
        max_kv_tokens: Tokens that the KV cache of one decode engine holds.
        provenance: What the points are of, with the GPUs of both engines.
    """
    made = Path(provenance.how or "made")
    isl, ttft = np.array(sorted(prefill), dtype=np.float64).T
    points = np.array(sorted(decode, key=lambda point: (point[1], point[0])), dtype=np.float64)
    concurrency, context, itl = points.T
    return ProfileData(
        prefill=RawData(
            file=made,
            columns={
                "prefill_isl": isl,
                "prefill_ttft": ttft,
                "prefill_thpt_per_gpu": isl / ttft * 1000 / (provenance.prefill.gpus or 1),
            },
        ),
        decode=DecodeData(
            file=made,
            columns={
                "x_kv_usage": concurrency * context / max_kv_tokens,
                "y_context_length": context,
                "z_itl": itl,
                "z_thpt_per_gpu": concurrency / itl * 1000 / (provenance.decode.gpus or 1),
            },
            max_kv_tokens=max_kv_tokens,
        ),
        provenance=provenance,
    )
