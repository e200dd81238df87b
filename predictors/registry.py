"""The predictors there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from predictors.arima import ArimaModel
from predictors.constant import ConstantModel
from predictors.fitting import Fitter
from predictors.kalman import KalmanModel
from predictors.mixture import MixtureModel
from predictors.prophet import ProphetModel
from predictors.series import Model, SeriesPredictor


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorOptions:
    """What predictors can be told.

    Attributes:
        interval_s: Time from one value to the next, seconds.
        log1p: Whether to model log(1 + value) instead of the value.
        prophet_window_size: Values that Prophet is fitted to.
        kalman_q_level: Kalman's process noise of the level, a variance.
        kalman_q_trend: Kalman's process noise of the trend, a variance.
        kalman_r: Kalman's measurement noise, a variance.
        kalman_min_points: Values before Kalman forecasts.
    """

    interval_s: float
    log1p: bool = False
    prophet_window_size: int = 50
    kalman_q_level: float = 1.0
    kalman_q_trend: float = 0.1
    kalman_r: float = 10.0
    kalman_min_points: int = 5


def _auto(_: PredictorOptions, __: Fitter) -> Model:
    return MixtureModel()


def _constant(_: PredictorOptions, __: Fitter) -> Model:
    return ConstantModel()


def _arima(options: PredictorOptions, fitter: Fitter) -> Model:
    return ArimaModel(fitter, may_log1p=not options.log1p)


def _kalman(options: PredictorOptions, _: Fitter) -> Model:
    return KalmanModel(
        q_level=options.kalman_q_level,
        q_trend=options.kalman_q_trend,
        r=options.kalman_r,
        min_points=options.kalman_min_points,
    )


def _prophet(options: PredictorOptions, fitter: Fitter) -> Model:
    return ProphetModel(fitter, window_size=options.prophet_window_size, interval_s=options.interval_s)


MODELS: Mapping[str, Callable[[PredictorOptions, Fitter], Model]] = MappingProxyType(
    {
        "auto": _auto,
        "constant": _constant,
        "arima": _arima,
        "kalman": _kalman,
        "prophet": _prophet,
    }
)


def make_predictor(name: str, options: PredictorOptions, fitter: Fitter) -> SeriesPredictor:
    """A predictor by name, with nothing observed.

    Args:
        name: A key of MODELS.
        options: What to tell it.
        fitter: Where it fits models, if it does.

    Raises:
        ValueError: There is no such predictor.
    """
    if name not in MODELS:
        raise ValueError(f"predictor {name!r} is unknown; choose from {', '.join(MODELS)}")
    return SeriesPredictor(MODELS[name](options, fitter), log1p=options.log1p)
