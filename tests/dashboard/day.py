"""A day as a planner would have recorded it."""

from __future__ import annotations

import math
import time

from connectors.base import Applied, Outcome
from planner import Observation, Planner, Settings, Workers
from planner.report.life import Life
from planner.report.record import Kind, Record
from planner.report.store import HistoryStore
from planner.sources.base import SourceStatus
from profiles import sample_profile_dir

RECORDS = 1440
OPTIONS = {
    "namespace": "chat-production",
    "model_name": "llama-3.1-70b",
    "environment": "virtual",
    "profile_results_dir": str(sample_profile_dir()),
    "ttft": 500.0,
    "itl": 20.0,
    "isl": 3000.0,
    "osl": 250.0,
    "max_gpu_budget": 8,
    "load_predictor": "constant",
    "sizing": "throughput",
}


def day_of_records(end, count=RECORDS, **options):
    """A day with a rush at noon that meets the budget, a blind quarter of an hour, and a night."""
    settings = Settings(**{**OPTIONS, **options}, adjustment_interval=60, scale_down_window=300)
    planner = Planner(settings)
    gpus = sum(planner.engine_gpus) / 2
    workers = [0, 1] if settings.aggregated else [1, 1]
    gpu_hours = 0.0
    for number in range(count):
        moment = end - (count - 1 - number) * 60.0
        hour = number / count * 24
        wave = math.exp(-(((hour - 12) / 3.2) ** 2)) + 0.55 * math.exp(-(((hour - 19) / 1.8) ** 2))
        ripple = 0.06 * math.sin(number * 0.9) + 0.05 * math.sin(number * 0.37 + 1)
        rate = (3 + 70 * wave) * (1 + ripple)
        blind = 500 <= number < 515
        crowded = rate / (workers[settings.aggregated] * 15)
        observation = Observation(
            time=moment,
            interval=60.0,
            requests_started=None if blind else round(rate * 60),
            requests_completed=None if blind else round(rate * 60),
            isl=None if blind else 3000 * (1 + 0.08 * math.sin(hour / 3) + ripple / 3),
            osl=None if blind else 250 * (1 + 0.1 * math.cos(hour / 4) - ripple / 3),
            ttft_ms=None if blind else 110 + 180 * crowded**3,
            itl_ms=None if blind else 6 + 9 * rate / (workers[1] * 25),
            ttft_quantiles_ms=None if blind else {0.5: 100 + 150 * crowded**3, 0.95: 190 + 320 * crowded**3},
            itl_quantiles_ms=None if blind else {0.5: 6 + 8 * rate / (workers[1] * 25), 0.95: 9 + 11 * rate / 100},
            inflight=None if blind else round(rate * 2.4),
            queued=None if blind else max(0, round((crowded - 1) * 20)),
            prefill=Workers(workers[0]),
            decode=Workers(workers[1]),
        )
        decision = planner.step(observation)
        scaled = decision.action == "scale"
        workers = [decision.prefill, decision.decode]
        gpu_hours += sum(workers) * gpus / 60
        yield Record(
            observation=observation,
            decision=decision,
            applied=Applied(outcome=Outcome.APPLIED, detail="decision published") if scaled else None,
            duration_s=0.012,
            kind=Kind.ADJUSTMENT,
            source=SourceStatus(
                series_matched={"requests_started": 0 if blind else 2, "isl": 2},
                errors={"requests_started": "connection refused"} if blind else {},
                newest_data=moment - (60.0 * (number - 499) if blind else 2.0),
            ),
            gpu_hours=gpu_hours,
        )


def write_history(path, records, **options):
    """Keep records as a planner with these options would have."""
    store = HistoryStore(path)
    store.open(
        Life(started=time.time(), version="0.1.0", settings=Settings(**{**OPTIONS, **options}).model_dump(mode="json"))
    )
    for record in records:
        store.add(record)
    store.close()
