import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tsa.arima.model import ARIMA
from statsmodels.tsa.statespace.structural import UnobservedComponents

from predictors import MODELS, InlineFitter, PredictorOptions, make_predictor
from predictors.arima import ArimaParameters, ArimaRecursion, fit_arima
from predictors.kalman import KalmanModel
from predictors.prophet import fit_prophet

OPTIONS = PredictorOptions(interval_s=60)
LIGHT = ["constant", "kalman"]


def make(name, **options):
    return make_predictor(name, PredictorOptions(interval_s=60, **options), InlineFitter())


def feed(predictor, values, step_s=60.0):
    for index, value in enumerate(values):
        predictor.observe(value, step_s * index)
    return predictor


def test_an_unknown_predictor_names_those_there_are():
    with pytest.raises(ValueError, match="'magic' is unknown; choose from auto, constant, arima, kalman, prophet"):
        make("magic")


@pytest.mark.parametrize("name", MODELS)
class TestEveryPredictor:
    def test_nothing_is_forecast_before_anything_is_known(self, name):
        predictor = make(name)
        assert predictor.forecast() is None
        predictor.observe(None)
        assert predictor.forecast() is None

    def test_a_constant_series_is_forecast_constant_and_certain(self, name):
        predictor = feed(make(name), [240.0] * 25)
        forecast = predictor.forecast()
        assert forecast.mean == pytest.approx(240, rel=1e-3)
        assert forecast.std < 0.05 * 240
        assert predictor.forecast(3).mean == pytest.approx(240, rel=1e-3)

    def test_a_falling_series_never_goes_below_zero(self, name):
        predictor = make(name)
        for index in range(14):
            predictor.observe(max(0.0, 100.0 - 10 * index), 60.0 * index)
            for horizon in (1, 2, 5):
                forecast = predictor.forecast(horizon)
                assert forecast.mean >= 0
                assert forecast.quantile(0.01) >= 0
                assert math.isfinite(forecast.mean)

    def test_leading_zeros_are_not_part_of_the_series(self, name):
        with_zeros, without = make(name), make(name)
        values = [50.0, 60.0, 55.0, 65.0, 60.0, 70.0]
        for index in range(10):
            with_zeros.observe(0.0, 60.0 * (index - 10))
        assert with_zeros.forecast().mean == 0
        assert feed(with_zeros, values).forecast() == feed(without, values).forecast()

    def test_unknown_values_are_not_zero(self, name):
        predictor = feed(make(name), [100.0] * 8 + [None] * 3)
        assert predictor.forecast().mean == pytest.approx(100, rel=0.02)

    def test_uncertainty_grows_with_the_horizon(self, name):
        walk = np.cumsum(np.random.default_rng(1).normal(size=24)) + 100.0
        predictor = feed(make(name), walk.tolist())
        near, far, farther = (predictor.forecast(step).std for step in (1, 4, 16))
        assert 0 < near <= far < farther

    def test_a_forecast_does_not_depend_on_those_asked_for_before(self, name):
        asked, silent = make(name), make(name)
        values = [100.0, 120.0, 90.0, None, None, 130.0, 110.0, 95.0, None, 105.0, 101.0]
        for index, value in enumerate(values):
            asked.observe(value, 60.0 * index)
            silent.observe(value, 60.0 * index)
            for horizon in (6, 1, 4, 2):
                asked.forecast(horizon)
        assert [asked.forecast(step) for step in (1, 2, 3, 5)] == [silent.forecast(step) for step in (1, 2, 3, 5)]

    @pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
    def test_what_is_no_value_is_refused(self, name, value):
        with pytest.raises(ValueError, match="finite values of 0 or more"):
            make(name).observe(value)

    def test_a_horizon_has_at_least_a_step(self, name):
        with pytest.raises(ValueError, match="at least 1 interval"):
            make(name).forecast(0)

    def test_log1p(self, name):
        predictor = feed(make(name, log1p=True), [100.0] * 10)
        assert predictor.forecast().mean == pytest.approx(100, rel=0.01)


values = st.lists(st.one_of(st.none(), st.floats(0, 1e12)), min_size=1, max_size=60)


@given(values, st.sampled_from(LIGHT), st.booleans(), st.integers(1, 5))
def test_any_series_has_finite_non_negative_forecasts(series, name, log1p, horizon):
    predictor = make(name, log1p=log1p)
    for value in series:
        predictor.observe(value)
        forecast = predictor.forecast(horizon)
        if forecast is not None:
            for number in (forecast.mean, forecast.std, forecast.quantile(0.1), forecast.quantile(0.99)):
                assert math.isfinite(number)
                assert number >= 0
            assert forecast.quantile(0.1) <= forecast.quantile(0.9)


@given(values)
def test_constant_expects_the_last_known_value(series):
    predictor = feed(make("constant"), series)
    known = [value for value in series if value is not None]
    if known:
        assert predictor.forecast().mean == known[-1]


class TestKalman:
    @pytest.mark.parametrize("gaps", [(), (5, 6, 12)])
    def test_it_is_statsmodels_local_linear_trend(self, gaps):
        generator = np.random.default_rng(3)
        series = 200 + np.cumsum(generator.normal(2, 5, 40)) + generator.normal(0, 3, 40)
        series[list(gaps)] = np.nan
        reference = UnobservedComponents(series, level="local linear trend")
        reference.ssm.initialize_approximate_diffuse(1e6)
        expected = reference.smooth([10.0, 1.0, 0.1]).get_forecast(4)
        model = KalmanModel(q_level=1.0, q_trend=0.1, r=10.0, min_points=1)
        for value in series:
            model.take(None if np.isnan(value) else float(value), None)
        assert [model.expect(step) for step in (1, 2, 3, 4)] == pytest.approx(expected.predicted_mean, rel=1e-6)
        assert model.variance == pytest.approx(expected.var_pred_mean[0], rel=1e-6)

    def test_the_last_value_answers_until_there_are_enough_points(self):
        predictor = make("kalman", kalman_min_points=4)
        for index, value in enumerate([10.0, 20.0, 30.0]):
            predictor.observe(value)
            assert predictor.forecast().mean == value, index
        predictor.observe(40.0)
        assert predictor.forecast().mean > 40, "the trend is seen"


class TestArima:
    @pytest.mark.parametrize(
        ("order", "parameters"),
        [
            ((1, 0, 0), ArimaParameters(d=0, intercept=20.0, ar=(0.8,), ma=())),
            ((0, 1, 1), ArimaParameters(d=1, intercept=0.0, ar=(), ma=(0.4,))),
            ((2, 1, 2), ArimaParameters(d=1, intercept=0.0, ar=(0.5, -0.2), ma=(0.3, 0.1))),
            ((1, 0, 1), ArimaParameters(d=0, intercept=10.0, ar=(0.9,), ma=(-0.3,))),
            ((1, 2, 1), ArimaParameters(d=2, intercept=0.0, ar=(0.3,), ma=(-0.5,))),
        ],
    )
    def test_the_recursion_forecasts_as_statsmodels_does(self, order, parameters):
        generator = np.random.default_rng(5)
        series = 100 + np.cumsum(generator.normal(0, 3, 200))
        trend = "c" if order[1] == 0 else "n"
        reference = ARIMA(series, order=order, trend=trend, enforce_stationarity=False)
        constant = [parameters.intercept / (1 - sum(parameters.ar))] if trend == "c" else []
        expected = reference.smooth([*constant, *parameters.ar, *parameters.ma, 9.0]).forecast(5)
        recursion = ArimaRecursion(parameters, series)
        assert [recursion.forecast(step) for step in range(1, 6)] == pytest.approx(expected, rel=1e-3)

    def test_taking_values_one_by_one_is_taking_them_at_once(self):
        parameters = ArimaParameters(d=1, intercept=0.1, ar=(0.5,), ma=(0.3, 0.1))
        series = [float(value % 17) for value in range(50)]
        recursion = ArimaRecursion(parameters, series[:20])
        for value in series[20:]:
            recursion.take(value)
        assert recursion.forecast(3) == ArimaRecursion(parameters, series).forecast(3)

    def test_a_search_finds_structure(self):
        generator = np.random.default_rng(11)
        series = [100.0]
        for _ in range(150):
            series.append(20 + 0.8 * series[-1] + generator.normal(0, 5))
        found = fit_arima(series, may_log1p=True)
        assert found.ar or found.ma
        recursion = ArimaRecursion(found, series)
        assert recursion.forecast(50) == pytest.approx(100, rel=0.2), "it returns to the mean"

    def test_log_space_is_tried_where_raw_space_shows_nothing(self, monkeypatch):
        asked = []

        def search(series, *, log1p):
            asked.append(log1p)
            return ArimaParameters(d=1, intercept=0, ar=(0.5,) if log1p else (), ma=(), log1p=log1p)

        monkeypatch.setattr("predictors.arima._search", search)
        assert fit_arima([1.0, 2.0, 3.0], may_log1p=True).log1p
        assert not fit_arima([1.0, 2.0, 3.0], may_log1p=False).log1p
        assert asked == [False, True, False]

    def test_refits_become_rarer_as_history_grows(self, monkeypatch):
        lengths = []

        def fit(history, may_log1p):
            lengths.append(len(history))
            return ArimaParameters(d=1, intercept=0, ar=(), ma=())

        monkeypatch.setattr("predictors.arima.fit_arima", fit)
        feed(make("arima"), [100.0 + index % 7 for index in range(300)])
        assert lengths[0] == 5
        gaps = np.diff(lengths)
        assert max(gaps) <= 50
        assert list(gaps) == sorted(gaps)
        assert len(lengths) < 25

    @given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.integers(0, 2))
    @settings(max_examples=50)
    def test_the_recursion_survives_any_series(self, series, d):
        recursion = ArimaRecursion(ArimaParameters(d=d, intercept=1.0, ar=(0.5,), ma=(0.4,)), series)
        assert math.isfinite(recursion.forecast(3))


class TestProphet:
    def test_a_daily_season_is_forecast_at_the_right_phase(self):
        step_s, day = 3600.0, 24
        start = 1_700_000_000.0 - 1_700_000_000.0 % 86400
        series = [100 + 80 * math.sin(2 * math.pi * hour / day) for hour in range(3 * day + 7)]
        window = [(start + step_s * hour, value) for hour, value in enumerate(series)]
        forecasts = fit_prophet(window, step_s)
        for ahead in range(12):
            hour = len(series) + ahead
            truth = 100 + 80 * math.sin(2 * math.pi * hour / day)
            assert forecasts.at(start + step_s * hour) == pytest.approx(truth, abs=12)

    def test_a_fit_some_intervals_old_still_answers_for_the_right_instant(self):
        window = [(60.0 * index, 100.0 + 10 * index) for index in range(20)]
        forecasts = fit_prophet(window, 60.0)
        for late in (1, 3, 5):
            assert forecasts.at(60.0 * (19 + late)) == pytest.approx(100 + 10 * (19 + late), rel=0.05)

    def test_the_window_is_bounded(self, monkeypatch):
        sizes = []

        def fit(window, interval_s):
            sizes.append(len(window))
            raise RuntimeError("no fit")

        monkeypatch.setattr("predictors.prophet.fit_prophet", fit)
        predictor = feed(make("prophet", prophet_window_size=7), [5.0] * 20)
        assert max(sizes) == 7
        assert predictor.last_error == "RuntimeError: no fit"
        assert predictor.forecast().mean == 5, "the last value answers"


def test_log1p_extrapolates_growth_as_growth():
    series = [100 * 1.1**step for step in range(20)]
    straight = feed(make("kalman"), series).forecast(5).mean
    growing = feed(make("kalman", log1p=True), series).forecast(5).mean
    truth = 100 * 1.1**24
    assert abs(growing - truth) < abs(straight - truth)


def test_quantiles_need_a_probability():
    forecast = feed(make("constant"), [1.0, 2.0]).forecast()
    for p in (0, 1, -0.5, 2):
        with pytest.raises(ValueError, match="probability between 0 and 1"):
            forecast.quantile(p)
