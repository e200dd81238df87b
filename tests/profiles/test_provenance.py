"""Where a profile comes from, and whether it is of what is deployed."""

from __future__ import annotations

import json

import pytest

from planner import Planner, Settings
from planner.checkup import check_up
from planner.engines import load_profile
from planner.finding import Health
from profiles import ProfileError, load_profiles
from profiles.provenance import Provenance, same_model

META = {
    "how": "measured",
    "model": "Qwen/Qwen3-32B",
    "system": "h200_sxm",
    "backend": "vllm",
    "prefill": {"gpus": 2, "tp": 2},
    "decode": {"gpus": 4, "tp": 4, "max_num_seqs": 256, "kv_tokens": 900},
    "targets": {"ttft_ms": 500},
}


@pytest.fixture
def folder(data, write):
    """A profile with provenance; the folder."""
    folder = write(data)
    (folder / "meta.json").write_text(json.dumps(META))
    return folder


def settings(folder, **options):
    # Nobody answers there, which is not looked at here.
    nobody = {"metric_pulling_prometheus_endpoint": "http://127.0.0.1:9", "state_dir": folder / "state"}
    return Settings(profile_results_dir=str(folder), environment="virtual", **nobody, **options)


def test_what_is_read_is_written_again():
    assert Provenance.read(META).as_dict() == META
    assert Provenance.read({}).as_dict() == {"prefill": {}, "decode": {}}


def test_values_of_other_types_are_unknown():
    odd = Provenance.read({"model": 5, "prefill": [], "decode": {"gpus": True, "tp": "two", "max_num_seqs": -1}})
    assert (odd.model, odd.prefill.gpus, odd.decode.gpus, odd.decode.max_num_seqs) == (None, None, None, None)


def test_engines_are_as_large_as_profiled_unless_told_otherwise(folder):
    loaded = load_profiles(folder)
    assert (loaded.prefill.gpus, loaded.decode.gpus) == (2, 4)
    planner = Planner(settings(folder, max_gpu_budget=24))
    assert planner.engine_gpus == (2, 4)
    told = Planner(settings(folder, max_gpu_budget=24, decode_engine_num_gpu=8))
    assert told.engine_gpus == (2, 8)
    assert any("--decode-engine-num-gpu" in warning for warning in told.warnings)


def test_a_budget_too_small_for_the_profiled_engines_is_refused(folder):
    with pytest.raises(ProfileError, match=r"--max-gpu-budget 5 cannot hold the minimum.*2 \+ 4 GPUs"):
        Planner(settings(folder, max_gpu_budget=5))


async def test_the_check_up_sees_a_budget_too_small(folder):
    findings = await check_up(settings(folder, max_gpu_budget=5))
    assert [one.health for one in findings if one.subject == "GPU budget"] == [Health.FAILED]
    findings = await check_up(settings(folder, max_gpu_budget=6))
    assert not [one for one in findings if one.subject == "GPU budget"]


def test_a_new_budget_that_does_not_fit_leaves_the_old_one(folder):
    planner = Planner(settings(folder, max_gpu_budget=24))
    with pytest.raises(ProfileError):
        planner.reconfigure(settings(folder, max_gpu_budget=5))
    assert planner.settings.max_gpu_budget == 24


@pytest.mark.parametrize(
    ("options", "mismatch"),
    [
        ({}, None),
        ({"model_name": "qwen3-32b"}, None),
        ({"model_name": "qwen/qwen3-32b"}, None),
        ({"model_name": "llama"}, "'llama' is deployed"),
        ({"model_name": "acme/qwen3-32b"}, "'acme/qwen3-32b' is deployed"),
        ({"backend": "vllm"}, None),
        ({"backend": "sglang"}, "backend vllm, sglang is deployed"),
    ],
)
def test_a_deployment_that_does_not_match_is_warned_about(folder, options, mismatch):
    found = [text for text in load_profile(settings(folder, **options)).warnings if "is deployed" in text]
    assert len(found) == (mismatch is not None)
    assert all(mismatch in text for text in found)


def test_paths_of_models_are_names_too():
    assert same_model("/models/Qwen3-32B", "Qwen3-32b")
    assert not same_model("/models/Qwen3-8B", "Qwen3-32b")
