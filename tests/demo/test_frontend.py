"""The stand-in's metrics pages against what a Dynamo frontend writes."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from planner.demo.frontend import Frontend
from planner.simulation.request import Request

# Families and labels of real pages, without the label of histogram buckets.
COMMON = {
    "disconnected_clients": ("gauge", set()),
    "inflight_requests": ("gauge", {"model"}),
    "queued_requests": ("gauge", {"model"}),
    "time_to_first_token_seconds": ("histogram", {"model"}),
    "inter_token_latency_seconds": ("histogram", {"model"}),
    "input_sequence_tokens": ("histogram", {"model"}),
    "output_sequence_tokens": ("histogram", {"model"}),
    "request_duration_seconds": ("histogram", {"model"}),
    "output_tokens": ("counter", {"model"}),
}
CALL = {"endpoint", "model", "request_type"}
FAMILIES = {
    "0.9": {**COMMON, "requests": ("counter", {*CALL, "status"})},
    "1.6": {
        **COMMON,
        "active_requests": ("gauge", {"model"}),
        "requests_started": ("counter", CALL),
        "requests": ("counter", {*CALL, "status", "error_type"}),
    },
}


def served(version, requests=3, isl=1000, osl=11, ttft_s=0.3, itl_s=0.02):
    frontend = Frontend("tiny", version=version)
    for _ in range(requests):
        request = Request(0.0, isl, osl)
        frontend.arrived(request)
        request.first_token_s = ttft_s
        frontend.first_token(request)
        request.completed_s = ttft_s + itl_s * (osl - 1)
        frontend.completed(request)
    return frontend


def families(frontend):
    return {
        family.name.removeprefix("dynamo_frontend_"): family
        for family in text_string_to_metric_families(frontend.page().decode())
    }


def samples(frontend):
    return {
        (sample.name.removeprefix("dynamo_frontend_"), sample.labels.get("le")): sample.value
        for family in families(frontend).values()
        for sample in family.samples
    }


@pytest.mark.parametrize("version", FAMILIES)
def test_families_types_and_labels_are_those_of_the_version(version):
    found = {
        name: (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
        for name, family in families(served(version)).items()
    }
    assert found == FAMILIES[version]


def test_a_frontend_that_was_never_called_shows_no_series_of_a_model():
    assert list(families(Frontend("tiny"))) == ["disconnected_clients"]


def test_sums_are_in_seconds_and_tokens():
    found = samples(served("1.6"))
    assert found["requests_started_total", None] == 3
    assert found["requests_total", None] == 3
    assert found["input_sequence_tokens_sum", None] == 3000
    assert found["output_tokens_total", None] == 33
    assert found["time_to_first_token_seconds_sum", None] == pytest.approx(0.9)
    assert found["inter_token_latency_seconds_count", None] == 30
    assert found["inter_token_latency_seconds_sum", None] == pytest.approx(0.6)
    assert found["request_duration_seconds_sum", None] == pytest.approx(1.5)


def test_buckets_are_cumulative_and_have_the_real_bounds():
    found = samples(served("1.6"))
    assert found["time_to_first_token_seconds_bucket", "0.22"] == 0
    assert found["time_to_first_token_seconds_bucket", "0.47"] == 3
    assert found["time_to_first_token_seconds_bucket", "+Inf"] == 3
    assert found["inter_token_latency_seconds_bucket", "0.02"] == 30


def test_requests_under_way_are_in_flight_and_queued_until_their_first_token():
    frontend = Frontend("tiny")
    request = Request(0.0, 10, 5)
    frontend.arrived(request)
    found = samples(frontend)
    assert (found["inflight_requests", None], found["queued_requests", None]) == (1, 1)
    request.first_token_s = 0.1
    frontend.first_token(request)
    found = samples(frontend)
    assert (found["inflight_requests", None], found["queued_requests", None]) == (1, 0)
