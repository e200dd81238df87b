"""The series that a load is forecast by, as the settings want them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any, Self

from planner.core.demand import LoadPredictors
from planner.settings import Settings
from planner.simulation.trace import TraceInterval
from predictors import Fitter, PredictorOptions, SeriesPredictor, make_predictor


class LoadSeries:
    """Request count, ISL and OSL of each interval, and maybe tokens in and out; or none, where others forecast."""

    def __init__(self, series: Sequence[SeriesPredictor] = ()) -> None:
        self._series = series

    @classmethod
    def of(cls, settings: Settings, fitter: Fitter) -> Self:
        """The series of the settings, with nothing observed.

        Args:
            settings: Which predictor, with which options.
            fitter: Where models are fitted.
        """
        # The published rules go by requests and lengths alone.
        number = 3 if settings.sizing == "throughput" else 5
        options = predictor_options(settings)
        return cls([make_predictor(settings.load_predictor, options, fitter) for _ in range(number)])

    @property
    def predictors(self) -> LoadPredictors:
        """The same, each by its name."""
        return LoadPredictors(*self._series)

    def warm(self, past: Sequence[TraceInterval], shift_s: float) -> None:
        """Take in what a trace asks for, as if it had been before anything is observed.

        Args:
            past: The intervals of the trace.
            shift_s: What makes its times seconds since the epoch.
        """
        if not self._series:
            return
        requests, isl, osl, *tokens = self._series
        ends = [one.end_s + shift_s for one in past]
        _warm(requests, (float(one.requests) for one in past), ends)
        _warm(isl, (one.isl for one in past), ends)
        _warm(osl, (one.osl for one in past), ends)
        if tokens:
            input_tokens, output_tokens = tokens
            _warm(input_tokens, (one.requests * (one.isl or 0.0) for one in past), ends)
            _warm(output_tokens, (one.requests * (one.osl or 0.0) for one in past), ends)

    @contextmanager
    def warming(self) -> Iterator[None]:
        """A context in which what is observed is a past; models are fitted only at its end."""
        with ExitStack() as stack:
            for series in self._series:
                stack.enter_context(series.warming())
            yield

    @property
    def pending_fits(self) -> list[Future[Any]]:
        """Fits under way."""
        return [fit for series in self._series if (fit := series.pending) is not None]

    @property
    def fit_errors(self) -> list[str]:
        """Why fits failed, as far as their predictors still go without."""
        return [error for series in self._series if (error := series.last_error) is not None]


def _warm(series: SeriesPredictor, values: Iterator[float | None], ends: Sequence[float]) -> None:
    series.warm(zip(values, ends, strict=True))


def predictor_options(settings: Settings) -> PredictorOptions:
    """What the settings say of predictors."""
    return PredictorOptions(
        interval_s=settings.adjustment_interval,
        log1p=settings.load_predictor_log1p,
        prophet_window_size=settings.prophet_window_size,
        kalman_q_level=settings.kalman_q_level,
        kalman_q_trend=settings.kalman_q_trend,
        kalman_r=settings.kalman_r,
        kalman_min_points=settings.kalman_min_points,
    )
