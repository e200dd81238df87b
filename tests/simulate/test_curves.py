"""Backtests as a picture."""

import matplotlib.figure

from planner import Settings
from planner.simulate.backtest import backtest
from planner.simulate.curves import draw
from planner.simulate.series import UNITS, Recorded


def test_of_a_long_series_the_end_is_drawn(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    values = [float(100 + n % 7) for n in range(700)]
    course = backtest("constant", values, [1], Settings(adjustment_interval=60))
    draw(
        Recorded(values=dict.fromkeys(UNITS, values)),
        {"constant": dict.fromkeys(UNITS, course)},
        horizons=[1],
        interval_s=60.0,
        title="Forecasts",
        file=tmp_path / "forecast.png",
    )
    (figure,) = drawn
    assert figure.get_suptitle() == "Forecasts: 1 interval of 60 s ahead, the last 500 of 700"
    observed = figure.axes[0].lines[0]
    assert list(observed.get_ydata()) == [value / 60 for value in values[200:]]
    assert observed.get_xdata()[-1] == 699 / 60
