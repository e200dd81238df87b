"""Reading profiles: every layout, and everything that can be wrong with one."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from profiles import ProfileError

SELECT = {"prefill_select": {"tp": "2"}, "decode_select": {"tp": "2"}}


def answers(profile):
    prefill = [profile.prefill.ttft_ms(isl) for isl in (50, 777, 3000, 40_000)]
    decode = [profile.decode.itl_ms(n, y) for n in (0.5, 3, 77, 900) for y in (200, 3075, 50_000)]
    return prefill + decode


@pytest.mark.parametrize(("layout", "options"), [("json", {}), ("npz", {}), ("pre-swept", SELECT)])
def test_every_layout_gives_the_same_profile(data, write, load, profile, layout, options):
    loaded = load(write(data, layout), **options)
    assert answers(loaded) == pytest.approx(answers(profile), rel=1e-9)
    assert loaded.warnings == ()
    assert len(loaded.files) == 2


def test_dynamo_s_form_for_pre_swept_results(data, write, load, profile, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for columns in data.values():
        columns |= {"framework": "vllm", "model": "m", "dp": 1, "pp": 1, "block_size": 16, "max_batch_size": 512}
        columns |= {"gpu_count": 2}
    write(data, "pre-swept", tmp_path / "pre_swept_results" / "h200" / "vllm" / "m")
    loaded = load("use-pre-swept-results:h200:vllm:m:2:1:1:16:512:2")
    assert answers(loaded) == pytest.approx(answers(profile), rel=1e-9)
    with pytest.raises(ProfileError, match="has 3 parts; expected use-pre-swept-results:<gpu_type>"):
        load("use-pre-swept-results:h200:vllm:m")


def test_npz_goes_before_json(data, write, load):
    write(data)
    slower = {**data["prefill"], "prefill_ttft": [2 * value for value in data["prefill"]["prefill_ttft"]]}
    write({"prefill": slower}, "npz")
    loaded = load(write({}))
    assert loaded.prefill.ttft_ms(3000) == pytest.approx(2 * 80.2, rel=0.01)
    assert loaded.files[0].suffix == ".npz"


def test_a_row_must_be_chosen_and_the_rows_are_listed(data, write, load):
    folder = write(data, "pre-swept")
    with pytest.raises(ProfileError, match=r"3 of 3 rows match nothing.*--prefill-profile-select.*gpu_type=h200 tp=1;"):
        load(folder)
    with pytest.raises(ProfileError, match=r"0 of 3 rows match tp=8"):
        load(folder, prefill_select={"tp": "8"})
    with pytest.raises(ProfileError, match=r"no column 'colour' to choose a row by; it has gpu_type"):
        load(folder, prefill_select={"colour": "red"})


def test_nothing_there_names_every_place_and_a_way_out(tmp_path, load):
    with pytest.raises(ProfileError) as refused:
        load(tmp_path)
    for text in ("raw_data.npz", "prefill_raw_data.json", "prefill.npz", "profile estimate or measure"):
        assert text in str(refused.value)


@pytest.mark.parametrize(
    ("role", "key", "value", "complaint"),
    [
        ("prefill", "prefill_ttft", None, "has no 'prefill_ttft'"),
        ("decode", "z_itl", None, "has no 'z_itl'"),
        ("decode", "max_kv_tokens", None, "has no 'max_kv_tokens'"),
        ("prefill", "prefill_ttft", [1.0, 2.0], "differ in length"),
        ("prefill", "prefill_ttft", ["fast"] * 16, "is not a list of numbers"),
        ("prefill", "prefill_ttft", [[1.0]] * 16, "has shape (16, 1)"),
        ("prefill", "prefill_ttft", 5.0, "has shape ()"),
        ("prefill", "prefill_ttft", [10.0] * 8 + [float("nan")] + [10.0] * 7, "'prefill_ttft'[8] is nan"),
        ("prefill", "prefill_isl", [-1.0] + [10.0] * 15, "'prefill_isl'[0] is -1.0"),
        ("prefill", "prefill_isl", [0.0] + [10.0] * 15, "'prefill_isl'[0] is 0.0"),
        ("prefill", "prefill_isl", [100.0] * 16, "a single ISL, 100"),
        ("decode", "max_kv_tokens", 0, "'max_kv_tokens' is 0"),
        ("decode", "max_kv_tokens", [1, 2], "'max_kv_tokens' is [1, 2]"),
        ("decode", "max_kv_tokens", "many", "'max_kv_tokens' is 'many'"),
        ("decode", "max_kv_tokens", float("nan"), "'max_kv_tokens' is nan"),
    ],
)
def test_bad_numbers_name_the_file_and_the_key(data, write, load, role, key, value, complaint):
    if value is None:
        del data[role][key]
    else:
        data[role][key] = value
    with pytest.raises(ProfileError) as refused:
        load(write(data))
    assert complaint in str(refused.value)
    assert f"{role}_raw_data.json" in str(refused.value)


def test_empty_columns_are_refused(data, write, load):
    data["prefill"] = {key: [] for key in data["prefill"]}
    with pytest.raises(ProfileError, match="'prefill_isl' is empty"):
        load(write(data))


@pytest.mark.parametrize("content", ["{torn", "[1, 2]", "3", ""])
def test_a_file_that_is_no_json_object_is_refused(data, write, load, content):
    folder = write(data)
    (folder / "decode_raw_data.json").write_text(content)
    with pytest.raises(ProfileError, match=r"decode_raw_data.json"):
        load(folder)


def test_a_torn_npz_is_refused(data, write, load):
    folder = write(data, "npz")
    file = folder / "selected_prefill_interpolation" / "raw_data.npz"
    whole = file.read_bytes()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(ProfileError, match=r"raw_data.npz cannot be read as npz"):
            load(folder)


class Trap:
    """Leaves a trace of having been unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def test_nothing_is_unpickled(data, write, load, tmp_path):
    folder = write(data, "npz")
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    np.savez(folder / "selected_prefill_interpolation" / "raw_data.npz", prefill_isl=trap, allow_pickle=True)
    with pytest.raises(ProfileError, match="without pickled objects"):
        load(folder)
    assert not (tmp_path / "sprung").exists()


def test_max_kv_tokens_may_be_a_list_of_one(data, write, load):
    data["decode"]["max_kv_tokens"] = [900_000]
    assert load(write(data)).decode.max_kv_tokens == 900_000


def test_meta_json_tells_max_num_seqs_and_gpus(data, write, load):
    folder = write(data)
    (folder / "meta.json").write_text(json.dumps({"prefill": {"gpus": 1}, "decode": {"gpus": 2, "max_num_seqs": 600}}))
    loaded = load(folder)
    assert loaded.decode.max_num_seqs == 600
    assert loaded.decode.kv_capacity(10) == 600
    (warning,) = [text for text in loaded.warnings if "--decode-engine-num-gpu" in text]
    assert "made with 2 GPUs an engine, not 1 as configured" in warning
    (folder / "meta.json").write_text("[]")
    with pytest.raises(ProfileError, match=r"meta.json holds a list"):
        load(folder)
