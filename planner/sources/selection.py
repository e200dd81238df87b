"""Which series of a server are ours: the model's and the namespace's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.sources.base import SourceError
from planner.sources.mapping import MetricsMapping

Labels = Mapping[str, str]


class NotYetError(SourceError):
    """Nothing that is there is ours, which may change: other deployments can be up before ours is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A choice among series.

    Attributes:
        model: The model's name, in any case; None takes every model that is one.
        namespace: The namespace; None takes every one.
        present: Whether the server was seen at all.
    """

    model: str | None = None
    namespace: str | None = None
    present: bool = False

    def takes(self, mapping: MetricsMapping, labels: Labels) -> bool:
        """Whether a series with these labels is ours."""
        if self.namespace is not None and labels.get(mapping.namespace_label or "", "") != self.namespace:
            return False
        model = labels.get(mapping.model_label, "")
        if model in mapping.ignored_models:
            return False
        return self.model is None or model.casefold() == self.model.casefold()

    def matchers(self, mapping: MetricsMapping) -> list[str]:
        """The same as label matchers of PromQL."""
        matchers = []
        if self.namespace is not None:
            matchers.append(f"{mapping.namespace_label}={_quote(self.namespace)}")
        if self.model is not None:
            matchers.append(f"{mapping.model_label}=~{_quote('(?i)' + re.escape(self.model))}")
        if mapping.ignored_models:
            ignored = "|".join(map(re.escape, mapping.ignored_models))
            matchers.append(f"{mapping.model_label}!~{_quote(ignored)}")
        return matchers


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def select(
    mapping: MetricsMapping, seen: Sequence[Labels], *, model_name: str | None, namespace: str | None
) -> Selection:
    """Choose among the series that are there.

    Args:
        mapping: The labels' names.
        seen: The labels of each series.
        model_name: The model wanted, in any case; None if it is the only one.
        namespace: The namespace wanted; it is used only if some series carries the label.

    Raises:
        SourceError: The model wanted is not among those there are, or several models are and none was named.
        NotYetError: No series of the namespace wanted is there.
    """
    namespace = _namespace(mapping, seen, namespace)
    ours = [one for one in seen if namespace is None or one.get(mapping.namespace_label or "") == namespace]
    models = {one[mapping.model_label] for one in ours if one.get(mapping.model_label)} - set(mapping.ignored_models)
    distinct = {model.casefold() for model in models}
    if model_name is not None and distinct and model_name.casefold() not in distinct:
        raise SourceError(
            f"no series has {mapping.model_label}={model_name!r} (in any case); there are: {_list(models)}. "
            "Set --model-name to one of them"
        )
    if model_name is None and len(distinct) > 1:
        raise SourceError(
            f"the label {mapping.model_label} has several values: {_list(models)}. Set --model-name to one of them"
        )
    model = model_name if model_name is not None else next(iter(sorted(models)), None)
    return Selection(model=model, namespace=namespace, present=bool(ours))


def _namespace(mapping: MetricsMapping, seen: Sequence[Labels], wanted: str | None) -> str | None:
    if mapping.namespace_label is None or wanted is None:
        return None
    carried = {value for one in seen if (value := one.get(mapping.namespace_label))}
    if not carried:
        return None
    if wanted not in carried:
        raise NotYetError(
            f"no series has {mapping.namespace_label}={wanted!r}; there are: {_list(carried)}. "
            "Set --namespace to one of them, or wait until its frontends are scraped"
        )
    return wanted


def _list(values: set[str]) -> str:
    return ", ".join(sorted(map(repr, values)))
