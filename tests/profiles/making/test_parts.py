"""The parts of a measurement, each for itself."""

from __future__ import annotations

import itertools
import json
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.itl_fit import ItlFit
from profiles.making.confidence import mean_of
from profiles.making.endpoint import EndpointError
from profiles.making.grid import coarse_grid, coarse_to_fine, geometric
from profiles.making.journal import Journal
from profiles.making.limits import ToldLimits, read_limits
from profiles.making.progress import MakingError
from profiles.making.reply import understand


def events(tokens=4, usage=True):
    chunks = [{"choices": [{"text": f" w{index}", "finish_reason": None}], "usage": None} for index in range(tokens)]
    if usage:
        chunks.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": tokens}})
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + b"data: [DONE]\n\n"


@given(st.lists(st.integers(1, 500), max_size=12), st.integers(1, 9))
def test_a_stream_reads_the_same_however_the_network_cuts_it(cuts, tokens):
    stream = events(tokens)
    bounds = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    pieces = [(float(low), stream[low:high]) for low, high in itertools.pairwise(bounds)]
    reply = understand(-1.0, pieces, tokens)
    assert list(reply.tokens) == [float(number) for number in range(1, tokens + 1)]
    assert reply.prompt_tokens == 9
    assert list(reply.times) == sorted(reply.times)


@given(st.binary(max_size=200))
def test_whatever_a_server_sends_is_understood_or_refused(junk):
    with pytest.raises(EndpointError):
        understand(0.0, [(1.0, b"data: " + junk)], 4)


@given(st.integers(1, 10_000), st.integers(1, 100_000), st.integers(1, 40))
def test_points_are_spaced_from_the_least_to_the_most(least, most, points):
    grid = geometric(least, most, points)
    assert grid == sorted(set(grid))
    assert 1 <= len(grid) <= max(1, points)
    assert grid[0] == least
    if most > least and points > 1:
        assert grid[-1] == most


@given(st.integers(0, 200))
def test_from_coarse_to_fine_every_point_comes_once_and_the_ends_first(length):
    order = coarse_to_fine(length)
    assert sorted(order) == list(range(length))
    assert set(order[:2]) <= {0, length - 1}


@given(st.lists(st.integers(1, 8), min_size=1, max_size=7))
def test_a_grid_has_every_pair_once(sizes):
    contexts = list(range(100, 100 + len(sizes)))
    batches = [list(range(1, size + 1)) for size in sizes]
    pairs = coarse_grid(contexts, batches)
    assert sorted(pairs) == sorted(
        (batch, context) for context, row in zip(contexts, batches, strict=True) for batch in row
    )


def test_a_confidence_interval_holds_the_mean_19_times_of_20():
    random = np.random.default_rng(3)
    held = 0
    for _ in range(2000):
        mean = mean_of(random.normal(10, 2, 5).tolist())
        held += abs(mean.value - 10) <= mean.half_width
    assert 0.935 < held / 2000 < 0.965
    assert math.isinf(mean_of([3.0]).half_width)
    assert mean_of([1.0, 2.0, 3.0]).value == statistics.fmean([1, 2, 3])


@given(
    st.lists(st.tuples(st.integers(1, 600), st.integers(50, 20_000), st.floats(1, 200)), min_size=1, max_size=30),
    st.floats(1, 5000),
    st.floats(10, 100_000),
)
def test_the_fit_never_falls(points, n, y):
    batch, context, itl = np.array(points, dtype=float).T
    fit = ItlFit(batch, context, itl)
    assert fit(n, y) >= 0
    assert fit(n * 1.5, y) >= fit(n, y)
    assert fit(n, y * 1.5) >= fit(n, y)


@pytest.mark.parametrize(
    ("page", "limits"),
    [
        (
            'vllm:cache_config_info{block_size="16",num_gpu_blocks="1000",engine="0"} 1.0\n',
            ToldLimits(max_kv_tokens=16_000, block_size=16),
        ),
        (
            'vllm:cache_config_info{block_size="4",num_gpu_blocks="1000",kv_cache_size_tokens="64000"} 1.0\n',
            ToldLimits(max_kv_tokens=64_000, block_size=4),
        ),
        ('vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0\n', ToldLimits(block_size=16)),
        ('sglang:max_total_num_tokens{model_name="m"} 123456.0\n', ToldLimits(max_kv_tokens=123_456)),
        (
            'dynamo_frontend_model_total_kv_blocks{model="m"} 500\n'
            'dynamo_frontend_model_kv_cache_block_size{model="m"} 32\n'
            'dynamo_frontend_model_max_num_seqs{model="m"} 256\n',
            ToldLimits(max_kv_tokens=16_000, max_num_seqs=256, block_size=32),
        ),
        ("other 1\n", ToldLimits()),
        ("<html>no metrics</html>\n", ToldLimits()),
        ("", ToldLimits()),
    ],
)
def test_engines_tell_their_limits(page, limits):
    assert read_limits(page) == limits


@pytest.mark.parametrize("content", ["no json\n", "{}\n", "[1]\n"])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path, content):
    file = tmp_path / "measurement.jsonl"
    file.write_text(content)
    with pytest.raises(MakingError, match="no journal of a measurement"):
        Journal(file, {"a": 1})
    assert file.read_text() == content
