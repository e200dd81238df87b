"""What the generated planner component is told, and what it needs around it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

from planner.dgdr import words
from planner.dgdr.base import template
from planner.dgdr.graph import Graph, Part
from planner.dgdr.options import FROM_DEPLOYMENT, check, flags_of
from planner.dgdr.request import Request
from planner.settings import Found, Settings

PROFILE_DIR = "/etc/planner/profile"
PLACEHOLDER = "registry.example.com/"
"""Where images are that do not exist."""

_MODULE = "planner"


def put_planner(
    graph: Graph, request: Request, generated: Mapping[str, str], *, image: str | None, config_map: str
) -> str:
    """Give a deployment the planner as a component, in place of the one it has.

    It is told what the request says, over what is generated, over what its predecessor was told.

    Args:
        graph: The deployment.
        request: The request.
        generated: What is generated for the planner, by field of its settings.
        image: Image of the planner; None for that of the base if it runs this planner, else the template's.
        config_map: Name of the ConfigMap with its profile.

    Returns:
        The image it runs.

    Raises:
        RequestError: The planner would not accept what it is told.
    """
    (model,) = _planners(Graph(template(generated["backend"], graph.version)))
    before = next(_planners(graph), None)
    values = {
        **_told(model),
        **(_told(before) if before else {}),
        **generated,
        **request.planner.values,
    }
    # Now rather than in a pod that ends at once.
    check({name: Found(value, "generated") for name, value in values.items()}, option_path(request))
    component = before
    if component is None or _MODULE not in component.words:
        # None, or another program: nothing of how that one was run is of use.
        component = graph.put(before.name if before else model.name, copy.deepcopy(model.spec))
    component.container["command"] = ["python3", "-m", _MODULE]
    component.container["args"] = list(flags_of(values))
    chosen = image or component.image or model.image or ""
    component.image = chosen
    component.mount({"name": "profile", "configMap": {"name": config_map}}, PROFILE_DIR)
    return chosen


def _planners(graph: Graph) -> Iterator[Part]:
    return (part for part in graph.parts if part.role == "planner")


def _told(component: Part) -> dict[str, str | tuple[str, ...]]:
    """Options among the flags of a component, but for those that follow from the deployment."""
    found: dict[str, list[str]] = {}
    for name, value in words.flags(component.words):
        field = name.removeprefix("--").replace("-", "_")
        if field in Settings.model_fields and field not in FROM_DEPLOYMENT:
            found.setdefault(field, []).append("true" if value is None else value)
    return {name: values[0] if len(values) == 1 else tuple(values) for name, values in found.items()}


def option_path(request: Request) -> str:
    """Where a request tells the planner something."""
    return "spec.profilingConfig.config.planner" if request.version == "v1alpha1" else "spec.features.planner"
