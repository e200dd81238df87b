"""Where requests come from."""

import gzip
import itertools
import json
import tracemalloc

import numpy as np
import pytest

from planner.simulation.arrival import Arrival
from planner.simulation.arrivals import Cut, cut, read
from planner.simulation.pattern import PATTERNS, Pattern, generate
from planner.simulation.rates import Rates, read_rates, sample
from planner.simulation.trace import TraceError


def stream(count=1000, gap=0.1):
    return iter([Arrival(50.0 + gap * index, 100, 10) for index in range(count)])


def test_a_cut_begins_at_zero_and_is_as_long_as_asked():
    taken = list(cut(stream(), Cut(start_s=20.0, duration_s=30.0)))
    assert len(taken) == pytest.approx(300, abs=1)
    assert taken[0].time == pytest.approx(0.0, abs=1e-9)


def test_time_can_run_faster():
    taken = list(cut(stream(), Cut(time_scale=2.0)))
    assert taken[-1].time == pytest.approx(99.9 / 2)


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0, 3.5])
def test_rates_are_scaled_and_order_is_kept(scale):
    taken = list(cut(stream(4000), Cut(rate_scale=scale, seed=3)))
    assert len(taken) == pytest.approx(4000 * scale, rel=0.06)
    assert all(one.time <= other.time for one, other in itertools.pairwise(taken))


def test_files_plain_gzip_and_csv(tmp_path):
    lines = "".join(
        json.dumps({"timestamp": 1000 * index, "input_length": 50, "output_length": 7}) + "\n" for index in range(5)
    )
    (tmp_path / "a.jsonl").write_text(lines)
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as packed:
        packed.write(lines)
    (tmp_path / "a.csv").write_text("timestamp_s,request_rate,isl,osl\n0,20,500,50\n600,0,0,0\n1200,40,800,60\n")
    plain = list(read(tmp_path / "a.jsonl", Cut()))
    assert plain == list(read(tmp_path / "a.jsonl.gz", Cut()))
    assert plain[3] == Arrival(3.0, 50, 7)
    sampled = list(read(tmp_path / "a.csv", Cut(seed=1)))
    assert len(sampled) == pytest.approx(600 * 60, rel=0.02)
    assert not [one for one in sampled if 600 <= one.time < 1200]
    assert np.mean([one.isl for one in sampled if one.time < 600]) == pytest.approx(500, rel=0.03)


def test_a_csv_that_begins_with_silence_begins_with_silence(tmp_path):
    (tmp_path / "a.csv").write_text("timestamp_s,request_rate,isl,osl\n5000,0,0,0\n5600,2,500,50\n6200,0,0,0\n")
    assert 600 <= next(read(tmp_path / "a.csv", Cut())).time < 620
    late = list(read(tmp_path / "a.csv", Cut(start_s=900.0, duration_s=100.0)))
    assert len(late) == pytest.approx(200, rel=0.3)


def test_the_columns_of_a_csv_may_stand_in_any_order_and_case(tmp_path):
    (tmp_path / "a.csv").write_text(" OSL , ISL,Timestamp_S,Request_Rate\n50,500,0,1\n60,600,10,2\n")
    assert read_rates(tmp_path / "a.csv") == [(0, 10, 1, 500, 50), (10, 10, 2, 600, 60)]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a,b\n1,2\n", "has no column isl, osl, request_rate, timestamp_s"),
        ("timestamp_s,request_rate,isl,osl\n0,1,1,1\n", "has 1 row; expected two or more"),
        ("timestamp_s,request_rate,isl,osl\n", "has no rows; expected two or more"),
        ("timestamp_s,request_rate,isl,osl\n0,1e12,1,1\n600,1,1,1\n", "request_rate is '1e12'; expected 1,000,000 at"),
        ("timestamp_s,request_rate,isl,osl\n0,1,1e30,1\n600,1,1,1\n", "isl is '1e30'; expected 1,000,000,000 at"),
        ("timestamp_s,request_rate,isl,osl\n0,1,1,1\n600,many,1,1\n", "line 3: request_rate is 'many'"),
        ("timestamp_s,request_rate,isl,osl\n0,-1,1,1\n600,1,1,1\n", "line 2: request_rate is '-1'"),
        ("timestamp_s,request_rate,isl,osl\n600,1,1,1\n0,1,1,1\n", "line 3: timestamp_s is 0 after 600"),
        ("timestamp_s,request_rate,isl,osl\n600,1,1,1\n600,1,1,1\n", "line 3: timestamp_s is 600 after 600"),
        ("timestamp_s;request_rate;isl;osl\n", "found timestamp_s;request_rate;isl;osl"),
        ("", "found nothing"),
    ],
)
def test_a_bad_csv_names_the_line(tmp_path, content, complaint):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(TraceError, match=complaint):
        read_rates(tmp_path / "a.csv")
    with pytest.raises(TraceError, match="cannot be read"):
        read_rates(tmp_path / "none.csv")


def test_a_long_span_of_rates_is_sampled_part_by_part():
    tracemalloc.start()
    try:
        arrivals = sample([Rates(100.0, 3600.0, 500.0, 1000.0, 100.0)], 1)
        first = next(arrivals)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    times = [first.time, *(arrival.time for arrival in arrivals)]
    assert len(times) == pytest.approx(1_800_000, rel=0.01)
    assert times == sorted(times)
    assert 100 <= times[0] < times[-1] <= 3700


@pytest.mark.parametrize("kind", PATTERNS)
def test_patterns_keep_their_bounds_and_lengths(kind):
    pattern = Pattern(kind=kind, rps=5.0, peak_rps=20.0, period_s=600.0, duration_s=1800.0, isl=900.0, osl=90.0, seed=2)
    taken = list(generate(pattern))
    per_minute = np.bincount([int(one.time // 60) for one in taken], minlength=30) / 60
    assert per_minute.min() >= 3.5
    assert per_minute.max() <= 23
    assert np.mean([one.isl for one in taken]) == pytest.approx(900, rel=0.05)
    assert taken == list(generate(pattern)), "the same seed gives the same arrivals"


@pytest.mark.parametrize("gaps", ["gamma", "weibull"])
@pytest.mark.parametrize("variation", [0.5, 1.0, 2.5])
def test_gaps_vary_as_asked(gaps, variation):
    pattern = Pattern(
        kind="constant", rps=50.0, peak_rps=50.0, duration_s=2000.0, burstiness=variation, gaps=gaps, seed=2
    )
    between = np.diff([arrival.time for arrival in generate(pattern)])
    assert between.mean() == pytest.approx(1 / 50, rel=0.03)
    assert between.std() / between.mean() == pytest.approx(variation, rel=0.05)


def test_requests_that_overtake_each_other_a_little_come_at_once():
    times = [arrival.time for arrival in cut(iter([Arrival(t, 1, 1) for t in (5.0, 7.0, 6.5, 8.0)]), Cut())]
    assert times == [0.0, 2.0, 2.0, 3.0]


def test_a_trace_out_of_order_is_refused():
    with pytest.raises(TraceError, match="not in the order of time: a request at 50 s comes 50 s late"):
        list(cut(iter([Arrival(t, 1, 1) for t in (0.0, 100.0, 50.0)]), Cut()))


def test_a_spreadsheets_csv_and_one_in_gzip_are_understood(tmp_path):
    text = "timestamp_s, request_rate, isl, osl\r\n0, 20, 500, 50\r\n600, 0, 0, 0\r\n"
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert read_rates(tmp_path / "a.csv") == read_rates(tmp_path / "a.csv.gz")
    assert read_rates(tmp_path / "a.csv")[0].rate_rps == 20
    assert list(read(tmp_path / "a.csv.gz", Cut()))


def test_a_gap_of_two_clocks_is_refused_and_a_long_pause_is_not():
    def with_gap(gap_s):
        return iter([Arrival(0.0, 1, 1), Arrival(gap_s, 1, 1)])

    assert len(list(cut(with_gap(86_400.0 * 7), Cut()))) == 2
    with pytest.raises(TraceError, match="nothing arrives for 19676 days"):
        list(cut(with_gap(1.7e9), Cut()))
