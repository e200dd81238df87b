"""Options of the planner in a request, however they are written, as flags."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.dgdr import issues
from planner.dgdr.section import Section, snake
from planner.settings import NO_BUDGET, ConfigurationError, Found, Settings, flag, validate
from planner.settings.words import is_secret

_FIXED = {"environment": "kubernetes", "mode": "disagg"}
FROM_DEPLOYMENT = {
    *_FIXED,
    "backend",
    "namespace",
    "dgd_name",
    "dgd_namespace",
    "profile_results_dir",
    "prefill_profile_select",
    "decode_profile_select",
    "kubeconfig",
    "kube_context",
    "state_dir",
}
"""What follows from the deployment, so that nobody else may say it."""
_NO_BUDGET, _NO_MINIMUM = Found(str(NO_BUDGET), ""), Found("0", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerOptions:
    """What a request tells the planner.

    Attributes:
        values: By field of the settings, as texts (lists of them where flags repeat).
        unknown: Paths of those that are no options.
        notes: What is worth knowing about some, a sentence each.
    """

    values: Mapping[str, str | tuple[str, ...]]
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def whole(self, name: str) -> int | None:
        """A field that is a whole number; None if the request does not say."""
        value = self.values.get(name)
        return None if value is None else int(str(value))

    def number(self, name: str) -> float | None:
        """A field that is a number, likewise."""
        value = self.values.get(name)
        return None if value is None else float(str(value))


def flags_of(values: Mapping[str, str | tuple[str, ...]]) -> tuple[str, ...]:
    """Fields of the settings as flags, in the order of the settings."""
    return tuple(
        f"{flag(name)}={value}"
        for name in Settings.model_fields
        if name in values
        for value in (values[name] if isinstance(values[name], tuple) else (values[name],))
    )


def read_options(section: Section) -> PlannerOptions:
    """Read the options of a planner section.

    Names may carry ``planner`` before them, and be in camelCase, snake_case or dashes.

    Raises:
        RequestError: A value is not accepted, or does not fit a generated deployment.
    """
    values: dict[str, str | tuple[str, ...]] = {}
    keys: dict[str, str] = {}
    unknown, notes = list[str](), list[str]()
    for key, value in section.items().items():
        path, name = f"{section.path}.{key}", field_of(key)
        if name is None:
            unknown.append(_unknown(path, key))
        elif name in _FIXED and value != _FIXED[name]:
            raise issues.FOREIGN_OPTION.error(path=path, value=value)
        elif name in FROM_DEPLOYMENT:
            notes.append(f"{path} is not passed on: it follows from the deployment")
        elif name in values:
            raise issues.CONTRADICTION.error(
                path=path, value=value, other_path=f"{section.path}.{keys[name]}", other=values[name]
            )
        else:
            values[name], keys[name] = _text(value), key
            if is_secret(Settings.model_fields[name]):
                notes.append(f"{path} is a secret and ends up readable in the deployment; mount a file instead")
    _validate(values, keys, section.path)
    return PlannerOptions(values=values, unknown=tuple(unknown), notes=tuple(notes))


def field_of(key: str) -> str | None:
    """The field of the settings that a key means; None if there is none."""
    name = snake(key)
    return next((one for one in (name, name.removeprefix("planner_")) if one in Settings.model_fields), None)


def _validate(values: Mapping[str, str | tuple[str, ...]], keys: Mapping[str, str], path: str) -> None:
    """See that the planner will accept options.

    Whether the budget holds the minimum is left out: that is known once the engines are.
    """
    found = {name: Found(value, keys[name]) for name, value in values.items()}
    alone = {"max_gpu_budget": found.get("max_gpu_budget", _NO_BUDGET), "min_endpoint": _NO_MINIMUM}
    check(found | {"max_gpu_budget": _NO_BUDGET}, path)
    check(alone, path)


def check(found: Mapping[str, Found], path: str) -> None:
    """See that the planner will accept options, whatever the environment says here.

    Args:
        found: Values by field of the settings; the others have their defaults.
        path: Where the request has them, for messages.

    Raises:
        RequestError: It will not.
    """
    defaults = {name: Found(field.get_default(), "default") for name, field in Settings.model_fields.items()}
    try:
        validate({**defaults, **found})
    except ConfigurationError as error:
        raise issues.WRONG_OPTION.error(path=path, complaint=error) from None


def _text(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unknown(path: str, key: str) -> str:
    near = difflib.get_close_matches(snake(key).removeprefix("planner_"), Settings.model_fields, n=1)
    return f"{path} (did you mean {near[0]}?)" if near else path
