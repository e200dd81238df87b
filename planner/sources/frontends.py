"""What sources of the frontends' metrics do alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from planner.sources.base import Source, SourceStatus
from planner.sources.mapping import MetricsMapping
from planner.sources.selection import Labels, Selection, select


class FrontendSource(Source):
    """A source that knows the metrics of frontends by their names, and takes the series of one model."""

    def __init__(
        self,
        *,
        mapping: MetricsMapping,
        now: Callable[[], float],
        model_name: str | None = None,
        namespace: str | None = None,
    ) -> None:
        """Prepare; nothing is read before ``start``.

        Args:
            mapping: The names of the metrics.
            now: What the time is, seconds since the epoch.
            model_name: The model to observe, in any case; None if it is the only one.
            namespace: The namespace to observe, where series carry one.
        """
        self._mapping = mapping
        self._now = now
        self._model_name = model_name
        self._namespace = namespace
        self._status = SourceStatus(series_matched={}, errors={}, newest_data=None)

    @property
    def status(self) -> SourceStatus:
        """How the last read went."""
        return self._status

    def prefer_model(self, name: str | None) -> None:
        """Observe the model of this name, unless one was chosen already."""
        self._model_name = self._model_name or name

    def _select(self, seen: Sequence[Labels]) -> Selection:
        """Choose among the series that are there, given the labels of each; raises as ``select``."""
        return select(self._mapping, seen, model_name=self._model_name, namespace=self._namespace)
