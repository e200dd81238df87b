"""What a field of the settings accepts and defaults to, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from planner.settings.options import extra


def is_secret(field: FieldInfo) -> bool:
    """Whether the value of a field must never be shown."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def accepts(field: FieldInfo) -> str:
    """What a field accepts, in words: type, bounds and unit."""
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(field.annotation))
    words = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
    kinds = list(_kinds(field.annotation))
    text = next((words[kind] for kind in kinds if kind in words), "text")
    limits = [limit for item in (*field.metadata, *_inner_metadata(field.annotation)) if (limit := _limit(item))]
    choices = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    unit = extra(field)["unit"]
    return " ".join(filter(None, [text, " and ".join(limits), f"in {unit}" if unit else "", *_or(choices)]))


def default_text(name: str, field: FieldInfo) -> str:
    """The default as help and reference show it: without what depends on the machine."""
    if name == "state_dir":
        return "sla-planner in the user's state folder"
    default = field.default
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, without None."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    yield from (get_args(part)[0] if get_origin(part) is Annotated else part for part in parts if part is not NoneType)


def _inner_metadata(annotation: Any) -> Iterator[Any]:
    """Bounds of the types that an annotation allows."""
    for part in get_args(annotation):
        if get_origin(part) is Annotated:
            for item in get_args(part)[1:]:
                yield from getattr(item, "metadata", [item])


def _or(choices: Sequence[str]) -> Sequence[str]:
    return ["or", *choices] if choices else []


def _limit(item: Any) -> str:
    match item:
        case annotated_types.Gt(gt=bound):
            return f"above {_plain(bound)}"
        case annotated_types.Ge(ge=bound):
            return f"of at least {_plain(bound)}"
        case annotated_types.Lt(lt=bound):
            return f"below {_plain(bound)}"
        case annotated_types.Le(le=bound):
            return f"of at most {_plain(bound)}"
        case annotated_types.MinLen(min_length=bound):
            return f"of at least {bound} character"
    pattern = getattr(item, "pattern", None)
    return f"matching {pattern}" if pattern else ""


def _plain(bound: Any) -> str:
    """A bound as people write it: 1000000000 rather than 1000000000.0."""
    return f"{bound:.15g}" if isinstance(bound, float) else str(bound)
