import json

import pytest

from planner import Observation, Planner, Settings
from planner.simulation.trace import TraceError


def write_trace(path, counts, *, interval_s=60, isl=1000, osl=100):
    lines = []
    for index, count in enumerate(counts):
        for number in range(count):
            ms = 1000 * (index * interval_s + number * interval_s / max(count, 1))
            lines.append(json.dumps({"timestamp": ms, "input_length": isl, "output_length": osl}))
    path.write_text("\n".join(lines))
    return path


def make(profile, trace, predictor="kalman"):
    settings = Settings(adjustment_interval=60, load_predictor=predictor, load_predictor_warmup_trace=trace)
    return Planner(settings, profile=profile)


def seen(index, requests, **fields):
    return Observation(time=1_700_000_000 + 60.0 * index, interval=60.0, requests_started=requests, **fields)


def test_a_warm_planner_knows_the_load_from_the_first_interval(profile, tmp_path):
    trace = write_trace(tmp_path / "trace.jsonl", [120] * 10)
    forecast = make(profile, trace).step(seen(0, 120.0, isl=1000.0, osl=100.0)).explanation.forecast
    assert forecast.requests == pytest.approx(120, rel=0.01)
    blind = make(profile, trace).step(seen(0, None))
    assert blind.explanation.forecast.requests == pytest.approx(120, rel=0.05)
    assert blind.explanation.forecast.isl == pytest.approx(1000, rel=1e-4)


def test_idleness_between_the_trace_and_the_first_request_is_no_load(profile, tmp_path):
    planner = make(profile, write_trace(tmp_path / "trace.jsonl", [120] * 10))
    for index in range(5):
        planner.step(seen(index, 0.0))
    forecast = planner.step(seen(5, 120.0, isl=1000.0, osl=100.0)).explanation.forecast
    assert forecast.requests == pytest.approx(120, rel=0.02)


def test_a_model_is_fitted_once_to_the_whole_trace(profile, tmp_path, monkeypatch):
    windows = []

    def fit(window, interval_s):
        windows.append(window)
        raise RuntimeError

    monkeypatch.setattr("predictors.prophet.fit_prophet", fit)
    planner = make(profile, write_trace(tmp_path / "trace.jsonl", [30, 40, 50, 60]), predictor="prophet")
    planner.learn(seen(0, None))
    assert [len(window) for window in windows] == [4] * 5, "request count, ISL, OSL, tokens of inputs and outputs"
    times = [time for time, _ in windows[0]]
    assert times[-1] == 1_700_000_000 - 60, "the trace ends where the first interval begins"


def test_bad_lines_are_reported_and_a_bad_file_is_refused(profile, tmp_path):
    trace = write_trace(tmp_path / "trace.jsonl", [3, 3])
    trace.write_text("oops\n" + trace.read_text())
    assert any("1 line is no request" in warning for warning in make(profile, trace).warnings)
    with pytest.raises(TraceError, match="cannot be read"):
        make(profile, tmp_path / "none.jsonl")
