import math
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise

import pytest
from prometheus_client import generate_latest

from connectors.base import Applied, Outcome, WorkerCounts
from planner import Observation, Planner, Settings, Workers
from planner.report.gpu_hours import GpuMeter
from planner.report.metrics import PlannerMetrics, held_because
from planner.report.record import Record
from planner.sources.base import SourceStatus

DYNAMO_0_9 = [
    "num_p_workers",
    "num_d_workers",
    "gpu_hours",
    "observed_ttft",
    "observed_itl",
    "observed_request_rate",
    "observed_request_duration",
    "observed_isl",
    "observed_osl",
    "p_correction_factor",
    "d_correction_factor",
    "predicted_request_rate",
    "predicted_isl",
    "predicted_osl",
    "predicted_num_p",
    "predicted_num_d",
]

# Half an hour with three workers.
METER = GpuMeter((1, 1))
for _time in (0.0, 1800.0):
    METER.read(_time, WorkerCounts(prefill=Workers(1), decode=Workers(2)))


@pytest.fixture
def metrics():
    return PlannerMetrics()


@pytest.fixture
def planner(profile):
    return Planner(Settings(adjustment_interval=60, load_predictor="constant", max_gpu_budget=32), profile=profile)


def observation(index=1, **fields):
    known = {"requests_started": 1200, "isl": 2000.0, "osl": 300.0, "ttft_ms": 200.0, "itl_ms": 15.0}
    return Observation(time=60.0 * index, interval=60.0, **{**known, **fields})


def sample(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_every_name_of_dynamo_0_9_is_exported_from_the_start(metrics):
    text = generate_latest(metrics.registry).decode()
    for name in DYNAMO_0_9:
        assert f"\nplanner:{name} " in text
    assert math.isnan(sample(metrics, "planner:observed_ttft")), "unknown is not zero"


def test_everything_else_has_one_prefix(metrics):
    for family in metrics.registry.collect():
        assert family.name.startswith(("planner:", "dynamo_planner_", "sla_planner")), family.name


def test_the_stored_dashboard_of_dynamo_1_finds_its_names(metrics, planner):
    metrics.decided(planner.step(observation(1)))
    assert sample(metrics, "dynamo_planner_predicted_requests_per_second") == 20
    assert math.isnan(sample(metrics, "dynamo_planner_observed_ttft_ms"))
    assert sample(metrics, "dynamo_planner_gpu_hours") == 0
    for name in ("num_prefill_workers", "num_decode_workers", "observed_itl_ms", "observed_requests_per_second"):
        assert sample(metrics, f"dynamo_planner_{name}") is not None


def test_a_target_that_turns_round_is_counted(metrics, planner):
    decision = planner.step(observation(1))
    targets, reversals = [1, 2, 4, 4, 3, 2, 2, 5], []
    for before, target in pairwise(targets):
        pool = replace(decision.explanation.prefill, previous=before, target=target)
        metrics.decided(replace(decision, explanation=replace(decision.explanation, prefill=pool)))
        reversals.append(sample(metrics, "sla_planner_target_reversals_total", pool="prefill"))
    assert reversals == [0, 0, 0, 1, 1, 1, 2]


def test_what_it_runs_with_and_quantiles(metrics):
    metrics.configured(mode="agg", interval_s=60.0, max_gpus=None)
    assert (
        metrics.registry.get_sample_value("sla_planner_info", {"version": version("sla-planner"), "mode": "agg"}) == 1
    )
    assert sample(metrics, "sla_planner_adjustment_interval_seconds") == 60
    assert math.isnan(sample(metrics, "sla_planner_gpu_budget"))
    metrics.configured(mode="disagg", interval_s=60.0, max_gpus=8)
    assert sample(metrics, "sla_planner_gpu_budget") == 8
    status = SourceStatus(series_matched={}, errors={}, newest_data=None)
    metrics.observed(observation(1, ttft_quantiles_ms={0.95: 900.0}), status, METER)
    assert sample(metrics, "sla_planner_observed_latency_quantile_ms", pool="prefill", quantile="0.95") == 900
    metrics.observed(observation(2), status, METER)
    assert math.isnan(sample(metrics, "sla_planner_observed_latency_quantile_ms", pool="prefill", quantile="0.95"))


def test_what_was_seen_and_decided_is_exported(metrics, planner):
    seen = observation(prefill=Workers(1), decode=Workers(2, pending=1))
    status = SourceStatus(series_matched={"ttft_ms": 3}, errors={"osl": "timed out"}, newest_data=55.0)
    decision = planner.step(seen)
    metrics.observed(seen, status, METER)
    metrics.counted(WorkerCounts(prefill=seen.prefill, decode=seen.decode))
    metrics.decided(decision)
    assert sample(metrics, "planner:observed_ttft") == 200
    assert sample(metrics, "planner:observed_request_rate") == 20
    assert sample(metrics, "planner:num_d_workers") == 2
    assert sample(metrics, "planner:gpu_hours") == 1.5
    assert sample(metrics, "sla_planner_gpus") == 3
    assert sample(metrics, "planner:predicted_request_rate") == 20
    assert sample(metrics, "planner:predicted_num_p") == decision.explanation.prefill.required
    assert sample(metrics, "sla_planner_workers", pool="decode", state="pending") == 1
    assert sample(metrics, "sla_planner_target_workers", pool="decode") == decision.decode
    assert sample(metrics, "sla_planner_series_matched", field="ttft_ms") == 3
    assert sample(metrics, "sla_planner_source_errors_total", field="osl") == 1
    assert sample(metrics, "sla_planner_data_age_seconds") == 5


def test_the_forecast_is_held_against_what_came(metrics, planner):
    status = SourceStatus(series_matched={}, errors={}, newest_data=None)
    metrics.decided(planner.step(observation(1)))
    metrics.observed(observation(2, requests_started=1000, osl=None), status, METER)
    assert sample(metrics, "sla_planner_forecast_error_ratio", series="requests") == pytest.approx(0.2)
    assert sample(metrics, "sla_planner_forecast_error_ratio", series="isl") == 0
    assert math.isnan(sample(metrics, "sla_planner_forecast_error_ratio", series="osl"))


def record(planner, seen, outcome=None, *, overdue=False):
    applied = Applied(outcome=outcome, detail="", overdue=overdue) if outcome else None
    return Record(observation=seen, decision=planner.step(seen), applied=applied, duration_s=0.1)


def test_held_adjustments_are_counted_by_reason(metrics, planner):
    workers = {"prefill": Workers(1), "decode": Workers(1)}
    waiting = record(planner, observation(1, requests_started=60_000, **workers), Outcome.WAITING)
    blind = record(planner, observation(2, requests_started=None, **workers))
    applied = record(planner, observation(3, requests_started=60_000, **workers), Outcome.APPLIED, overdue=True)
    unreachable = record(planner, observation(4, requests_started=60_000, **workers))
    assert [held_because(one) for one in (waiting, blind, applied, unreachable)] == [
        "waiting",
        "blind",
        None,
        "unreachable",
    ]
    for one in (waiting, blind, applied):
        metrics.ended(one)
    assert sample(metrics, "sla_planner_held_ticks_total", reason="waiting") == 1
    assert sample(metrics, "sla_planner_held_ticks_total", reason="blind") == 1
    assert sample(metrics, "sla_planner_ticks_total", action="scale") == 2
    assert sample(metrics, "sla_planner_overdue_acknowledgements_total") == 1
