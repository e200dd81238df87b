"""``python -m planner profile diff``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from planner.cli import Invocation
from planner.profile.plots import draw_comparison
from planner.profile.reading import Target, explaining, target
from planner.profile.tables import Sheet, facts, print_sheets
from profiles import EngineProfile, ProfileData, read_data

_MS_PER_S = 1000.0


@explaining
def diff(invocation: Invocation) -> int:
    """Print two profiles side by side, at what both were profiled for."""
    extras, aim = invocation.extras, target(invocation.settings)
    pair = [(data := read_data(folder), data.engines()) for folder in (extras.first, extras.second)]
    (one, first), (other, second) = pair
    print_sheets(
        [
            _facts([facts(data, engines, aim) for data, engines in pair]),
            _prefill(first, second),
            _decode(one, other, first, second),
            _at_targets(first, second, aim),
        ]
    )
    if extras.output is not None:
        picture = extras.output / "comparison.png"
        draw_comparison(dict(zip(_names(extras.first, extras.second), (first, second), strict=True)), aim, picture)
        print(f"wrote {picture}")  # noqa: T201
    return 0


def _names(first: str, second: str) -> tuple[str, str]:
    """What to call two folders: the last part of their paths if that tells them apart."""
    short = Path(first).resolve().name, Path(second).resolve().name
    return short if short[0] != short[1] else (first, second)


def _facts(sheets: Sequence[Sheet]) -> Sheet:
    one, other = sheets
    rows = [(first[0], first[1], second[1]) for first, second in zip(one.rows, other.rows, strict=True)]
    return Sheet("Profiles", ("", "", ""), rows)


def _prefill(first: EngineProfile, second: EngineProfile) -> Sheet:
    least = max(first.prefill.isl_range[0], second.prefill.isl_range[0])
    most = min(first.prefill.isl_range[1], second.prefill.isl_range[1])
    if least > most:
        least, most = sorted((least, most))
    rows = [
        _row(f"{isl:.0f}", first.prefill.ttft_ms(isl), second.prefill.ttft_ms(isl))
        for isl in np.unique(np.geomspace(least, most, 8).round()).tolist()
    ]
    return Sheet("TTFT, ms", ("ISL", "first", "second", "second over first"), rows)


def _decode(one: ProfileData, other: ProfileData, first: EngineProfile, second: EngineProfile) -> Sheet:
    rows_of = [data.decode.columns["y_context_length"] for data in (one, other)]
    least, most = sorted((max(map(np.min, rows_of)), min(map(np.max, rows_of))))
    rows = []
    for context in np.unique(np.geomspace(least, most, 4).round()).tolist():
        capacity = min(first.decode.kv_capacity(context), second.decode.kv_capacity(context))
        for batch in np.unique(np.geomspace(1, capacity, 4).round()).tolist():
            latencies = first.decode.itl_ms(batch, context), second.decode.itl_ms(batch, context)
            rows.append(_row(f"{context:.0f} with {batch:.0f} sequences", *latencies))
    return Sheet("ITL, ms", ("context", "first", "second", "second over first"), rows)


def _at_targets(first: EngineProfile, second: EngineProfile, aim: Target) -> Sheet:
    points = [engines.decode.operating_point(aim.itl_ms, aim.context_length) for engines in (first, second)]
    rows = [
        _row(
            "prefill, requests/s of an engine", *(_MS_PER_S / one.prefill.ttft_ms(aim.isl) for one in (first, second))
        ),
        _row("decode, sequences of an engine", *(float(point.concurrency) for point in points)),
        _row(
            "decode, requests/s of an engine",
            *(point.concurrency / point.itl_ms * _MS_PER_S / aim.osl for point in points),
        ),
    ]
    title = f"At ISL {aim.isl:g}, OSL {aim.osl:g}, TTFT {aim.ttft_ms:g} ms, ITL {aim.itl_ms:g} ms"
    return Sheet(title, ("", "first", "second", "second over first"), rows)


def _row(name: str, first: float, second: float) -> tuple[str, str, str, str]:
    return name, f"{first:.4g}", f"{second:.4g}", f"{second / first:.3f}"
