"""Records as a planner makes them."""

from __future__ import annotations

import json
import math

import pytest

from connectors.base import Applied, Outcome
from planner import Observation, Planner, Settings, Workers
from planner.report.life import Life
from planner.report.record import Record
from planner.report.store import HistoryStore
from planner.sources.base import SourceStatus

EPOCH = 1_700_000_000.0


@pytest.fixture(scope="session")
def make_records(profile):
    """Makes records of a load that comes and goes: ``make_records(10)``, one a minute."""

    def make(number, *, start=EPOCH, interval=60.0, **options):
        settings = Settings(
            **{"adjustment_interval": interval, "load_predictor": "constant", "sizing": "throughput", **options}
        )
        planner = Planner(settings, profile=profile)
        records, prefill, decode = [], 1, 1
        for index in range(1, number + 1):
            seen = Observation(
                time=start + interval * index,
                interval=interval,
                requests_started=round(2000 + 1900 * math.sin(index / 9)),
                isl=3000.0,
                osl=500.0,
                ttft_ms=300.0 + index,
                itl_ms=20.0,
                isl_quantiles={0.5: 2900.0, 0.9: 4000.0},
                inflight=3,
                prefill=Workers(prefill),
                decode=Workers(decode),
            )
            decision = planner.step(seen)
            prefill, decode = decision.prefill, decision.decode
            records.append(
                Record(
                    observation=seen,
                    decision=decision,
                    applied=Applied(outcome=Outcome.APPLIED, detail="done"),
                    duration_s=0.01,
                    source=SourceStatus(series_matched={"isl": 1}, errors={}, newest_data=seen.time - 2),
                    gpu_hours=0.5,
                )
            )
        return records

    return make


@pytest.fixture
def history_file(tmp_path):
    return tmp_path / "state" / "dynamo" / "history.sqlite"


@pytest.fixture
def open_store(history_file):
    """Opens the history file of this test: ``open_store(days=1)``."""
    opened = []

    def start(started=EPOCH, path=history_file, **bounds):
        store = HistoryStore(path, **bounds)
        opened.append(store)
        store.open(Life(started=started, version="1", settings=json.loads(Settings().model_dump_json())))
        return store

    yield start
    for store in opened:
        store.close()
