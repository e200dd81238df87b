"""The presets, and mappings that users write."""

from __future__ import annotations

import math

import pytest
import yaml
from pydantic import ValidationError

from planner.demo.frontend import DIALECTS, Frontend
from planner.simulation.request import Request
from planner.sources.base import SourceError
from planner.sources.mapping import PRESETS, Mean, MetricsMapping, load_mapping
from planner.sources.scrape.page import parse_page

LEAST = {
    "model_label": "model",
    "completions": ["done_total"],
    "ttft": ["ttft"],
    "itl": ["itl"],
    "isl": ["isl"],
    "osl": ["osl"],
}


@pytest.fixture
def write(tmp_path):
    """Writes a mapping file: text as it is, all else as YAML."""

    def to_file(content):
        file = tmp_path / "names of mine.yaml"
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return file

    return to_file


def refusal(file):
    with pytest.raises(SourceError) as refused:
        load_mapping("dynamo", file)
    assert str(file) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_names_everything_that_an_observation_holds(preset):
    mapping = load_mapping(preset)
    assert set(mapping.fields()) == {
        "requests_started",
        "requests_completed",
        "inflight",
        "queued",
        "ttft_ms",
        "itl_ms",
        "isl",
        "osl",
        "request_duration_s",
    }
    assert all(names for field, names in mapping.fields().items() if field != "requests_started")
    assert mapping.presence
    assert mapping.model_label


@pytest.mark.parametrize(
    ("preset", "prefix"), [("dynamo", "dynamo_frontend_"), ("vllm", "vllm:"), ("sglang", "sglang:")]
)
def test_all_names_of_a_preset_are_of_its_project(preset, prefix):
    assert all(name.startswith(prefix) for name in load_mapping(preset).names())


def test_labels_of_the_presets():
    assert [load_mapping(preset).model_label for preset in PRESETS] == ["model", "model_name", "model_name"]
    assert [load_mapping(preset).namespace_label for preset in PRESETS] == ["dynamo_namespace", None, None]
    assert load_mapping("dynamo").ignored_models == ("unknown_model",)


def test_vllm_counts_no_arrivals_and_what_waits_is_in_the_system():
    mapping = load_mapping("vllm")
    assert mapping.arrivals == ()
    assert mapping.counters()["requests_started"] == ()
    assert set(mapping.queued) < set(mapping.inflight)


@pytest.mark.parametrize("version", DIALECTS)
def test_the_pages_of_dynamo_have_the_names_of_its_preset(version):
    frontend = Frontend("tiny", version=version)
    request = Request(0.0, 100, 11)
    frontend.arrived(request)
    request.first_token_s, request.completed_s = 0.3, 0.5
    frontend.first_token(request)
    frontend.completed(request)
    mapping = load_mapping("dynamo")
    found = {name for name, _ in parse_page(frontend.page().decode(), mapping.names())}
    missing = set() if DIALECTS[version].counts_arrivals else set(mapping.arrivals)
    assert found == mapping.names() - missing


def test_a_preset_that_is_none_is_named():
    with pytest.raises(SourceError, match="preset llamacpp cannot be read"):
        load_mapping("llamacpp")


def test_a_bare_name_is_that_of_a_histogram():
    assert Mean.model_validate("ttft") == Mean(sum="ttft_sum", count="ttft_count", bucket="ttft_bucket")


def test_a_mean_of_two_counters_has_no_buckets():
    assert Mean.model_validate({"sum": "tokens", "count": "requests"}).bucket is None


def test_the_least_that_a_file_must_have(write):
    mapping = load_mapping("dynamo", write(LEAST))
    assert (mapping.namespace_label, mapping.ignored_models, mapping.arrivals) == (None, (), ())
    assert (mapping.inflight, mapping.queued, mapping.presence, mapping.duration) == ((), (), (), ())
    assert mapping.fields()["ttft_ms"] == ("ttft_count",)
    assert mapping.fields()["request_duration_s"] == ()


def test_a_file_comes_before_the_preset(write):
    assert load_mapping("vllm", write(LEAST)).completions == ("done_total",)
    assert load_mapping("no preset at all", write(LEAST)).completions == ("done_total",)


def test_a_file_may_mix_histograms_and_pairs_of_counters(write):
    pair = {"sum": "in_total", "count": "done_total"}
    mapping = load_mapping("dynamo", write(LEAST | {"isl": ["lengths", pair], "arrivals": ["begun_total", "begun"]}))
    assert [mean.bucket for mean in mapping.isl] == ["lengths_bucket", None]
    assert mapping.arrivals == ("begun_total", "begun")
    assert {"lengths_sum", "lengths_count", "lengths_bucket", "in_total", "begun"} <= mapping.names()


def test_a_preset_saved_as_a_file_is_the_preset(write):
    preset = load_mapping("sglang")
    assert load_mapping("dynamo", write(preset.model_dump(mode="json"))) == preset


def test_a_file_may_be_commented_and_have_names_of_any_alphabet(write):
    file = write("# ours\n" + yaml.safe_dump(LEAST | {"ignored_models": ["modèle inconnu"]}, allow_unicode=False))
    assert load_mapping("dynamo", file).ignored_models == ("modèle inconnu",)


def test_a_mapping_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        load_mapping("dynamo").model_label = "other"


@pytest.mark.parametrize("missing", LEAST)
def test_each_key_that_must_be_there_is_named(write, missing):
    complaint = refusal(write({key: value for key, value in LEAST.items() if key != missing}))
    assert f"{missing}: Field required" in complaint


@pytest.mark.parametrize("empty", ["completions", "ttft", "itl", "isl", "osl"])
def test_a_list_that_must_not_be_empty_is_named(write, empty):
    assert f"{empty}: " in refusal(write(LEAST | {empty: []}))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"model_label": 3}, "model_label"),
        ({"model_label": None}, "model_label"),
        ({"completions": "done_total"}, "completions"),
        ({"completions": [7]}, "completions.0"),
        ({"queued": ["waiting", None]}, "queued.1"),
        ({"ttft": "ttft"}, "ttft"),
        ({"ttft": [1.5]}, "ttft.0"),
        ({"itl": [{"sum": "a", "count": ["b"]}]}, "itl.0.count"),
        ({"osl": ["fine", {"sum": "a", "count": "b", "buckets": "c"}]}, "osl.1.buckets"),
        ({"arivals": ["begun_total"]}, "arivals"),
        ({"namespace_label": ["a"]}, "namespace_label"),
    ],
)
def test_a_bad_value_is_named_by_its_key_beside_the_keys_there_are(write, change, key):
    complaint = refusal(write(LEAST | change))
    assert f"{key}: " in complaint
    assert "Accepted keys: " in complaint
    accepted = complaint.partition("Accepted keys: ")[2]
    assert accepted.split(", ") == list(MetricsMapping.model_fields)


def test_all_that_is_wrong_is_told_at_once(write):
    complaint = refusal(write({"model_label": 3, "completions": ["done_total"], "colour": "red"}))
    for key in ("model_label", "ttft", "itl", "isl", "osl", "colour"):
        assert f"{key}: " in complaint


@pytest.mark.parametrize("content", ["", "# nothing\n", "~", "just words", "3", "- a\n- b", "2026-11-23"])
def test_yaml_that_is_no_mapping_is_refused(write, content):
    assert "the file: " in refusal(write(content))


@pytest.mark.parametrize(
    "content",
    ["a: [", "a: b: c", "\ta: b", "!!python/object/apply:os.getcwd []", "a: &x [*y]", "--- a\n--- b\n", "\x00"],
)
def test_what_is_no_yaml_is_refused(write, content):
    assert "cannot be read" in refusal(write(content))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "cannot be read" in refusal(tmp_path / "nowhere.yaml")


def test_a_folder_is_refused(tmp_path):
    assert "cannot be read" in refusal(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    file = tmp_path / "latin.yaml"
    file.write_bytes("model_label: modèle".encode("latin-1"))
    assert "cannot be read" in refusal(file)


@pytest.mark.parametrize("nonsense", [math.nan, True])
def test_numbers_are_no_names(write, nonsense):
    assert "queued.0: " in refusal(write(LEAST | {"queued": [nonsense]}))
