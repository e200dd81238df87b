import os
import subprocess
import sys
import time

import pytest

from predictors import InlineFitter, PredictorOptions, ProcessFitter, make_predictor
from predictors.fitting import Fit
from predictors.threads import VARIABLES


def double(value):
    return 2 * value


def where():
    return os.getpid()


def hang():
    time.sleep(60)


def fail():
    raise ValueError("no")


def threads():
    return [os.environ.get(name) for name in VARIABLES]


@pytest.fixture
def fitter():
    fitter = ProcessFitter(time_limit_s=120)
    yield fitter
    fitter.close()


def test_a_fit_runs_in_another_process(fitter):
    assert fitter.submit(double, 21).result(120) == 42
    assert fitter.submit(where).result(120) != os.getpid()


def test_a_fit_has_one_thread_for_linear_algebra_unless_the_user_says_otherwise(fitter, monkeypatch):
    for name in VARIABLES[1:]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(VARIABLES[0], "3")
    assert fitter.submit(threads).result(20) == ["3", "1", "1"]
    assert threads() == ["3", None, None], "only there"


def test_the_program_it_is_a_guest_of_is_not_run_again(tmp_path):
    program = tmp_path / "unguarded.py"
    program.write_text(
        "from math import sqrt\n"
        "from predictors import ProcessFitter\n"
        "print('begun')\n"
        "fitter = ProcessFitter(time_limit_s=120)\n"
        "print(fitter.submit(sqrt, 9).result(120), __spec__, __file__ is not None)\n"
        "fitter.close()\n",
        encoding="utf-8",
    )
    run = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.splitlines() == ["begun", "3.0 None True"]
    assert run.stderr == ""


def test_a_fit_that_takes_too_long_is_killed_and_the_next_one_runs():
    fitter = ProcessFitter(time_limit_s=1)
    try:
        fit = Fit(fitter)
        fit.begin(hang)
        with pytest.raises(TimeoutError):
            fit.pending.result(120)
        assert fit.collect() is None
        assert fit.last_error.startswith("TimeoutError")
        fit.begin(double, 4)
        fit.pending.result(120)
        assert fit.collect() == 8
        assert fit.last_error is None
    finally:
        fitter.close()


def test_closing_ends_a_fit_at_once():
    fitter = ProcessFitter(time_limit_s=60)
    fitter.submit(double, 1).result(120)
    fitter.submit(hang)
    started = time.monotonic()
    fitter.close()
    assert time.monotonic() - started < 2


def test_closing_without_a_fit_is_free():
    ProcessFitter(time_limit_s=1).close()


def test_a_failed_fit_is_remembered_not_raised():
    fit = Fit(InlineFitter())
    fit.begin(fail)
    assert fit.collect() is None
    assert fit.last_error == "ValueError: no"


def test_at_most_one_fit_is_under_way():
    class Never:
        def __init__(self):
            self.submitted = 0

        def submit(self, fit, *arguments):
            from concurrent.futures import Future

            self.submitted += 1
            return Future()

    never = Never()
    predictor = make_predictor("arima", PredictorOptions(interval_s=60), never)
    for index in range(40):
        predictor.observe(float(index % 5 + 1))
        assert predictor.forecast().mean == index % 5 + 1, "the last value answers meanwhile"
    assert never.submitted == 1
    assert predictor.pending is not None


def test_arima_fits_in_the_other_process_and_its_result_is_taken_up(fitter):
    predictor = make_predictor("arima", PredictorOptions(interval_s=60), fitter)
    for index in range(30):
        predictor.observe(100.0 + 30 * (index % 3))
        if predictor.pending is not None:
            predictor.pending.result(30)
    assert predictor.last_error is None
    predictor.observe(100.0)
    assert predictor.forecast().mean != 100.0, "a model answers, not the last value"


def test_prophet_says_nothing_of_its_own():
    program = (
        "from predictors.prophet import fit_prophet; fit_prophet([(60.0 * i, 5.0 + i % 3) for i in range(9)], 60.0)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout + ran.stderr == ""
