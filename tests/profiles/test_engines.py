"""What the fitted engines promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import DecodeProfile, PrefillProfile, load_profiles, sample_profile_dir
from profiles.synthetic import MAX_KV_TOKENS, decode_data, itl_ms, prefill_data, ttft_ms

PROFILE = load_profiles(sample_profile_dir(), prefill_gpus=1, decode_gpus=1)
contexts = st.floats(10, 1e6)
concurrencies = st.floats(0.1, 1e5)


def decode(order=None, *, gpus=1, max_num_seqs=None, noise=None):
    data = decode_data()
    columns = [np.array(data[name]) for name in ("x_kv_usage", "y_context_length", "z_itl")]
    if noise is not None:
        columns[2] = columns[2] * noise
    if order is not None:
        columns = [column[order] for column in columns]
    return DecodeProfile(*columns, max_kv_tokens=MAX_KV_TOKENS, gpus=gpus, max_num_seqs=max_num_seqs)


POINTS = len(decode_data()["z_itl"])


@given(st.permutations(range(POINTS)), contexts, concurrencies)
def test_the_order_of_the_rows_is_irrelevant(order, context, concurrency):
    assert decode(order).itl_ms(concurrency, context) == pytest.approx(PROFILE.decode.itl_ms(concurrency, context))


@given(st.floats(1, 500), contexts)
def test_a_promised_batch_meets_the_target_and_the_next_one_would_not(target, context):
    point = PROFILE.decode.operating_point(target, context)
    assert point.itl_ms == pytest.approx(PROFILE.decode.itl_ms(point.concurrency, context))
    assert point.throughput_per_gpu == pytest.approx(point.concurrency / point.itl_ms * 1000)
    assert 1 <= point.concurrency <= PROFILE.decode.kv_capacity(context)
    if point.feasible:
        assert point.itl_ms <= target
        for smaller in np.unique(np.geomspace(1, point.concurrency, 9).round()):
            assert PROFILE.decode.itl_ms(float(smaller), context) <= target
        if point.concurrency < PROFILE.decode.kv_capacity(context):
            assert PROFILE.decode.itl_ms(point.concurrency + 1, context) > target
    else:
        assert PROFILE.decode.itl_ms(1, context) > target


@given(st.lists(st.floats(0.5, 2.0), min_size=POINTS, max_size=POINTS), st.floats(1, 60), st.floats(50, 3e4))
def test_noisy_data_promises_no_batch_that_misses_the_target_either(noise, target, context):
    engine = decode(noise=np.array(noise))
    point = engine.operating_point(target, context)
    assert not point.feasible or engine.itl_ms(point.concurrency, context) <= target


@given(concurrencies, contexts)
def test_latencies_are_finite_and_positive_everywhere(concurrency, context):
    assert 0 < PROFILE.decode.itl_ms(concurrency, context) < math.inf
    assert 0 < PROFILE.prefill.ttft_ms(context) < math.inf


@given(st.floats(2000, 1e5), st.floats(1.1, 10), contexts)
def test_more_sequences_than_profiled_are_never_faster(concurrency, factor, context):
    engine = PROFILE.decode
    assert engine.itl_ms(concurrency * factor, context) >= engine.itl_ms(concurrency, context) * (1 - 1e-9)


@given(st.floats(17_000, 1e6), st.floats(1.1, 10), st.floats(1, 100))
def test_longer_contexts_than_profiled_are_never_faster(context, factor, concurrency):
    engine = PROFILE.decode
    assert engine.itl_ms(concurrency, context * factor) >= engine.itl_ms(concurrency, context) * (1 - 1e-9)


@pytest.mark.parametrize("context", [349.9999, 350.0001, 16_249.99, 16_250.01])
def test_the_border_of_the_measured_region_is_no_step(context):
    nearby = PROFILE.decode.itl_ms(20, round(context))
    assert PROFILE.decode.itl_ms(20, context) == pytest.approx(nearby, rel=1e-3)


@given(st.floats(1, 50), st.floats(400, 16_000))
def test_the_truth_is_found_within_a_few_percent_inside(concurrency, context):
    assert PROFILE.decode.itl_ms(concurrency, context) == pytest.approx(itl_ms(concurrency, context), rel=0.03)
    assert PROFILE.prefill.ttft_ms(context) == pytest.approx(ttft_ms(context), rel=0.01)


@given(st.floats(1, 100), st.floats(16_300, 60_000))
def test_the_truth_is_found_roughly_outside(concurrency, context):
    assert PROFILE.decode.itl_ms(concurrency, context) == pytest.approx(itl_ms(concurrency, context), rel=0.15)
    assert PROFILE.prefill.ttft_ms(context) == pytest.approx(ttft_ms(context), rel=0.1)


def test_throughput_is_per_gpu():
    one, four = decode(), decode(gpus=4)
    assert four.best_throughput_per_gpu(10, 2000) == pytest.approx(one.best_throughput_per_gpu(10, 2000) / 4)


def test_capacity_is_what_the_cache_holds_and_the_engine_runs():
    assert decode().kv_capacity(9000) == 100
    assert decode(max_num_seqs=30).kv_capacity(9000) == 30
    assert decode().kv_capacity(1e9) == 1


def test_an_infeasible_target_gives_the_most_an_engine_can_do():
    point = PROFILE.decode.operating_point(1.0, 3000)
    assert not point.feasible
    assert point.throughput_per_gpu == pytest.approx(PROFILE.decode.best_throughput_per_gpu(1e6, 3000))


@pytest.mark.parametrize(("concurrency", "context"), [(0, 100), (-1, 100), (1, 0), (float("nan"), 100)])
def test_arguments_that_make_no_sense_are_refused(concurrency, context):
    with pytest.raises(ValueError, match="both are above 0"):
        PROFILE.decode.itl_ms(concurrency, context)


@pytest.mark.parametrize("isl", [0, -5, float("nan")])
def test_an_input_has_tokens(isl):
    with pytest.raises(ValueError, match="more than 0 tokens"):
        PROFILE.prefill.ttft_ms(isl)


@given(st.floats(16_384, 1e6), st.floats(1, 10))
def test_inputs_longer_than_profiled_take_longer_in_proportion(isl, factor):
    assert PROFILE.prefill.ttft_ms(isl * factor) >= 0.98 * factor * PROFILE.prefill.ttft_ms(isl)


def test_flat_data_still_does_not_make_long_inputs_free():
    flat = PrefillProfile(np.array([100.0, 1000.0]), np.array([50.0, 50.0]), gpus=1)
    assert flat.ttft_ms(10_000) == pytest.approx(500.0)


def test_prefill_throughput_is_tokens_over_time():
    assert PROFILE.prefill.throughput_per_gpu(3000) == pytest.approx(3000 / PROFILE.prefill.ttft_ms(3000) * 1000)


def test_prefill_points_in_any_order_are_sorted_at_load(write, load, data):
    columns = data["prefill"]
    order = np.random.default_rng(1).permutation(len(columns["prefill_isl"]))
    shuffled = {name: [values[index] for index in order] for name, values in columns.items()}
    loaded = load(write({"prefill": shuffled, "decode": data["decode"]}))
    assert [loaded.prefill.ttft_ms(isl) for isl in (90, 500, 9000)] == [
        PROFILE.prefill.ttft_ms(isl) for isl in (90, 500, 9000)
    ]
    assert prefill_data() == columns
