"""``estimate``: with engines made up for the rules, and with AI Configurator for the figures."""

from __future__ import annotations

import builtins
import importlib.util
import os
from dataclasses import dataclass

import pytest

from planner.__main__ import main
from profiles import load_profiles
from profiles.making.configurator import Configurator
from profiles.making.estimate import EstimateRequest, estimate, estimate_now
from profiles.making.progress import MakingError


@dataclass(frozen=True)
class Made:
    """An engine that scales with its GPUs, less well the more it has."""

    tp: int
    max_kv_tokens: int
    memory: tuple = ()
    parallelism: tuple = ()

    def ttft_ms(self, isl):
        return 10 + 0.1 * isl / self.tp**0.6

    def itl_ms(self, concurrency, context_length):
        return 4 + 8 / self.tp + (0.05 * concurrency + 4e-5 * concurrency * context_length) / self.tp**0.6


class MadeEngines:
    """One GPU is too small for the weights, and three do not run."""

    model, system, backend, backend_version, package = "made", "here", "vllm", "1", "made 1"
    gpus_of_a_node = 8

    def engine(self, tp):
        if tp == 1:
            raise MakingError("no room for the weights")
        return Made(tp, 200_000 * (tp - 1))


def made(**options):
    return estimate_now(EstimateRequest(model="made", system="here", **options), engines=MadeEngines())


def test_each_role_gets_the_engine_that_serves_with_the_fewest_gpu_seconds():
    found = made(isl=3000, osl=150, ttft_ms=500, itl_ms=20)
    for chosen in (found.prefill, found.decode):
        rivals = [one for one in found.candidates if one.role == chosen.role and one.feasible]
        assert chosen.throughput_per_gpu == max(one.throughput_per_gpu for one in rivals)
        assert chosen.feasible
    assert found.refused == {1: "no room for the weights"}
    assert any("optimistic" in note for note in found.notes)


def test_a_tight_target_takes_more_gpus():
    loose, tight = made(ttft_ms=500, itl_ms=40), made(ttft_ms=110, itl_ms=9)
    assert tight.prefill.tp > loose.prefill.tp
    assert tight.decode.tp > loose.decode.tp
    assert tight.prefill.latency_ms <= 110


def test_the_decode_batch_is_the_largest_within_target_cache_and_limit():
    (decode,) = [one for one in made(itl_ms=16, tp=4).candidates if one.role == "decode"]
    engine, context = Made(4, 600_000), 3075
    assert engine.itl_ms(decode.batch, context) <= 16 < engine.itl_ms(decode.batch + 1, context)
    assert made(itl_ms=1000, tp=4).decode.batch == 600_000 // context
    assert made(itl_ms=1000, tp=4, max_num_seqs=64).decode.batch == 64


def test_the_budget_holds_both_engines():
    found = made(ttft_ms=50, itl_ms=7, max_gpus=10)
    assert found.prefill.tp + found.decode.tp <= 10


def test_targets_out_of_reach_are_said_and_missed_by_least():
    found = made(ttft_ms=1, itl_ms=1)
    assert (found.prefill.tp, found.decode.tp) == (8, 8)
    assert any("within --max-gpus 16 meet the TTFT target of 1 ms" in note for note in found.notes)
    assert any("within --max-gpus 16 meet the ITL target of 1 ms" in note for note in found.notes)


def test_the_profile_is_exact_where_it_is_expected_to_be_used():
    found = made(isl=3000, osl=150, tp=4)
    profile, engine = found.data.engines(), Made(4, 600_000)
    assert profile.prefill.ttft_ms(3000) == pytest.approx(engine.ttft_ms(3000))
    assert profile.decode.itl_ms(20, 3075) == pytest.approx(engine.itl_ms(20, 3075), rel=0.01)
    assert (profile.prefill.gpus, profile.decode.gpus, profile.decode.max_kv_tokens) == (4, 4, 600_000)
    assert profile.provenance.details["package"] == "made 1"
    assert profile.warnings == ()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_gpus": 1}, "--max-gpus 1 cannot hold a prefill and a decode engine"),
        ({"max_gpus": 2}, "no engines fit into --max-gpus 2. TP 1: no room for the weights"),
        ({"tp": 8, "max_gpus": 8}, "--tp 8 of both engines takes 16 of --max-gpus 8"),
        ({"tp": 2, "isl": 300_000}, "KV cache holds 200000 tokens, fewer than one request has"),
    ],
)
def test_what_does_not_fit_is_explained(options, complaint):
    with pytest.raises(MakingError, match=complaint.replace("(", r"\(")):
        made(**options)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    real = builtins.__import__

    def without(name, *rest, **others):
        if name.startswith(("aiconfigurator", "aisimulate")):
            raise ImportError(name)
        return real(name, *rest, **others)

    monkeypatch.setattr("profiles.making.configurator.importlib.import_module", without)
    arguments = ["--model", "Qwen/Qwen3-32B", "--system", "h200", "--profile-results-dir", str(tmp_path)]
    assert main(["profile", "estimate", *arguments]) == 2
    assert "pip install 'sla-planner[aic]'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def aic():
    """AI Configurator, without which the tests of its figures are skipped, but fail where CI is to run everything."""
    if importlib.util.find_spec("aiconfigurator_core") is None and importlib.util.find_spec("aisimulate_core") is None:
        message = "AI Configurator is not installed; pip install 'sla-planner[aic]'"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


# As estimated with the data of vLLM 0.24.0 when this was written; other data may move it a little.
def test_the_figures_of_a_known_case(aic, tmp_path, capsys):
    arguments = ["--model", "qwen/qwen3-32b", "--system", "h200", "--isl", "3000", "--osl", "150", "--itl", "30"]
    assert main(["profile", "estimate", *arguments, "--profile-results-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "chosen is TP 1 for prefill and TP 2 for decode" in printed.out
    assert "optimistic" in printed.out
    assert "low-fidelity" not in printed.err
    profile = load_profiles(tmp_path)
    assert (profile.prefill.gpus, profile.decode.gpus) == (1, 2)
    assert profile.prefill.ttft_ms(3000) == pytest.approx(275, rel=0.1)
    assert profile.decode.max_kv_tokens == pytest.approx(751_550, rel=0.1)
    assert profile.decode.operating_point(30, 3075).concurrency == pytest.approx(166, rel=0.15)
    meta = profile.provenance
    assert (meta.how, meta.model, meta.system, meta.backend) == ("estimated", "Qwen/Qwen3-32B", "h200_sxm", "vllm")
    assert meta.backend_version
    assert "aic" in meta.details["package"] or "aisim" in meta.details["package"]

    assert main(["profile", "estimate", *arguments, "--profile-results-dir", str(tmp_path)]) == 2
    assert "give --overwrite" in capsys.readouterr().err


# One tensor parallelism each: most of the time goes into loading the data of a system.
@pytest.mark.parametrize("system", ["h100_sxm", "h200_sxm", "b200_sxm"])
async def test_three_models_on_a_system(aic, system):
    for model in ("Qwen/Qwen3-32B", "meta-llama/Meta-Llama-3.1-8B", "Qwen/Qwen3-30B-A3B"):
        points = {"prefill_points": 5, "context_points": 3, "batch_points": 4}
        found = await estimate(EstimateRequest(model=model, system=system, tp=2, ttft_ms=2000, itl_ms=60, **points))
        profile = found.data.engines()
        assert found.prefill.feasible
        assert found.decode.feasible
        assert profile.prefill.ttft_ms(6000) > 1.5 * profile.prefill.ttft_ms(2000)
        assert profile.decode.itl_ms(64, 3000) > profile.decode.itl_ms(1, 3000)
        assert profile.decode.max_kv_tokens > 10_000


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"system": "h900"}, "--system 'h900' is not supported; choose from .*h200_sxm"),
        ({"backend": "mocker"}, "--backend 'mocker' is not supported on h200_sxm; choose from sglang, trtllm, vllm"),
        ({"backend_version": "0.1"}, "--backend-version '0.1' of vllm on h200_sxm is not supported; there is data of"),
        ({"model": "Qwen/Qwen3-33B"}, "did you mean .*Qwen/Qwen3-32B.*Known are: "),
        ({"model": "/tmp"}, "the folder /tmp has no config.json"),
    ],
)
def test_what_is_not_supported_is_named_with_what_is(aic, options, complaint):
    with pytest.raises(MakingError, match=complaint):
        Configurator(**{"model": "Qwen/Qwen3-32B", "system": "h200", "backend": "vllm", **options})
