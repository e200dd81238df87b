"""Time series in, forecast out: one file a model."""

from predictors.base import Forecast, Predictor
from predictors.fitting import Fitted, Fitter, InlineFitter, ProcessFitter
from predictors.registry import MODELS, PredictorOptions, make_predictor

__all__ = [
    "MODELS",
    "Fitted",
    "Fitter",
    "Forecast",
    "InlineFitter",
    "Predictor",
    "PredictorOptions",
    "ProcessFitter",
    "make_predictor",
]
