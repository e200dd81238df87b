"""The committed sample is what its generator writes."""

from __future__ import annotations

import json

import pytest

from profiles import sample_profile_dir
from profiles.synthetic import decode_data, meta, prefill_data


@pytest.mark.parametrize(
    ("name", "made"),
    [("prefill_raw_data.json", prefill_data), ("decode_raw_data.json", decode_data), ("meta.json", meta)],
)
def test_the_sample_is_fresh(name, made):
    assert json.loads((sample_profile_dir() / name).read_text()) == made(), "run python -m profiles.synthetic"
