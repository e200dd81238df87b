"""What came of a measurement: the profile, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from profiles.data import ProfileData, data_of_points
from profiles.itl_fit import ItlFit
from profiles.making.journal import Entry
from profiles.making.limits import EngineLimits
from profiles.making.request import MeasureRequest
from profiles.making.sweep import Precision
from profiles.provenance import Provenance, now, tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A point that could not be measured, and why."""

    point: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured.

    Attributes:
        data: The profile; None if there are too few points for one.
        entries: The points with their confidence, as in the journal.
        failures: Points that could not be measured.
        missing: Points that are still to be measured.
        notes: What is worth knowing about the measurement.
    """

    data: ProfileData | None
    entries: Sequence[Entry]
    failures: Sequence[Failure]
    missing: int
    notes: Sequence[str]


def data_of(entries: Sequence[Entry], request: MeasureRequest, limits: EngineLimits, model: str) -> ProfileData | None:
    """The profile of the points that were measured; None if they are too few for one.

    Args:
        entries: The points, as in the journal.
        request: What was asked for.
        limits: Limits of the decode engine, told or found out.
        model: What the decode engine calls its model.
    """
    prefill = [entry for entry in entries if entry["kind"] == "prefill"]
    decode = [entry for entry in entries if entry["kind"] == "decode"]
    if len({entry["isl"] for entry in prefill}) < 2 or len(decode) < 2:
        return None
    details = dict(request.decode_engine.details) | ({"block_size": limits.block_size} if limits.block_size else {})
    decode_engine = replace(request.decode_engine, max_num_seqs=limits.max_num_seqs, details=details)
    provenance = Provenance(
        how="measured",
        created=now(),
        model=model,
        system=request.system,
        backend=request.backend,
        backend_version=request.backend_version,
        prefill=request.prefill_engine,
        decode=decode_engine,
        details={
            "tool": tool(),
            "endpoints": {"prefill": request.prefill.shown, "decode": request.decode.shown},
            "confidence": _confidence(entries),
        },
    )
    return data_of_points(
        [(entry["isl"], entry["ttft_ms"]["value"]) for entry in prefill],
        _on_rows(decode),
        max_kv_tokens=limits.max_kv_tokens,
        provenance=provenance,
    )


def _on_rows(decode: Sequence[Entry]) -> list[tuple[float, float, float]]:
    """The decode points moved from the contexts that were seen, a few tokens off, onto those that were meant.

    A row needs one context length. The ITL is moved by the ratio of the fit at both.
    """
    batch = np.array([entry["concurrency"] for entry in decode], dtype=np.float64)
    seen = np.array([entry["context_length"] for entry in decode], dtype=np.float64)
    itl = np.array([entry["itl_ms"]["value"] for entry in decode], dtype=np.float64)
    fit = ItlFit(batch, seen, itl)
    return [
        (n, float(entry["at"][0]), float(latency * fit(n, entry["at"][0]) / fit(n, y)))
        for entry, n, y, latency in zip(decode, batch.tolist(), seen.tolist(), itl.tolist(), strict=True)
    ]


def unsure(entries: Sequence[Entry], precision: Precision) -> Iterator[str]:
    """That points did not become as sure as wanted."""
    widths = _widths(entries, "prefill") + _widths(entries, "decode")
    wide = [width for width in widths if width > precision.wanted]
    if wide:
        yield (
            f"{len(wide)} of {len(widths)} points are not as sure as {precision.wanted:.1%}, the least sure one is off "
            f"by up to {max(wide):.0%}: let nobody else use the engine, or allow more --repeats and --steps"
        )


def _widths(entries: Sequence[Entry], kind: str) -> list[float]:
    """Half the widths of the confidence intervals over their means."""
    name = "ttft_ms" if kind == "prefill" else "itl_ms"
    return [entry[name]["half_width"] / entry[name]["value"] for entry in entries if entry["kind"] == kind]


def _confidence(entries: Sequence[Entry]) -> Mapping[str, float]:
    """Half the width of the confidence intervals over their means: median and largest of both kinds."""
    found: dict[str, float] = {}
    for kind in ("prefill", "decode"):
        widths = _widths(entries, kind)
        found |= {f"{kind}_median": round(float(np.median(widths)), 4), f"{kind}_largest": round(max(widths), 4)}
    return found
