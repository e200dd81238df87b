"""From settings to the parts they name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from connectors.base import Connector
from planner.settings import Settings
from planner.sources.base import Source


def make_source(settings: Settings, now: Callable[[], float]) -> Source:
    """The source that the settings name; it has not started.

    Args:
        settings: How to observe.
        now: What the time is, seconds since the epoch.

    Raises:
        SourceError: The names of the metrics cannot be loaded.
    """
    raise NotImplementedError


def make_connector(settings: Settings, now: Callable[[], float]) -> Connector:
    raise NotImplementedError
