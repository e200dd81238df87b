"""Traces by intervals, as predictors see them."""

import json

import pytest

from planner.simulate.series import read_series
from planner.simulation.trace import TraceError

HEADER = "timestamp_s,request_rate,isl,osl\n"


def test_rows_are_put_together_weighed_by_their_requests(tmp_path):
    (tmp_path / "a.csv").write_text(HEADER + "0,1,100,10\n60,3,500,50\n120,0,0,0\n180,0,0,0\n240,1,1,1\n")
    values = read_series(tmp_path / "a.csv", 120).values
    assert values == {"requests": [240, 0], "isl": [400, None], "osl": [40, None]}


def test_an_interval_with_a_row_missing_is_unknown(tmp_path):
    times = [0, 60, 120, 240, 300.5, 360, 420]
    (tmp_path / "a.csv").write_text(HEADER + "".join(f"{time},1,100,10\n" for time in times))
    assert read_series(tmp_path / "a.csv", 60).values["requests"] == [60, 60, 60, None, 60, 60, 60, 60]
    assert read_series(tmp_path / "a.csv", 120).values["isl"] == [100, None, 100, 100]


def test_rows_at_any_distance_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text(HEADER + "".join(f"{time},1,100,10\n" for time in (0, 60, 120, 205, 265, 325)))
    with pytest.raises(TraceError, match=r"at 205 s begins 3\.42 rows after the first"):
        read_series(tmp_path / "a.csv", 60)


def test_a_part_of_a_trace(tmp_path):
    lines = [json.dumps({"timestamp": 1000 * second, "input_length": 5, "output_length": 5}) for second in range(1200)]
    (tmp_path / "a.jsonl").write_text("\n".join(["{", *lines]))
    recorded = read_series(tmp_path / "a.jsonl", 60, start_s=120, duration_s=600)
    assert recorded.values["requests"] == [60] * 10
    assert recorded.trace.bad_line_numbers == [1]
