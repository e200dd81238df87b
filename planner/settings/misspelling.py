"""Names that are none, and those that may have been meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

from planner.settings.settings import ENV_PREFIX, Settings, environment_names

# What Kubernetes tells pods of the services beside them, such as PLANNER_SERVICE_HOST of one called planner.
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)")
# How alike a variable must be to one that there is: others are somebody else's.
_LIKENESS = 0.7


def nearest(name: str, names: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The name that is most like one; None if none is.

    Args:
        name: What was given.
        names: What there is.
        likeness: From 0 to 1, how alike they must be.
    """
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=likeness)), None)


def misspelt(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The variables of an environment that set no option, though their names are like one that does, with that one."""
    known = [name for field in Settings.model_fields for name in environment_names(field)]
    by_ending = {name.removeprefix(ENV_PREFIX): name for name in known}
    for variable in sorted(environ):
        if variable in known or not variable.startswith(ENV_PREFIX) or _SERVICE_LINK.search(variable):
            continue
        if near := nearest(variable.removeprefix(ENV_PREFIX), by_ending, likeness=_LIKENESS):
            yield variable, by_ending[near]
