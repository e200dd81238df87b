"""Reading profiling data: every layout and format that Dynamo's profiler writes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from profiles.engine import ProfileError

Vector = NDArray[np.float64]

COLUMNS = {
    "prefill": ("prefill_isl", "prefill_ttft", "prefill_thpt_per_gpu"),
    "decode": ("x_kv_usage", "y_context_length", "z_itl", "z_thpt_per_gpu"),
}
SELECTORS = (
    "gpu_type",
    "framework",
    "model",
    "tp",
    "dp",
    "pp",
    "block_size",
    "max_batch_size",
    "gpu_count",
    "framework_version",
)

_PRE_SWEPT_PREFIX = "use-pre-swept-results:"
_PRE_SWEPT_FOLDER = Path("pre_swept_results")
_HOW_TO_GET_DATA = (
    "run python -m planner profile estimate or measure, or mount the ConfigMap that Dynamo's profiler wrote"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawData:
    """The numbers of one role, checked for shape but not for sense.

    Attributes:
        file: Where they were read, or what made them.
        columns: Arrays of equal length by the names of COLUMNS.
    """

    file: Path
    columns: Mapping[str, Vector]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that the file of the role holds."""
        return dict(self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeData(RawData):
    """The numbers of decode.

    Attributes:
        max_kv_tokens: Tokens that the KV cache of one engine holds.
    """

    max_kv_tokens: int

    @property
    def concurrency(self) -> Vector:
        """Sequences decoded together at each point, shape (N,)."""
        return self.columns["x_kv_usage"] * self.max_kv_tokens / self.columns["y_context_length"]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that the file of the role holds."""
        return {**self.columns, "max_kv_tokens": np.array([self.max_kv_tokens], dtype=np.int64)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where to look, and which row of pre-swept data to take."""

    directory: Path
    select: Mapping[str, Mapping[str, str]]


def locate(directory: str, select: Mapping[str, Mapping[str, str]]) -> Location:
    """Understand the value of ``--profile-results-dir``.

    Args:
        directory: A folder, the manifest of a ConfigMap, or ``use-pre-swept-results:`` with gpu_type, framework, model,
            tp, dp, pp, block_size, max_batch_size and gpu_count, separated by colons, as Dynamo 0.9 takes it; the data
            is then looked up in ``pre_swept_results/<gpu_type>/<framework>/<model>``.
        select: Columns that a row must match, by role.

    Raises:
        ProfileError: The value has too few or too many parts.
    """
    if not directory.startswith(_PRE_SWEPT_PREFIX):
        return Location(directory=Path(directory), select=select)
    parts = directory.removeprefix(_PRE_SWEPT_PREFIX).split(":")
    names = SELECTORS[:9]
    if len(parts) != len(names):
        raise ProfileError(
            f"{directory!r} has {len(parts)} parts; expected {_PRE_SWEPT_PREFIX}{':'.join(f'<{n}>' for n in names)}"
        )
    chosen = dict(zip(names, parts, strict=True))
    return Location(
        directory=_PRE_SWEPT_FOLDER.joinpath(*parts[:3]),
        select={role: {**chosen, **select.get(role, {})} for role in COLUMNS},
    )


def read_prefill(location: Location) -> RawData:
    """The data of prefill; npz is tried before JSON.

    Raises:
        ProfileError: There is none, or it cannot be used.
    """
    file, arrays = _find(location, "prefill")
    return RawData(file=file, columns=_columns(file, "prefill", arrays))


def read_decode(location: Location) -> DecodeData:
    """The data of decode, likewise.

    Raises:
        ProfileError: There is none, or it cannot be used.
    """
    file, arrays = _find(location, "decode")
    columns = _columns(file, "decode", arrays)
    return DecodeData(file=file, columns=columns, max_kv_tokens=_max_kv_tokens(file, arrays))


def _find(location: Location, role: str) -> tuple[Path, Mapping[str, Any]]:
    """Where the data of a role is, and what is there."""
    if location.directory.is_file():
        return location.directory, _of_manifest(location.directory, f"{role}_raw_data.json")
    candidates = (
        location.directory / f"selected_{role}_interpolation" / "raw_data.npz",
        location.directory / f"{role}_raw_data.json",
        location.directory / f"{role}.npz",
    )
    for file in candidates:
        if file.is_file():
            arrays = _read_npz(file) if file.suffix == ".npz" else _read_json(file)
            return file, _one_row(file, role, arrays, location.select.get(role, {}))
    looked = ", ".join(map(str, candidates))
    raise ProfileError(
        f"no {role} profile found; looked for {looked}. If it is elsewhere, give that folder (--profile-results-dir); "
        f"to get one, {_HOW_TO_GET_DATA}"
    )


def read_meta(directory: Path) -> Mapping[str, Any]:
    """What ``meta.json`` beside the data says; empty if there is none.

    Raises:
        ProfileError: It is there but no JSON object.
    """
    if directory.is_file():
        return _of_manifest(directory, "meta.json", needed=False)
    file = directory / "meta.json"
    return _read_json(file) if file.is_file() else {}


def _of_manifest(file: Path, key: str, *, needed: bool = True) -> dict[str, Any]:
    """The JSON under a key of a ConfigMap's manifest."""
    try:
        manifest = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProfileError(f"{file} cannot be read as the manifest of a ConfigMap: {error}") from error
    data = manifest.get("data") if isinstance(manifest, dict) and manifest.get("kind") == "ConfigMap" else None
    if not isinstance(data, dict) or (needed and key not in data):
        raise ProfileError(f"{file} is no manifest of a ConfigMap with the key {key!r}; a folder is taken, too")
    return _object(f"{file}, {key}", str(data[key])) if key in data else {}


def _read_npz(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ProfileError(f"{file} cannot be read as npz without pickled objects: {error}") from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ProfileError(f"{file} cannot be read as JSON: {error}") from error
    return _object(str(file), text)


def _object(where: str, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ProfileError(f"{where} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"{where} holds a {type(content).__name__}; expected an object with the columns as lists")
    return content


def _one_row(file: Path, role: str, arrays: dict[str, Any], select: Mapping[str, str]) -> dict[str, Any]:
    """The data of one configuration, out of data that may have a leading configuration axis."""
    first = np.asarray(arrays.get(COLUMNS[role][0], ()))
    if first.ndim < 2:
        return arrays
    rows = [{name: values[index] for name, values in arrays.items()} for index in range(len(first))]
    matching = [row for row in rows if all(_matches(file, row, key, wanted) for key, wanted in select.items())]
    if len(matching) != 1:
        asked = ", ".join(f"{key}={value}" for key, value in select.items()) or "nothing"
        found = "; ".join(_describe(row) for row in rows)
        flag = f"--{role}-profile-select KEY=VALUE"
        raise ProfileError(
            f"{file}: {len(matching)} of {len(rows)} rows match {asked}; choose one with {flag}. The rows: {found}"
        )
    return matching[0]


def _matches(file: Path, row: Mapping[str, Any], key: str, wanted: str) -> bool:
    if key not in row:
        raise ProfileError(f"{file} has no column {key!r} to choose a row by; it has {', '.join(sorted(row))}")
    return _text(row[key]) == wanted


def _text(value: Any) -> str:
    return str(np.asarray(value).reshape(-1)[0])


def _describe(row: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_text(row[key])}" for key in SELECTORS if key in row)


def _columns(file: Path, role: str, arrays: Mapping[str, Any]) -> dict[str, Vector]:
    columns = _without_padding({name: _column(file, arrays, name) for name in COLUMNS[role]})
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ProfileError(f"{file}: the columns differ in length: {', '.join(f'{n} {k}' for n, k in lengths.items())}")
    for name, values in columns.items():
        _refuse_nonsense(file, name, values)
    return columns


def _column(file: Path, arrays: Mapping[str, Any], name: str) -> Vector:
    if name not in arrays:
        raise ProfileError(
            f"{file} has no {name!r}; it has {', '.join(sorted(arrays)) or 'nothing'}. "
            f"To get a whole one, {_HOW_TO_GET_DATA}"
        )
    try:
        values = np.asarray(arrays[name], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProfileError(f"{file}: {name!r} is not a list of numbers: {error}") from error
    if values.ndim != 1:
        raise ProfileError(f"{file}: {name!r} has shape {values.shape}; expected one list of numbers")
    return values


def _without_padding(columns: Mapping[str, Vector]) -> dict[str, Vector]:
    """Leave out trailing positions at which every column is NaN: rows of unlike length are padded so."""
    filled = max((int(np.flatnonzero(~np.isnan(values)).max(initial=-1)) + 1 for values in columns.values()), default=0)
    return {name: values[:filled] if np.isnan(values[filled:]).all() else values for name, values in columns.items()}


def _refuse_nonsense(file: Path, name: str, values: Vector) -> None:
    if not len(values):
        raise ProfileError(f"{file}: {name!r} is empty. To get data, {_HOW_TO_GET_DATA}")
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        raise ProfileError(f"{file}: {name!r}[{wrong[0]}] is {values[wrong[0]]}; expected finite numbers above 0")


def _max_kv_tokens(file: Path, arrays: Mapping[str, Any]) -> int:
    if "max_kv_tokens" not in arrays:
        raise ProfileError(f"{file} has no 'max_kv_tokens', the tokens that an engine's KV cache holds")
    values = np.asarray(arrays["max_kv_tokens"]).reshape(-1)
    if len(values) != 1 or not np.issubdtype(values.dtype, np.number) or not np.isfinite(values[0]) or values[0] < 1:
        raise ProfileError(f"{file}: 'max_kv_tokens' is {arrays['max_kv_tokens']!r}; expected one whole number above 0")
    return int(values[0])
