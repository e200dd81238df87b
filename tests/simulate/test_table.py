"""Scores in a terminal."""

import io

import pytest
from rich.console import Console

from planner.simulate.survey import Survey
from planner.simulate.table import COLUMNS, arrived, tables
from planner.simulation.loop import Run
from planner.simulation.score import Latency, Score

TTFT = Latency(mean=12345.6, p50=1234.5, p90=12345.6, p95=12345.6, p99=123456.7)
ITL = Latency(mean=123.4, p50=12.3, p90=123.4, p95=123.4, p99=1234.5)
SCORE = Score(
    requests=1000,
    infeasible=1,
    within_both=1.0,
    within_ttft=1.0,
    within_itl=1.0,
    worst=1.0,
    ttft=TTFT,
    itl=ITL,
    gpu_hours=1234.5,
    bound_gpu_hours=10.0,
    scalings_per_hour=12.3,
    wasted_worker_minutes=12345.0,
)


@pytest.mark.parametrize(("width", "number"), [(80, 3), (200, 1)])
def test_no_number_is_cut_off(width, number):
    found = tables({"published, constant": Run(score=SCORE, points=())}, width)
    assert len(found) == number
    shown = io.StringIO()
    for one in found:
        Console(file=shown, width=width).print(one)
    text = shown.getvalue()
    assert "…" not in text
    for cell in COLUMNS.values():
        assert cell(SCORE) in text


@pytest.mark.parametrize(
    ("requests", "length_s", "shown"),
    [(10_795, 3.6, "2,999/s"), (300, 60.0, "5/s"), (500, 700.0, "0.714/s"), (10, 3_600_000.0, "0.000003/s")],
)
def test_a_rate_is_never_told_as_a_power_of_ten(requests, length_s, shown):
    seen = Survey(requests=requests, length_s=length_s, isl=1, osl=1, early_rps=1, early_isl=1, early_osl=1)
    assert f", {shown} on average," in arrived(seen)
