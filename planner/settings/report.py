"""What the planner tells of itself."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from planner.settings.options import OptionGroup, WebAddress, option


class ReportOptions(OptionGroup):
    """What the planner tells of itself."""

    title: ClassVar[str] = "Logs, metrics and traces"

    metric_reporting_prometheus_port: int = option(
        0,
        "Port of the planner's own metrics, health and decisions; 0 for none.",
        env=("PLANNER_PROMETHEUS_PORT",),
        ge=0,
        le=65535,
    )
    system_port: int = option(
        0,
        "Second port with the same pages, where the Dynamo operator looks for /live and /health; 0 or -1 for none.",
        env=("DYN_SYSTEM_PORT",),
        ge=-1,
        le=65535,
    )
    metric_reporting_host: str = option("0.0.0.0", "Address that these ports listen on.")  # noqa: S104
    decision_history: int = option(
        500, "Decisions kept in memory for /api/v1/decisions.", unit="decisions", ge=1, le=100_000
    )
    traces: Literal["none", "otlp"] = option(
        "none", "Export OpenTelemetry traces of adjustments over OTLP/HTTP; needs sla-planner[traces] installed."
    )
    traces_endpoint: WebAddress | None = option(
        None,
        "Where they go, such as http://collector:4318/v1/traces. Left out: as OTEL_EXPORTER_OTLP_ENDPOINT says, or "
        "http://localhost:4318/v1/traces.",
    )
    log_dir: Path | None = option(
        None,
        "Folder for rotated files beside the console: planner.log, and decisions.jsonl with every decision and all it "
        "stands on.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = option("info", "Least severe message shown.")
    log_format: Literal["auto", "console", "json"] = option(
        "auto", "Format of the console log; auto is console on a terminal and json elsewhere."
    )

    @property
    def report_ports(self) -> tuple[int, ...]:
        """The ports that serve metrics, health and decisions, each once."""
        return tuple(
            dict.fromkeys(port for port in (self.metric_reporting_prometheus_port, self.system_port) if port > 0)
        )
