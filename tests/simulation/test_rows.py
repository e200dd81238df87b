"""Requests as the rows of a CSV file, and dates and times as timestamps."""

import gzip

import pytest

from planner.simulation.arrival import Arrival
from planner.simulation.arrivals import Cut, read
from planner.simulation.rates import holds_rates
from planner.simulation.rows import RequestColumns, seconds
from planner.simulation.trace import Trace, TraceRequest

EXPECTED = [TraceRequest(1_700_158_623.5, 374, 44), TraceRequest(1_700_158_624.25, 396, 109)]


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,input_length,output_length\n1700158623500,374,44\n1700158624250,396,109\n",
        "Timestamp_S,ISL,OSL\r\n1700158623.5,374,44\r\n1700158624.25,396,109\r\n",
        'OSL , "input_length",timestamp_ms,user\n44,374,1700158623500,"a, b"\n109,396,1700158624250,c\n',
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.5000000,374,44\n2023-11-16 19:17:04.25+01:00,396,109\n",
        '{"timestamp": "2023-11-16T18:17:03.500Z", "input_length": 374, "output_length": 44}\n'
        '{"timestamp": 1700158624250, "input_length": "396", "output_length": 109}\n',
    ],
)
def test_requests_are_the_same_however_they_are_written(tmp_path, text):
    (tmp_path / "trace").write_text(text)
    trace = Trace(tmp_path / "trace")
    assert list(trace) == EXPECTED
    assert trace.complaint is None
    packed = tmp_path / "trace.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert list(Trace(packed)) == EXPECTED


def test_rows_that_are_no_requests_are_left_out(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("timestamp,isl,osl\n0,1,1\nx,1,1\n5\n10,0,1\n20,1,1\n")
    trace = Trace(path)
    assert [one.time_s for one in trace] == [0.0, 0.02]
    assert trace.bad_line_numbers == [3, 4, 5]


def test_a_csv_of_requests_is_not_sampled(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("timestamp,input_length,output_length\n5000,10,2\n7000,20,3\n")
    assert not holds_rates(path)
    assert list(read(path, Cut())) == [Arrival(0.0, 10, 2), Arrival(2.0, 20, 3)]


@pytest.mark.parametrize(
    "heading",
    ["", "{}", "timestamp,isl", "timestamp_s,request_rate,isl,osl", "a,b,c", '{"timestamp": 1, "isl": 2, "osl": 3}'],
)
def test_what_is_no_heading_of_requests(heading):
    assert RequestColumns.of(heading) is None


def test_a_time_is_a_number_or_a_date():
    assert seconds(1500, 1000.0) == 1.5
    assert seconds("1970-01-01", 1000.0) == 0.0
    with pytest.raises(ValueError, match="Invalid isoformat"):
        seconds("noon", 1000.0)
