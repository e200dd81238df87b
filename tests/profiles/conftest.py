"""Profiles on disk, in every layout."""

from __future__ import annotations

import json

import numpy as np
import pytest

from profiles import load_profiles
from profiles.synthetic import decode_data, prefill_data


@pytest.fixture
def data():
    """The columns of both roles, to be changed at will."""
    return {"prefill": prefill_data(), "decode": decode_data()}


@pytest.fixture
def write(tmp_path):
    """Writes data in a layout: ``write(data, "json")``; the folder."""

    def as_json(data):
        for role, columns in data.items():
            (tmp_path / f"{role}_raw_data.json").write_text(json.dumps(columns))

    def as_npz(data):
        for role, columns in data.items():
            folder = tmp_path / f"selected_{role}_interpolation"
            folder.mkdir(exist_ok=True)
            np.savez(folder / "raw_data.npz", **{name: np.array(values) for name, values in columns.items()})

    def as_pre_swept(data, folder=tmp_path):
        """Three configurations a role, the wanted one the second; rows of unlike length padded with NaN."""
        folder.mkdir(parents=True, exist_ok=True)
        for role, columns in data.items():
            lists = {name: values for name, values in columns.items() if isinstance(values, list)}
            rows = {
                name: np.array([[9.0] * len(values) + [np.nan] * 2, values + [np.nan] * 2, [7.0] * (len(values) + 2)])
                for name, values in lists.items()
            }
            single = {name: np.full(3, value) for name, value in columns.items() if name not in lists}
            np.savez(folder / f"{role}.npz", tp=np.array([1, 2, 4]), gpu_type=np.array(["h200"] * 3), **rows, **single)

    layouts = {"json": as_json, "npz": as_npz, "pre-swept": as_pre_swept}

    def write(data, layout="json", *arguments):
        layouts[layout](data, *arguments)
        return tmp_path

    return write


@pytest.fixture
def load():
    """Loads a folder for engines of one GPU unless told otherwise."""

    def load(folder, **options):
        return load_profiles(folder, **{"prefill_gpus": 1, "decode_gpus": 1, **options})

    return load
