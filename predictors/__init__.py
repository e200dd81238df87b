"""Time series in, forecast out: one file a model."""

from predictors.base import Forecast, Predictor
from predictors.fitting import Fitter, InlineFitter, ProcessFitter
from predictors.registry import MODELS, PredictorOptions, make_predictor
from predictors.series import SeriesPredictor

__all__ = [
    "MODELS",
    "Fitter",
    "Forecast",
    "InlineFitter",
    "Predictor",
    "PredictorOptions",
    "ProcessFitter",
    "SeriesPredictor",
    "make_predictor",
]
