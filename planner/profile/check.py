"""``python -m planner profile check``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.checkup import check_profile, print_findings
from planner.cli import EXIT_FAILED, Invocation
from planner.finding import Finding, Health
from planner.profile.reading import Target, explaining, named_data, named_settings, target
from profiles import ProfileData, ProfileError
from profiles.holdout import decode_errors, prefill_errors

_AGAIN = "profile again with points there"
_TRUSTED = 0.10


@explaining
def check(invocation: Invocation) -> int:
    """Print what makes sense of the profile and what does not.

    Returns:
        The exit code: 0, or 1 if it cannot be used, or has warnings with ``--strict``.
    """
    settings = named_settings(invocation)
    findings = list(check_profile(settings))
    if all(finding.health is not Health.FAILED for finding in findings):
        findings += _check_points(named_data(invocation), target(settings))
    print_findings(findings, invocation.extras.format)
    refused = {Health.FAILED, Health.WARNING} if invocation.extras.strict else {Health.FAILED}
    return EXIT_FAILED if any(finding.health in refused for finding in findings) else 0


def _check_points(data: ProfileData, aim: Target) -> Iterator[Finding]:
    isl = data.prefill.columns["prefill_isl"]
    context = data.decode.columns["y_context_length"]
    usage = data.decode.columns["x_kv_usage"]
    yield _covers("ISL", aim.isl, float(isl.min()), float(isl.max()), f"{len(isl)} points")
    yield _covers(
        "context length",
        aim.context_length,
        float(context.min()),
        float(context.max()),
        f"{len(np.unique(context))} rows, {len(context)} points, KV usage from {usage.min():.1%} to {usage.max():.1%}",
    )
    try:
        yield _trusts("TTFT", prefill_errors(data))
        yield _trusts("ITL", decode_errors(data))
    except ProfileError as error:
        yield Finding(subject="interpolation", health=Health.WARNING, detail=str(error), remedy=_AGAIN)


def _covers(what: str, wanted: float, least: float, most: float, points: str) -> Finding:
    inside = least <= wanted <= most
    return Finding(
        subject=f"{what} covered",
        health=Health.OK if inside else Health.WARNING,
        detail=f"profiled from {least:g} to {most:g} ({points}); expected is {wanted:g}",
        remedy="" if inside else f"latencies there are extrapolated: {_AGAIN}",
    )


def _trusts(what: str, errors: np.ndarray) -> Finding:
    median, high = (float(value) for value in np.quantile(errors, [0.5, 0.9]))
    fine = median <= _TRUSTED
    return Finding(
        subject=f"{what} interpolated",
        health=Health.OK if fine else Health.WARNING,
        detail=f"each point predicted from the others: off by {median:.1%} in the median, {high:.1%} at the 90th "
        f"percentile",
        remedy="" if fine else "profile with more points, or again: the data is rough",
    )
