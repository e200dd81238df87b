"""The deployment that a generated one is made of: of the request's ConfigMap, of a file, or the backend's template."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from planner.dgdr import issues


def template(backend: str, version: str) -> Mapping[str, Any]:
    """The template of a backend in an API version."""
    file = resources.files("planner.dgdr") / "templates" / f"{backend}-{version}.yaml"
    found: Mapping[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def read_base(text: str, origin: str) -> Mapping[str, Any]:
    """The deployment of a YAML text, the only one there.

    Args:
        text: YAML, of one document or several.
        origin: Where it is from, for messages.

    Raises:
        GenerationError: It is no YAML, or has no deployment or several.
    """
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise issues.NO_BASE.error(origin=origin, complaint=f"it is no YAML: {error}") from error
    found = [one for one in documents if isinstance(one, Mapping) and one.get("kind") == "DynamoGraphDeployment"]
    if len(found) != 1:
        kinds = ", ".join(str(one.get("kind")) if isinstance(one, Mapping) else type(one).__name__ for one in documents)
        complaint = f"it has {len(found)} of them ({kinds or 'nothing at all'})"
        raise issues.NO_BASE.error(origin=origin, complaint=complaint)
    return found[0]
