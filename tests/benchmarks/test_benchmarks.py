"""Benchmarks are run seldom: what they take from the planner must still be there."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_it_finds_what_it_imports(name):
    assert importlib.import_module(name).__doc__
