"""Benchmarks are run seldom: what they take from the planner must still be there."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_finds_what_it_imports(file, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path.copy())
    # Not imported: a module of its name would stay, and be found by others that look for one of the same name.
    assert runpy.run_path(str(file), run_name="benchmark")["__doc__"]
