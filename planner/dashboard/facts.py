"""What the page has to know of a planner beside its records."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from planner.settings import NO_BUDGET, Settings
from planner.sources.base import without_password


def planner_facts(settings: Settings, engine_gpus: tuple[int, int]) -> dict[str, Any]:
    """The facts of a planner that runs.

    Args:
        settings: How it runs.
        engine_gpus: GPUs of a prefill and of a decode worker.
    """
    return facts_of(settings.model_dump(mode="json"), engine_gpus, version("sla-planner"))


def facts_of(settings: Mapping[str, Any], engine_gpus: tuple[int | None, int | None], release: str) -> dict[str, Any]:
    """The facts of a planner that ran.

    Args:
        settings: Its settings by name; those of another version may lack some.
        engine_gpus: GPUs of a prefill and of a decode worker; None if unknown.
        release: The planner's version.
    """
    budget = settings.get("max_gpu_budget")
    return {
        "version": release,
        "namespace": settings.get("namespace") or "planner",
        "environment": settings.get("environment"),
        "mode": settings.get("mode") or "disagg",
        "model": settings.get("model_name"),
        "source": _source(settings),
        "interval_s": settings.get("adjustment_interval"),
        "ttft_ms": settings.get("ttft"),
        "itl_ms": settings.get("itl"),
        "min_endpoint": settings.get("min_endpoint"),
        "max_gpus": None if budget == NO_BUDGET else budget,
        "prefill_gpus": engine_gpus[0],
        "decode_gpus": engine_gpus[1],
    }


def _source(settings: Mapping[str, Any]) -> str:
    if settings.get("metrics_source") == "scrape":
        urls = settings.get("frontend_metrics_url") or ()
        return f"scrape of {len(urls)} frontend{'' if len(urls) == 1 else 's'}"
    return f"Prometheus {without_password(str(settings.get('metric_pulling_prometheus_endpoint') or ''))}".strip()
