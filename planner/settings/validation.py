"""Raw values become settings, or a complaint that names each wrong one, where it came from, and what is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from planner.settings.options import flag
from planner.settings.settings import Found, Settings
from planner.settings.words import accepts, is_secret


class ConfigurationError(Exception):
    """Settings that cannot be used; every line of the message names an option, its value and what is accepted."""


def validate(found: Mapping[str, Found]) -> Settings:
    """The settings of what was found.

    Raises:
        ConfigurationError: A value is not accepted.
    """
    try:
        return Settings(**{name: each.value for name, each in found.items()})
    except ValidationError as error:
        lines = [_complaint(problem, found) for problem in error.errors(include_url=False, include_context=False)]
        raise ConfigurationError("\n".join(dict.fromkeys(lines))) from None


def _complaint(problem: Any, found: Mapping[str, Found]) -> str:
    if not problem["loc"]:
        return str(problem["msg"]).removeprefix("Value error, ")
    name = str(problem["loc"][0])
    field = Settings.model_fields[name]
    origin = found[name].origin if name in found else "keyword argument"
    value = "the value" if is_secret(field) or name not in found else repr(found[name].value)
    detail = str(problem["msg"]).removeprefix("Value error, ") if problem["type"] == "value_error" else ""
    accepted = detail or f"accepted is {accepts(field)}"
    return f"{flag(name)}: {value} ({origin}) is not accepted; {accepted}"
