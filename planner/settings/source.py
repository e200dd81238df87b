"""Where observations come from."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import SecretStr, model_validator

from planner.settings.options import OptionGroup, WebAddress, WebAddresses, option


class SourceOptions(OptionGroup):
    """Where observations come from."""

    title: ClassVar[str] = "Where the load is observed"

    metrics_source: Literal["prometheus", "scrape"] = option(
        "prometheus", "Observe through a Prometheus server, or scrape the frontends directly."
    )
    metric_pulling_prometheus_endpoint: WebAddress = option(
        "http://prometheus-kube-prometheus-prometheus.monitoring.svc.cluster.local:9090",
        "Base URL of the Prometheus server.",
        env=("PROMETHEUS_ENDPOINT",),
    )
    frontend_metrics_url: WebAddresses = option(
        (),
        "Metrics page of a frontend, such as http://frontend:8000/metrics, for the scrape source; "
        "repeat or separate by commas.",
    )
    metrics_preset: Literal["dynamo", "vllm", "sglang"] = option("dynamo", "Metric names of the frontends.")
    metrics_mapping: Path | None = option(None, "YAML file with metric names of another server, instead of a preset.")
    metrics_timeout: float = option(10.0, "Longest time one metrics query may take.", unit="s", gt=0, le=300)
    prometheus_bearer_token: SecretStr | None = option(None, "Bearer token for Prometheus.")
    prometheus_bearer_token_file: Path | None = option(
        None, "File with the bearer token for Prometheus; read again when it changes."
    )
    prometheus_username: str | None = option(None, "User for basic authentication at Prometheus.")
    prometheus_password: SecretStr | None = option(None, "Password for basic authentication at Prometheus.")
    prometheus_ca_file: Path | None = option(
        None, "PEM file of the authority that signed the certificate of Prometheus."
    )
    prometheus_skip_tls_verify: bool = option(False, "Accept any certificate of Prometheus. Open to eavesdroppers.")

    @model_validator(mode="after")
    def _scrape_has_pages(self) -> Self:
        if self.metrics_source == "scrape" and not self.frontend_metrics_url:
            raise ValueError("--metrics-source scrape needs at least one --frontend-metrics-url")
        return self

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> Self:
        if self.prometheus_bearer_token and self.prometheus_bearer_token_file:
            raise ValueError("give --prometheus-bearer-token or --prometheus-bearer-token-file, not both")
        if (self.prometheus_username is None) != (self.prometheus_password is None):
            raise ValueError("--prometheus-username and --prometheus-password go together")
        if self.prometheus_username and (self.prometheus_bearer_token or self.prometheus_bearer_token_file):
            raise ValueError("give Prometheus a bearer token or a user with a password, not both")
        return self
