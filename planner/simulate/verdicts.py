"""What backtests say of predictors, as a table and in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.table import Table

from planner.settings import Settings
from planner.simulate.backtest import Course, Courses
from planner.simulate.series import UNITS
from planner.simulate.table import share_text

# Losses that differ by less say nothing.
_ALIKE = 0.02


def table(courses: Courses, horizons: Sequence[int], interval_s: float) -> Table:
    """Every predictor on every series, a row each."""
    shown = Table(title=f"Backtest, intervals of {interval_s:g} s", title_justify="left", pad_edge=False)
    for heading in ("series", "predictor"):
        shown.add_column(heading, no_wrap=True)
    for step in horizons:
        for heading in (f"WAPE +{step}", f"loss +{step}", f"<p90 +{step}"):
            shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("ms", justify="right", no_wrap=True)
    for kind in UNITS:
        of_kind = [course[kind] for course in courses.values()]
        for name, course in courses.items():
            cells = _cells(course[kind], of_kind, horizons)
            shown.add_row(kind, name, *cells, _milliseconds(course[kind].cost_s))
        shown.add_section()
    return shown


def _cells(course: Course, rivals: Sequence[Course], horizons: Sequence[int]) -> Iterator[str]:
    for step in horizons:
        verdict = course.verdicts[step]
        for measure in ("wape", "pinball"):
            value, best = getattr(verdict, measure), min(getattr(other.verdicts[step], measure) for other in rivals)
            text = share_text(value, 2)
            yield f"[bold green]{text}[/]" if value == best and len(rivals) > 1 else text
        yield share_text(verdict.below, 0)


def _milliseconds(seconds: float) -> str:
    milliseconds = 1000 * seconds
    return f"{milliseconds:.1f}" if milliseconds < 10 else f"{milliseconds:.0f}"


def legend(horizons: Sequence[int]) -> str:
    """What the columns are."""
    return (
        f"+{horizons[0]}: {horizons[0]} interval{'s' * (horizons[0] > 1)} ahead. WAPE: sum of absolute errors over sum "
        "of values. loss: pinball loss of the 0.9 quantile over the mean value: what it costs to prepare for "
        "it. <p90: values not above it, 90% if it is honest. ms: to learn from a value and forecast, fits included."
    )


def ranking(courses: Courses, horizons: Sequence[int]) -> dict[str, float]:
    """Predictors by their pinball loss, averaged over all series and horizons, best first."""
    losses = {
        name: math.fsum(one.verdicts[step].pinball for one in course.values() for step in horizons)
        / (len(course) * len(horizons))
        for name, course in courses.items()
    }
    return dict(sorted(losses.items(), key=lambda item: (math.isnan(item[1]), item[1])))


def advice(courses: Courses, horizons: Sequence[int]) -> str:
    """Who is best, and how to choose it, in two sentences."""
    ranks = ranking(courses, horizons)
    order = ", ".join(f"{name} {share_text(loss, 2)}" for name, loss in ranks.items())
    first, *others = ranks
    text = f"Mean loss, best first: {order}. To use the first: --load-predictor {first}"
    default = Settings.model_fields["load_predictor"].default
    if default in others:
        worse = ranks[default] / ranks[first] - 1
        text += f"; {default}, the default, is {'as good' if worse < _ALIKE else f'{worse:.0%} worse'}"
    return f"{text}."
