"""Data that is odd but usable is warned about, with its figures."""

from __future__ import annotations

import pytest


def test_good_data_is_not_warned_about(data, write, load):
    assert load(write(data)).warnings == ()


def warned(loaded, *texts):
    matching = [warning for warning in loaded.warnings if all(text in warning for text in texts)]
    assert len(matching) == 1, loaded.warnings


def test_gpu_counts_that_do_not_fit_the_throughput(data, write, load):
    loaded = load(write(data), prefill_gpus=2, decode_gpus=4)
    warned(loaded, "ISL over TTFT is 1.00 times", "engines with 1 GPU, not 2 as configured")
    warned(loaded, "sequences over ITL is 1.00 times", "not 4 as configured")
    assert loaded.prefill.throughput_per_gpu(3000) == pytest.approx(3000 / 80.2 * 1000 / 2, rel=0.01)


def test_throughput_that_disagrees_with_ttft(data, write, load):
    data["prefill"]["prefill_thpt_per_gpu"][3] /= 2
    warned(load(write(data)), "disagree at 1 of 16 points", "by a factor of 2.00")


def test_ttft_that_falls_as_inputs_grow(data, write, load):
    ttft = data["prefill"]["prefill_ttft"]
    ttft[4] = 2 * ttft[5]
    data["prefill"]["prefill_thpt_per_gpu"][4] = data["prefill"]["prefill_isl"][4] / ttft[4] * 1000
    warned(load(write(data)), "TTFT falls 1 times as ISL grows", f"from {ttft[4]:.1f} ms")


def test_kv_usage_beyond_the_cache(data, write, load):
    decode = data["decode"]
    decode["x_kv_usage"][-1] *= 2
    decode["z_thpt_per_gpu"][-1] *= 2
    warned(load(write(data)), "KV usage goes up to 1.")


def test_points_that_are_no_whole_number_of_sequences(data, write, load):
    data["decode"]["max_kv_tokens"] *= 1.07
    warned(load(write(data)), "are no whole number of sequences")


def test_throughput_beyond_what_the_latency_allows(data, write, load):
    data["decode"]["z_thpt_per_gpu"][5] *= 1.5
    warned(load(write(data)), "1 of ", "throughputs exceed sequences over ITL")


def test_points_beyond_max_num_seqs_are_saturated(data, write, load):
    folder = write(data)
    (folder / "meta.json").write_text('{"decode": {"max_num_seqs": 100}}')
    warned(load(folder), "lie beyond max_num_seqs 100 and are saturated")
