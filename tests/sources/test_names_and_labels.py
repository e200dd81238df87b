"""What metrics are called, and which series are ours."""

from __future__ import annotations

import re

import pytest

from planner.sources.base import SourceError
from planner.sources.mapping import PRESETS, load_mapping
from planner.sources.selection import NotYetError, Selection, select

DYNAMO = load_mapping("dynamo")


@pytest.mark.parametrize(
    ("preset", "names"),
    [
        ("dynamo", {"dynamo_frontend_requests_started_total", "dynamo_frontend_time_to_first_token_seconds_bucket"}),
        ("vllm", {"vllm:request_success_total", "vllm:num_requests_waiting", "vllm:e2e_request_latency_seconds_sum"}),
        ("sglang", {"sglang:num_requests_total", "sglang:prompt_tokens_total", "sglang:num_queue_reqs"}),
    ],
)
def test_presets_have_the_names_of_their_projects(preset, names):
    assert preset in PRESETS
    assert names <= load_mapping(preset).names()


def test_a_mapping_of_one_s_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "model_label: model\ncompletions: [done_total]\nttft: [ttft]\nitl: [itl]\n"
        "isl: [{sum: in_total, count: done_total}]\nosl: [out]\n"
    )
    mapping = load_mapping("dynamo", file)
    assert mapping.isl[0].bucket is None
    assert {"ttft_sum", "ttft_count", "ttft_bucket", "in_total"} <= mapping.names()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read"),
        ("a: [", "cannot be read"),
        ("- a", "the file"),
        ("model_label: model", "completions: Field required"),
        ("model_label: m\ncompletions: []\nttft: [a]\nitl: [a]\nisl: [a]\nosl: [a]", "completions: "),
        ("model_label: m\ncompletions: [a]\nttft: [a]\nitl: [a]\nisl: [a]\nosl: [a]\ncolour: red", "colour: "),
        ("model_label: m\ncompletions: [a]\nttft: [{sum: a}]\nitl: [a]\nisl: [a]\nosl: [a]", "ttft.0.count"),
    ],
)
def test_a_bad_mapping_names_the_file_and_the_key(tmp_path, content, complaint):
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SourceError) as refused:
        load_mapping("dynamo", file)
    assert str(file) in str(refused.value)
    assert complaint in str(refused.value)


def test_models_match_in_any_case_and_unknown_ones_are_none():
    ours = Selection(model="Qwen/Qwen3-0.6B", present=True)
    assert ours.takes(DYNAMO, {"model": "qwen/qwen3-0.6b"})
    assert not ours.takes(DYNAMO, {"model": "qwen/qwen3-0x6b"})
    assert not Selection().takes(DYNAMO, {"model": "unknown_model"})


def test_matchers_escape_what_means_something_in_a_pattern_or_a_string():
    matchers = Selection(model='a.b "c"\\', namespace='n"').matchers(DYNAMO)
    assert matchers[0] == 'dynamo_namespace="n\\""'
    quoted = re.fullmatch(r'model=~"(.*)"', matchers[1]).group(1)
    pattern = quoted.replace('\\"', '"').replace("\\\\", "\\")
    assert re.fullmatch(pattern, 'A.B "C"\\')
    assert not re.fullmatch(pattern, 'axb "c"\\')


def seen(*models, **labels):
    return [{"model": model, **labels} for model in models]


def test_the_only_model_is_taken():
    assert select(DYNAMO, seen("tiny", "unknown_model"), model_name=None, namespace="dynamo").model == "tiny"


def test_spellings_of_one_model_are_one():
    assert select(DYNAMO, seen("tiny", "Tiny"), model_name=None, namespace=None).model in {"tiny", "Tiny"}


def test_several_models_need_a_name():
    with pytest.raises(SourceError, match=r"model has several values: 'huge', 'tiny'. Set --model-name"):
        select(DYNAMO, seen("tiny", "huge"), model_name=None, namespace=None)


def test_a_model_that_is_not_there_is_an_error_that_names_the_label():
    with pytest.raises(SourceError, match="no series has model='big'"):
        select(DYNAMO, seen("tiny"), model_name="big", namespace=None)


def test_nothing_there_yet_is_no_error():
    assert not select(DYNAMO, [], model_name="big", namespace="dynamo").present


def test_the_namespace_counts_only_where_series_carry_one():
    assert select(DYNAMO, seen("tiny"), model_name=None, namespace="dynamo").namespace is None
    ours = seen("tiny", dynamo_namespace="ours")
    theirs = seen("huge", dynamo_namespace="theirs")
    assert select(DYNAMO, ours + theirs, model_name=None, namespace="ours").model == "tiny"
    with pytest.raises(NotYetError, match="'theirs'"):
        select(DYNAMO, theirs, model_name=None, namespace="ours")
