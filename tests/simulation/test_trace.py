import gzip
import json

import pytest

from planner.simulation.trace import Trace, TraceError


def line(ms, isl=100, osl=10):
    return json.dumps({"timestamp": ms, "input_length": isl, "output_length": osl})


@pytest.mark.parametrize("packed", [False, True])
def test_requests_by_interval(tmp_path, packed):
    text = "\n".join([line(120_000), line(121_000, isl=300, osl=30), line(250_000)]) + "\n"
    path = tmp_path / ("trace.jsonl.gz" if packed else "trace.jsonl")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    intervals = Trace(path).intervals(60)
    assert [(one.end_s, one.requests, one.isl, one.osl) for one in intervals] == [
        (60, 2, 200, 20),
        (120, 0, None, None),
        (180, 1, 100, 10),
    ]


def test_order_does_not_matter(tmp_path):
    forward, backward = tmp_path / "forward.jsonl", tmp_path / "backward.jsonl"
    lines = [line(ms) for ms in (0, 70_000, 200_000)]
    forward.write_text("\n".join(lines))
    backward.write_text("\n".join(reversed(lines)))
    assert Trace(forward).intervals(60) == Trace(backward).intervals(60)


def test_whole_intervals_begin_with_the_first_request_and_end_before_the_trace_does(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(line(ms) for ms in (70_000, 125_000, 135_000, 189_000, 200_000)))
    assert [one.requests for one in Trace(path).intervals(60)] == [1, 2, 2], "by the clock"
    assert [one.requests for one in Trace(path).intervals(60, whole=True)] == [2, 2]


def test_requests_that_were_overtaken_make_no_first_interval(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(line(ms) for ms in (70_000, 69_000, 75_000, 135_000, 189_000)))
    assert [one.requests for one in Trace(path).intervals(60, whole=True)] == [2, 2]


def test_a_last_interval_that_is_all_but_over_is_whole(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(line(ms) for ms in (0, 61_000, 119_000)))
    assert [one.requests for one in Trace(path).intervals(60, whole=True)] == [1, 2]


def test_bad_lines_are_counted_and_named(tmp_path):
    path = tmp_path / "trace.jsonl"
    bad = ["{", "[]", '{"timestamp": 1}', line(-5), line(5, isl=0), line(5, isl="x"), '{"timestamp": NaN, "a": 1}']
    path.write_text("\n".join([line(0), *bad, "", line(10)]))
    trace = Trace(path)
    assert len(list(trace)) == 2
    assert trace.bad_lines == 7
    assert "7 lines" in trace.complaint
    assert "2, 3, 4, 5, 6, ..." in trace.complaint


def test_what_is_longer_than_any_context_is_no_request(tmp_path):
    (tmp_path / "trace.jsonl").write_text("\n".join((line(0), line(1, isl=1e30), line(2, osl=1e30))))
    trace = Trace(tmp_path / "trace.jsonl")
    assert len(list(trace)) == 1
    assert trace.bad_line_numbers == [2, 3]


def test_a_clean_trace_has_nothing_to_complain_of(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text(line(0))
    trace = Trace(path)
    list(trace)
    assert trace.complaint is None


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found no text$"),
        (b"\n\n", "found no text$"),
        (b"\nhello\nbye\n", "found hello$"),
        (b"\xff\xfe\x00", "found "),
        (b'{"TIMESTAMP": 0}\n', r'found \{"TIMESTAMP": 0\}$'),
        (b"timestamp,isl,osl\n\n", "found a heading, and nothing below it$"),
        (b"[" + b"1, " * 100, r"found \[(1, ){33}\.\.\.$"),
    ],
)
def test_a_file_without_requests_is_refused_with_what_it_begins_with(tmp_path, content, found):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(content)
    with pytest.raises(
        TraceError, match=f"holds no request; expected lines of JSON .*, or CSV with these columns; {found}"
    ):
        list(Trace(path))


def test_a_file_that_is_missing_or_torn_is_refused(tmp_path):
    with pytest.raises(TraceError, match=r"none\.jsonl cannot be read"):
        list(Trace(tmp_path / "none.jsonl"))
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(gzip.compress(("\n".join(line(ms) for ms in range(5000))).encode())[:-200])
    with pytest.raises(TraceError, match="cannot be read"):
        list(Trace(torn))


def test_gzip_is_known_by_its_content(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(gzip.compress(line(0).encode()))
    assert len(list(Trace(path))) == 1


def test_timestamps_of_two_clocks_make_no_intervals(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join([line(0), line(1_700_000_000_000)]))
    with pytest.raises(TraceError, match=r"intervals of 60 s; expected timestamps of one clock, in ms"):
        Trace(path).intervals(60)
