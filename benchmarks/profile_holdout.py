"""How well profiles are interpolated: points left out and predicted from the rest.

    python benchmarks/profile_holdout.py --profiles PROFILES

Ours against the published approach: a cubic interpolation of ITL and of throughput on a grid of 100 x 100, filled with
the nearest value where the cubic is undefined, and clamped at the border of the grid. Figures are relative errors.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.interpolate import griddata, interp1d

from profiles import DecodeProfile, PrefillProfile, sample_profile_dir
from profiles.files import locate, read_decode, read_prefill

GRID = 100


@dataclass(frozen=True)
class Points:
    """Decode points: KV usage, context length, ITL (ms), and the KV capacity (tokens)."""

    usage: np.ndarray
    context: np.ndarray
    itl: np.ndarray
    max_kv_tokens: int

    def __getitem__(self, mask):
        return Points(self.usage[mask], self.context[mask], self.itl[mask], self.max_kv_tokens)

    @property
    def batch(self):
        return self.usage * self.max_kv_tokens / self.context

    @property
    def throughput(self):
        return self.batch / self.itl


class PublishedDecode:
    """The published grid."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.x = np.linspace(0, 1, GRID)
        self.y = np.linspace(0, points.context.max(), GRID)
        self.itl, self.throughput = self._grid(points.itl), self._grid(points.throughput)

    def _grid(self, values):
        known = np.stack([self.points.usage, self.points.context], axis=1)
        xs, ys = np.meshgrid(self.x, self.y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cubic = griddata(known, values, (xs, ys), method="cubic")
        return np.where(np.isnan(cubic), griddata(known, values, (xs, ys), method="nearest"), cubic)

    def _at(self, grid, usage, context):
        column = np.clip(np.round(usage * (GRID - 1)), 0, GRID - 1).astype(int)
        row = np.clip(np.round(context / self.y[-1] * (GRID - 1)), 0, GRID - 1).astype(int)
        return grid[row, column]

    def predict(self, points: Points):
        return self._at(self.itl, points.usage, points.context), self._at(self.throughput, points.usage, points.context)


class OurDecode:
    """The profile as the planner uses it."""

    def __init__(self, points: Points) -> None:
        self.profile = DecodeProfile(
            points.usage, points.context, points.itl, max_kv_tokens=points.max_kv_tokens, gpus=1
        )

    def predict(self, points: Points):
        itl = np.array([self.profile.itl_ms(n, y) for n, y in zip(points.batch, points.context, strict=True)])
        return itl, points.batch / itl


def inner_rows(points: Points) -> Iterator[np.ndarray]:
    yield from (points.context == row for row in np.unique(points.context)[1:-1])


def inner_points(points: Points) -> Iterator[np.ndarray]:
    for row in np.unique(points.context):
        in_row = np.flatnonzero(points.context == row)
        for index in in_row[np.argsort(points.usage[in_row])][1:-1]:
            mask = np.zeros(len(points.usage), dtype=bool)
            mask[index] = True
            yield mask


def longest_contexts(points: Points) -> Iterator[np.ndarray]:
    rows = np.unique(points.context)
    for dropped in (1, 2):
        yield points.context >= rows[-dropped]


def shortest_context(points: Points) -> Iterator[np.ndarray]:
    yield points.context == points.context.min()


def highest_usage(points: Points) -> Iterator[np.ndarray]:
    for dropped in (1, 2, 3):
        mask = np.zeros(len(points.usage), dtype=bool)
        for row in np.unique(points.context):
            in_row = np.flatnonzero(points.context == row)
            mask[in_row[np.argsort(points.usage[in_row])][-dropped:]] = True
        yield mask


CASES: dict[str, tuple[str, Callable[[Points], Iterator[np.ndarray]]]] = {
    "a context row": ("inside", inner_rows),
    "a point in its row": ("inside", inner_points),
    "the longest contexts": ("outside", longest_contexts),
    "the shortest context": ("outside", shortest_context),
    "the highest KV usage": ("outside", highest_usage),
}


def all_outside(points: Points) -> Iterator[np.ndarray]:
    for where, masks in CASES.values():
        if where == "outside":
            yield from masks(points)


POOLED = {"all of these": ("outside", all_outside)}


def errors(model, points: Points, masks) -> tuple[np.ndarray, np.ndarray]:
    itl, throughput = [], []
    for mask in masks:
        guess_itl, guess_throughput = model(points[~mask]).predict(points[mask])
        itl.append(np.abs(guess_itl / points.itl[mask] - 1))
        throughput.append(np.abs(guess_throughput / points.throughput[mask] - 1))
    return np.concatenate(itl), np.concatenate(throughput)


def prefill_errors(isl, ttft, masks) -> tuple[np.ndarray, np.ndarray]:
    ours, published = [], []
    for mask in masks:
        profile = PrefillProfile(isl[~mask], ttft[~mask], gpus=1)
        cubic = interp1d(isl[~mask], ttft[~mask], kind="cubic")
        clamped = np.clip(isl[mask], isl[~mask].min(), isl[~mask].max())
        ours.append(np.abs(np.array([profile.ttft_ms(x) for x in isl[mask]]) / ttft[mask] - 1))
        published.append(np.abs(cubic(clamped) / ttft[mask] - 1))
    return np.concatenate(ours), np.concatenate(published)


def one_mask_each(indices, length) -> Iterator[np.ndarray]:
    for index in indices:
        mask = np.zeros(length, dtype=bool)
        mask[index] = True
        yield mask


def percent(values: np.ndarray) -> str:
    return f"{np.median(values):.1%} / {np.quantile(values, 0.9):.1%}"


def compare(table: Table, name: str, folder: Path) -> None:
    location = locate(str(folder), {})
    decode = read_decode(location)
    points = Points(
        decode.columns["x_kv_usage"],
        decode.columns["y_context_length"],
        decode.columns["z_itl"],
        decode.max_kv_tokens,
    )
    for case, (where, masks) in {**CASES, **POOLED}.items():
        our_itl, our_throughput = errors(OurDecode, points, masks(points))
        their_itl, their_throughput = errors(PublishedDecode, points, masks(points))
        for kind, ours, theirs in (("ITL", our_itl, their_itl), ("throughput", our_throughput, their_throughput)):
            add_row(table, name, f"{case} ({where})", kind, ours, theirs, limit=1.2 if where == "inside" else 1.0)
    prefill = read_prefill(location)
    isl, ttft = prefill.columns["prefill_isl"], prefill.columns["prefill_ttft"]
    order = np.argsort(isl)
    isl, ttft = isl[order], ttft[order]
    cases = {
        "an ISL (inside)": one_mask_each(range(1, len(isl) - 1), len(isl)),
        "the longest ISLs (outside)": (np.arange(len(isl)) >= len(isl) - dropped for dropped in (1, 3, 6)),
    }
    for case, masks in cases.items():
        add_row(table, name, case, "TTFT", *prefill_errors(isl, ttft, masks), limit=1.2 if "inside" in case else 1.0)


def add_row(table: Table, name: str, case: str, kind: str, ours, theirs, *, limit: float) -> None:
    ratio = np.median(ours) / max(np.median(theirs), 1e-12)
    colour = "green" if ratio <= limit else "red"
    table.add_row(name, case, kind, percent(ours), percent(theirs), f"[{colour}]{ratio:.2f}[/]")


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=Path, help="folder of profile folders (default: the packaged sample)")
    options = parser.parse_args()
    folders = sorted(path for path in options.profiles.iterdir() if path.is_dir()) if options.profiles else []
    table = Table("profile", "left out", "of", "ours, median / p90", "published, median / p90", "ratio of medians")
    for folder in folders or [sample_profile_dir()]:
        compare(table, folder.name, folder)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
