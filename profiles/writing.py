"""Writing profiles, in every layout that Dynamo and this planner read."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from profiles.data import ProfileData
from profiles.engine import ProfileError
from profiles.files import DecodeData
from profiles.provenance import Engine, Provenance

CONFIG_MAP = "planner-profile-data"
"""The name under which Dynamo's planner mounts a profile."""

# A ConfigMap holds a mebibyte at most, its own fields included.
_LARGEST_CONFIG_MAP = 1_000_000

Contents = Iterator[tuple[str, bytes]]


def write_data(
    data: ProfileData, folder: Path, layout: str = "npz", *, name: str = CONFIG_MAP, namespace: str | None = None
) -> tuple[Path, ...]:
    """Write a profile with its provenance; each file appears whole or not at all.

    Args:
        data: The profile.
        folder: Where to write; made if need be.
        layout: One of LAYOUTS: ``npz`` and ``json`` as Dynamo's profiler writes them, ``pre-swept`` with one row, or
            ``configmap``, a manifest for ``kubectl apply``.
        name: Name of the ConfigMap.
        namespace: Its namespace; left out, that of whoever applies it.

    Returns:
        The files, the provenance last.

    Raises:
        ProfileError: The folder has a profile in another layout that would be read instead, the profile is too large
            for a ConfigMap, or a file cannot be written.
    """
    contents = dict(_config_map(data, name, namespace) if layout == "configmap" else LAYOUTS[layout](data))
    if layout != "configmap":
        contents["meta.json"] = _json(data.provenance.as_dict())
        _refuse_to_be_hidden(folder, layout)
    try:
        for file, content in contents.items():
            _write(folder / file, content)
    except OSError as error:
        raise ProfileError(f"the profile cannot be written to {folder}: {error}") from error
    return tuple(folder / file for file in contents)


def _npz_files(data: ProfileData) -> Contents:
    for role, raw in (("prefill", data.prefill), ("decode", data.decode)):
        yield f"selected_{role}_interpolation/raw_data.npz", _npz(raw.arrays())


def _json_files(data: ProfileData) -> Contents:
    for role, raw in (("prefill", data.prefill), ("decode", data.decode)):
        columns: dict[str, Any] = {name: values.tolist() for name, values in raw.columns.items()}
        if isinstance(raw, DecodeData):
            columns["max_kv_tokens"] = raw.max_kv_tokens
        yield f"{role}_raw_data.json", _json(columns)


def _pre_swept_files(data: ProfileData) -> Contents:
    engines = data.provenance.prefill, data.provenance.decode
    for role, raw, engine in zip(("prefill", "decode"), (data.prefill, data.decode), engines, strict=True):
        row = {name: values[None] for name, values in raw.arrays().items()}
        yield f"{role}.npz", _npz({**row, **_selectors(data.provenance, engine)})


LAYOUTS: Mapping[str, Callable[[ProfileData], Contents]] = {
    "npz": _npz_files,
    "json": _json_files,
    "pre-swept": _pre_swept_files,
    "configmap": lambda data: _config_map(data, CONFIG_MAP, None),
}

# What a reader takes first, and how to tell that it is there.
_FIRST = {
    "npz": "selected_{role}_interpolation/raw_data.npz",
    "json": "{role}_raw_data.json",
    "pre-swept": "{role}.npz",
}


def _refuse_to_be_hidden(folder: Path, layout: str) -> None:
    for other, pattern in _FIRST.items():
        if other == layout:
            return
        for role in ("prefill", "decode"):
            if (there := folder / pattern.format(role=role)).exists():
                raise ProfileError(
                    f"{there} would be read instead of what is to be written as {layout}: choose another folder, "
                    f"or remove it"
                )


def _selectors(provenance: Provenance, engine: Engine) -> dict[str, Any]:
    """The columns that a row of pre-swept data is chosen by; what is unknown is 0 or empty."""
    texts = {
        "gpu_type": provenance.system,
        "model": provenance.model,
        "framework": provenance.backend,
        "framework_version": provenance.backend_version,
    }
    numbers = {
        "tp": engine.tp or engine.gpus,
        "dp": engine.details.get("dp", 1),
        "pp": engine.details.get("pp", 1),
        "block_size": engine.details.get("block_size", 0),
        "max_batch_size": engine.max_num_seqs,
        "gpu_count": engine.gpus,
    }
    return {
        **{name: np.array([text or ""]) for name, text in texts.items()},
        **{name: np.array([number or 0], dtype=np.int64) for name, number in numbers.items()},
    }


def config_map(data: ProfileData, name: str = CONFIG_MAP, namespace: str | None = None) -> dict[str, Any]:
    """A profile as the manifest of a ConfigMap.

    Args:
        data: The profile.
        name: Name of the ConfigMap.
        namespace: Its namespace; left out, that of whoever applies it.

    Raises:
        ProfileError: It is too large for one.
    """
    files = {file: content.decode() for file, content in _json_files(data)}
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "data": {**files, "meta.json": _json(data.provenance.as_dict()).decode()},
    }
    size = len(to_yaml(manifest).encode())
    if size > _LARGEST_CONFIG_MAP:
        raise ProfileError(
            f"as a ConfigMap the profile takes {size} bytes; Kubernetes holds at most 1 MiB. Mount it as a "
            "volume, or profile with fewer points"
        )
    return manifest


def _config_map(data: ProfileData, name: str, namespace: str | None) -> Contents:
    yield f"{name}.yaml", to_yaml(config_map(data, name, namespace)).encode()


def to_yaml(manifest: Any) -> str:
    """A manifest as people read it: in its order, texts of several lines as blocks."""
    return str(yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True))


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _npz(arrays: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), 0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
