"""The mixture: as good as its best model, and honest about what it does not know."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors import InlineFitter, PredictorOptions, make_predictor
from predictors.experts import Regressions
from predictors.season import find_period

STEP_S = 60.0


def run(name, series, horizon=1):
    """Forecasts, each beside what came."""
    predictor = make_predictor(name, PredictorOptions(interval_s=STEP_S), InlineFitter())
    pairs, waiting = [], {}
    for index, value in enumerate(series):
        if value is not None and index in waiting:
            pairs.append((waiting[index], value))
        predictor.observe(value, index * STEP_S)
        waiting[index + horizon] = predictor.forecast(horizon)
    return predictor, pairs


def wape(pairs):
    return sum(abs(value - forecast.mean) for forecast, value in pairs) / sum(value for _, value in pairs)


def walk(seed, length=600):
    return (100 * np.exp(np.cumsum(0.05 * np.random.default_rng(seed).normal(size=length)))).tolist()


def noisy_level(seed, length=600):
    return (100 * np.exp(0.2 * np.random.default_rng(seed).normal(size=length))).tolist()


def days(seed, length=1000, period=144):
    wave = 1 - 0.6 * np.cos(2 * np.pi * np.arange(length) / period)
    return (100 * wave * np.exp(0.05 * np.random.default_rng(seed).normal(size=length))).tolist()


@pytest.mark.parametrize("make", [walk, noisy_level, days])
@pytest.mark.parametrize("horizon", [1, 3])
def test_it_is_hardly_worse_than_the_best_in_hindsight(make, horizon):
    series = make(1)
    best = min(wape(run(name, series, horizon)[1]) for name in ("constant", "kalman"))
    assert wape(run("auto", series, horizon)[1]) <= 1.03 * best


def test_seasons_are_used_once_they_were_seen_twice():
    series = days(2, period=48)
    auto, constant = (run(name, series, 3)[1][200:] for name in ("auto", "constant"))
    assert wape(auto) < 0.75 * wape(constant)


@pytest.mark.parametrize("period", [12, 48, 144])
def test_periods_are_found(period):
    assert find_period(np.log(np.array(days(3, 8 * period, period)))) == pytest.approx(period, abs=2)


@pytest.mark.parametrize("series", [[5.0] * 100, walk(4, 100), noisy_level(5, 200)])
def test_no_period_is_seen_where_there_is_none(series):
    found = find_period(np.log(np.array(series)))
    assert found is None or found > 20


@given(st.floats(0.1, 20).filter(lambda factor: not 0.6 < factor < 1.6), st.integers(0, 999), st.integers(20, 90))
@settings(max_examples=25, deadline=None)
def test_level_shifts_are_followed_within_three_intervals(factor, seed, length):
    level = 100 * np.exp(0.05 * np.random.default_rng(seed).normal(size=length + 3))
    level[length:] *= factor
    predictor, _ = run("auto", level.tolist())
    assert predictor.forecast().mean == pytest.approx(100 * factor, rel=0.25)


@given(st.sampled_from([None, 0.0]), st.integers(1, 40), st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_an_outage_is_over_when_it_is_over(value, length, seed):
    level = (100 * np.exp(0.05 * np.random.default_rng(seed).normal(size=103))).tolist()
    outage = [value] * length
    predictor, _ = run("auto", level[:100] + outage + level[100:])
    assert predictor.forecast().mean == pytest.approx(100, rel=0.25)


def test_a_band_is_as_narrow_as_before_some_time_after_an_outage():
    level = (100 * np.exp(0.05 * np.random.default_rng(3).normal(size=400))).tolist()
    spared, _ = run("auto", level)
    struck, _ = run("auto", level[:200] + [0.0] * 10 + level[200:])
    assert struck.forecast().std <= 2 * spared.forecast().std


def test_a_burst_is_no_new_level():
    level = (100 * np.exp(0.05 * np.random.default_rng(4).normal(size=60))).tolist()
    predictor, _ = run("auto", [*level, 900.0, level[0]])
    assert predictor.forecast().mean < 150


def test_who_cannot_see_is_less_certain():
    predictor, _ = run("auto", noisy_level(9, 100))
    seeing = predictor.forecast(2)
    predictor.observe(None)
    assert predictor.forecast(1).std == pytest.approx(seeing.std, rel=0.01)
    for _ in range(10):
        predictor.observe(None)
    assert predictor.forecast(1).std > seeing.std


@pytest.mark.parametrize("steps", [3, 4])
def test_levels_that_last_some_intervals_are_known_for_what_they_are(steps):
    levels = np.repeat(100 * np.exp(0.4 * np.random.default_rng(5).normal(size=120 // steps)), steps)
    series = (levels * np.exp(0.01 * np.random.default_rng(6).normal(size=120))).tolist()
    assert wape(run("auto", series)[1]) <= 1.1 * wape(run("constant", series)[1]), "also in a short series"


def test_a_gap_does_not_poison_what_follows():
    series = days(7, 400)
    with_gap = series[:200] + [None] * 30 + series[230:]
    _, whole = run("auto", series)
    _, gapped = run("auto", with_gap)
    assert wape(gapped[-150:]) <= 1.1 * wape(whole[-150:])


@pytest.mark.parametrize("name", ["auto", "constant", "kalman"])
@pytest.mark.parametrize("make", [walk, noisy_level, days])
@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_the_quantiles_are_calibrated(name, make, horizon):
    _, pairs = run(name, make(8, 1500), horizon)
    below = np.mean([value <= forecast.quantile(0.9) for forecast, value in pairs])
    above = np.mean([value >= forecast.quantile(0.1) for forecast, value in pairs])
    assert 0.87 <= below <= 0.93
    assert 0.87 <= above <= 0.93


def test_no_growth_is_believed_that_was_never_seen():
    series = [1.0, 400.0, 2.0, 900.0, 5.0, 800.0, 1.0, 1.0]
    predictor, _ = run("auto", series)
    assert predictor.forecast(4).mean <= 1800


def test_a_regression_knows_no_less_after_weeks_than_after_a_day():
    generator = np.random.default_rng(1)
    regressions = Regressions((0.5, 0.2, 0.05), kinds=[((0, 1, 2, 3), 0.99)], horizons=1)
    deviation, errors = 0.0, []
    for index in range(6000):
        deviation = 0.8 * deviation + 5 * generator.normal()
        value = 100 + 40 * np.sin(index / 50) + deviation
        [[expected]] = regressions.paths(1)
        errors.append(abs(value - expected))
        regressions.take(value)
    assert np.mean(errors[-1000:]) <= 1.05 * np.mean(errors[500:1500])


def test_regressions_side_by_side_are_those_apart():
    together = Regressions((0.5, 0.2), kinds=[((0, 1, 2), 0.99), ((1,), 0.995)], horizons=4)
    whole = Regressions((0.5, 0.2), kinds=[((0, 1, 2), 0.99)], horizons=4)
    single = Regressions((0.2,), kinds=[((0,), 0.995)], horizons=4)
    for value in [*days(1, 100), None, *days(2, 100)]:
        for regressions in (together, whole, single):
            regressions.take(value)
    assert np.array(together.paths(6)) == pytest.approx(np.array(whole.paths(6) + single.paths(6)))
