"""Time series in, forecast out: one file a model."""

from predictors.base import Forecast, Predictor

__all__ = ["Forecast", "Predictor"]
