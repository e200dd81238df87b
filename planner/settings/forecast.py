"""How the load is forecast."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from planner.settings.options import OptionGroup, option


class ForecastOptions(OptionGroup):
    """How the load is forecast."""

    title: ClassVar[str] = "Forecast"

    load_predictor: Literal["auto", "constant", "arima", "kalman", "prophet"] = option(
        "auto",
        "Model that forecasts request count, ISL and OSL; auto is a mixture of light ones that learns which to trust.",
    )
    load_predictor_log1p: bool = option(False, "Forecast log(1 + y) instead of y (arima, kalman, prophet).")
    load_predictor_warmup_trace: Path | None = option(
        None,
        "Trace to warm the predictors with: JSON lines or CSV of timestamp (ms), input_length, output_length; plain or "
        "gzip.",
    )
    prophet_window_size: int = option(50, "Intervals that Prophet is fitted to.", unit="intervals", ge=2)
    kalman_q_level: float = option(1.0, "Kalman: process noise of the level, a variance.", ge=0)
    kalman_q_trend: float = option(0.1, "Kalman: process noise of the trend, a variance.", ge=0)
    kalman_r: float = option(10.0, "Kalman: measurement noise, a variance.", gt=0)
    kalman_min_points: int = option(
        5, "Kalman: intervals before it forecasts; the last value until then.", unit="intervals", ge=1
    )
    predictor_time_limit: float = option(
        10.0,
        "Longest time a model fit may take at one decision; after it the last fitted model answers.",
        unit="s",
        gt=0,
        le=600,
    )
