"""Every option of the planner: the only place where its default, unit, bounds and help are written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from platformdirs import user_state_dir
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

NO_BUDGET = -1
ENV_PREFIX = "PLANNER_"

GROUPS = {
    "deployment": "Deployment",
    "sla": "Targets and expected load",
    "decision": "Decision",
    "profile": "Engine profile",
    "forecast": "Forecast",
    "source": "Where the load is observed",
    "virtual": "Virtual environment",
    "report": "Logs and metrics",
}


def option(
    default: Any,
    description: str,
    *,
    group: str,
    unit: str = "",
    env: tuple[str, ...] = (),
    reloadable: bool = False,
    **bounds: Any,
) -> Any:
    """A field of the settings.

    Args:
        default: Its default.
        description: One sentence or two for help and reference.
        group: Key of GROUPS.
        unit: Unit of the value, for help and reference.
        env: Environment variables that other planners use for it, tried before ``PLANNER_<NAME>``.
        reloadable: Whether a running planner takes a new value on SIGHUP.
        **bounds: ``gt``, ``ge``, ``lt``, ``le`` and the like, as for ``pydantic.Field``.
    """
    noted: dict[str, Any] = {"group": group, "unit": unit, "env": list(env), "reloadable": reloadable}
    return Field(default, description=description, json_schema_extra=noted, **bounds)


def _listen_address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:9086 or [::]:9086, with a port from 0 to 65535")
    return value


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(letter.isspace() for letter in value):
        raise ValueError("expected an address such as http://host:9090")
    if parts.port is not None and not parts.port > 0:
        raise ValueError("expected a port from 1 to 65535")
    return value


def _web_addresses(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_web_address, values))


def _split(value: Any) -> Any:
    """Flags repeat, environment variables and single strings separate by commas."""
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    return value


def _key_value(pairs: tuple[str, ...]) -> tuple[str, ...]:
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not (separator and key and value):
            raise ValueError(f"expected KEY=VALUE, such as tp=2; got {pair!r}")
    return pairs


ListenAddress = Annotated[str, AfterValidator(_listen_address)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
WebAddresses = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_web_addresses)]
KeyValues = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_key_value)]


class Settings(BaseSettings):
    """How the planner runs.

    Values come from keyword arguments first, then from the environment, then from the defaults below;
    ``planner.cli.parse`` lays flags and a file around them. Times are in seconds, latencies in milliseconds, lengths in
    tokens.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    environment: Literal["kubernetes", "virtual"] = option(
        "kubernetes",
        "Where decisions go: a DynamoGraphDeployment, or any orchestrator that reads and acknowledges them.",
        group="deployment",
    )
    backend: Literal["vllm", "sglang", "trtllm", "mocker"] = option(
        "vllm", "Engine of the workers; names the components of a deployment.", group="deployment"
    )
    namespace: str = option(
        "dynamo",
        "Dynamo namespace of the deployment.",
        group="deployment",
        env=("DYN_NAMESPACE",),
        min_length=1,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
    )
    model_name: str | None = option(
        None,
        "Model to observe, in any case. Left out, it is the only one that the frontends serve.",
        group="deployment",
    )
    no_operation: bool = option(False, "Observe, forecast and explain, but scale nothing.", group="deployment")

    ttft: float = option(
        500.0,
        "Target of the time to first token.",
        group="sla",
        unit="ms",
        gt=0,
        reloadable=True,
        allow_inf_nan=False,
    )
    itl: float = option(
        50.0, "Target of the inter-token latency.", group="sla", unit="ms", gt=0, reloadable=True, allow_inf_nan=False
    )
    isl: float = option(
        3000, "Input sequence length to assume until it is observed.", group="sla", unit="tokens", gt=0, le=1e9
    )
    osl: float = option(
        150, "Output sequence length to assume until it is observed.", group="sla", unit="tokens", gt=0, le=1e9
    )

    adjustment_interval: float = option(
        180.0,
        "Time between two decisions, and the span each observation covers.",
        group="decision",
        unit="s",
        gt=0,
        le=86400,
        reloadable=True,
    )
    sizing: Literal["slo", "throughput"] = option(
        "slo",
        "How load becomes workers. slo: so that the wanted share of requests meets both targets, queues and "
        "uncertainty included. throughput: the published rules, load over capacity at the targets.",
        group="decision",
    )
    slo_percentile: Annotated[float, Field(ge=50, le=99.9)] | Literal["mean"] = option(
        95.0,
        "Percentage of requests that should meet both targets, from 50 to 99.9; or mean: that mean latencies should.",
        group="decision",
        unit="%",
    )
    worker_startup: float = option(
        120.0,
        "Time a worker takes from being asked for until it serves; what is measured takes its place.",
        group="decision",
        unit="s",
        ge=0,
        le=86400,
        reloadable=True,
    )
    reaction_interval: float | None = option(
        None,
        "Time between two looks at whether more workers are needed at once; 0 for none. "
        "Left out: a sixth of the adjustment interval with slo sizing, none with throughput.",
        group="decision",
        unit="s",
        ge=0,
        le=86400,
    )
    max_gpu_budget: int = option(
        8,
        "GPUs that all workers together may use, a hard cap; -1 for none.",
        group="decision",
        unit="GPUs",
        ge=NO_BUDGET,
        reloadable=True,
    )
    min_endpoint: int = option(
        1, "Workers that each pool keeps whatever the load.", group="decision", unit="workers", ge=0, reloadable=True
    )
    prefill_engine_num_gpu: int = option(1, "GPUs of one prefill worker.", group="decision", unit="GPUs", ge=1)
    decode_engine_num_gpu: int = option(1, "GPUs of one decode worker.", group="decision", unit="GPUs", ge=1)
    no_correction: bool = option(
        False,
        "Trust the profile as it is: learn no correction factors from observed latencies.",
        group="decision",
        reloadable=True,
    )
    scale_down_window: float | None = option(
        None,
        "Scale down only to the highest need of this span. Left out: twice the adjustment interval.",
        group="decision",
        unit="s",
        ge=0,
        reloadable=True,
    )
    idle_intervals: int = option(
        2,
        "Idle intervals in a row after which the pools go to their minimum.",
        group="decision",
        unit="intervals",
        ge=1,
        reloadable=True,
    )

    profile_results_dir: str = option(
        "profiling_results",
        "Folder with the profile: selected_{prefill,decode}_interpolation/raw_data.npz, "
        "{prefill,decode}_raw_data.json, or pre-swept {prefill,decode}.npz.",
        group="profile",
    )
    prefill_profile_select: KeyValues = option(
        (),
        "Row of a pre-swept prefill profile, as KEY=VALUE pairs such as tp=1; repeat or separate by commas.",
        group="profile",
    )
    decode_profile_select: KeyValues = option(
        (), "Row of a pre-swept decode profile, as KEY=VALUE pairs; repeat or separate by commas.", group="profile"
    )

    load_predictor: Literal["auto", "constant", "arima", "kalman", "prophet"] = option(
        "auto",
        "Model that forecasts request count, ISL and OSL; auto is a mixture of light ones that learns which to trust.",
        group="forecast",
    )
    load_predictor_log1p: bool = option(
        False, "Forecast log(1 + y) instead of y (arima, kalman, prophet).", group="forecast"
    )
    load_predictor_warmup_trace: Path | None = option(
        None,
        "Trace to warm the predictors with: JSON lines of timestamp (ms), input_length, output_length; plain or gzip.",
        group="forecast",
    )
    prophet_window_size: int = option(
        50, "Intervals that Prophet is fitted to.", group="forecast", unit="intervals", ge=2
    )
    kalman_q_level: float = option(1.0, "Kalman: process noise of the level, a variance.", group="forecast", ge=0)
    kalman_q_trend: float = option(0.1, "Kalman: process noise of the trend, a variance.", group="forecast", ge=0)
    kalman_r: float = option(10.0, "Kalman: measurement noise, a variance.", group="forecast", gt=0)
    kalman_min_points: int = option(
        5, "Kalman: intervals before it forecasts; the last value until then.", group="forecast", unit="intervals", ge=1
    )
    predictor_time_limit: float = option(
        10.0,
        "Longest time a model fit may take at one decision; after it the last fitted model answers.",
        group="forecast",
        unit="s",
        gt=0,
        le=600,
    )

    metrics_source: Literal["prometheus", "scrape"] = option(
        "prometheus", "Observe through a Prometheus server, or scrape the frontends directly.", group="source"
    )
    metric_pulling_prometheus_endpoint: WebAddress = option(
        "http://prometheus-kube-prometheus-prometheus.monitoring.svc.cluster.local:9090",
        "Base URL of the Prometheus server.",
        group="source",
        env=("PROMETHEUS_ENDPOINT",),
    )
    frontend_metrics_url: WebAddresses = option(
        (),
        "Metrics page of a frontend, such as http://frontend:8000/metrics, for the scrape source; "
        "repeat or separate by commas.",
        group="source",
    )
    metrics_preset: Literal["dynamo", "vllm", "sglang"] = option(
        "dynamo", "Metric names of the frontends.", group="source"
    )
    metrics_mapping: Path | None = option(
        None, "YAML file with metric names of another server, instead of a preset.", group="source"
    )
    metrics_timeout: float = option(
        10.0, "Longest time one metrics query may take.", group="source", unit="s", gt=0, le=300
    )
    prometheus_bearer_token: SecretStr | None = option(None, "Bearer token for Prometheus.", group="source")
    prometheus_bearer_token_file: Path | None = option(
        None, "File with the bearer token for Prometheus; read again when it changes.", group="source"
    )
    prometheus_username: str | None = option(None, "User for basic authentication at Prometheus.", group="source")
    prometheus_password: SecretStr | None = option(
        None, "Password for basic authentication at Prometheus.", group="source"
    )
    prometheus_ca_file: Path | None = option(
        None, "PEM file of the authority that signed the certificate of Prometheus.", group="source"
    )
    prometheus_skip_tls_verify: bool = option(
        False, "Accept any certificate of Prometheus. Open to eavesdroppers.", group="source"
    )

    virtual_listen: ListenAddress = option(
        "127.0.0.1:9086",
        "HOST:PORT of the HTTP interface for orchestrators; beyond loopback it needs a token.",
        group="virtual",
    )
    virtual_token: SecretStr | None = option(None, "Bearer token that orchestrators must show.", group="virtual")
    virtual_token_file: Path | None = option(None, "File with that token.", group="virtual")
    virtual_ack_timeout: float = option(
        1800.0,
        "Longest time a new decision waits for the acknowledgement of the one before.",
        group="virtual",
        unit="s",
        gt=0,
    )
    virtual_blocking: bool = option(
        False, "Wait within each adjustment until the decision is acknowledged.", group="virtual"
    )
    state_dir: Path = option(
        Path(user_state_dir("sla-planner")),
        "Folder that keeps decisions over a restart, in a subfolder for each namespace.",
        group="virtual",
    )

    metric_reporting_prometheus_port: int = option(
        0,
        "Port of the planner's own metrics, health and decisions; 0 for none.",
        group="report",
        env=("PLANNER_PROMETHEUS_PORT",),
        ge=0,
        le=65535,
    )
    metric_reporting_host: str = option("0.0.0.0", "Address that port listens on.", group="report")  # noqa: S104
    decision_history: int = option(
        500, "Decisions kept in memory for /api/v1/decisions.", group="report", unit="decisions", ge=1, le=100_000
    )
    log_dir: Path | None = option(None, "Folder for a rotated log file beside the console.", group="report")
    log_level: Literal["debug", "info", "warning", "error"] = option(
        "info", "Least severe message shown.", group="report"
    )
    log_format: Literal["auto", "console", "json"] = option(
        "auto", "Format of the console log; auto is console on a terminal and json elsewhere.", group="report"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keyword arguments, then the environment by the names of ``environment_names``."""
        environment = {name: found.value for name, found in from_environment(os.environ).items()}
        return init_settings, InitSettingsSource(settings_cls, environment)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        self._check_budget()
        self._check_credentials()
        if self.metrics_source == "scrape" and not self.frontend_metrics_url:
            raise ValueError("--metrics-source scrape needs at least one --frontend-metrics-url")
        return self

    def _check_budget(self) -> None:
        least = self.min_endpoint * (self.prefill_engine_num_gpu + self.decode_engine_num_gpu)
        if self.max_gpu_budget != NO_BUDGET and self.max_gpu_budget < least:
            raise ValueError(
                f"--max-gpu-budget {self.max_gpu_budget} cannot hold the minimum: --min-endpoint {self.min_endpoint} "
                f"of each pool with {self.prefill_engine_num_gpu} + {self.decode_engine_num_gpu} GPUs an engine take "
                f"{least} GPUs; raise the budget to at least {least} or lower --min-endpoint"
            )

    def _check_credentials(self) -> None:
        if self.prometheus_bearer_token and self.prometheus_bearer_token_file:
            raise ValueError("give --prometheus-bearer-token or --prometheus-bearer-token-file, not both")
        if (self.prometheus_username is None) != (self.prometheus_password is None):
            raise ValueError("--prometheus-username and --prometheus-password go together")
        if self.prometheus_username and (self.prometheus_bearer_token or self.prometheus_bearer_token_file):
            raise ValueError("give Prometheus a bearer token or a user with a password, not both")
        if self.virtual_token and self.virtual_token_file:
            raise ValueError("give --virtual-token or --virtual-token-file, not both")

    @property
    def reaction_interval_s(self) -> float:
        """Time between two reactions, seconds; 0 for none."""
        if self.reaction_interval is not None:
            return self.reaction_interval
        return self.adjustment_interval / 6 if self.sizing == "slo" else 0.0

    @property
    def scale_down_window_s(self) -> float:
        """Span over which the highest need holds a pool up, seconds."""
        return 2 * self.adjustment_interval if self.scale_down_window is None else self.scale_down_window


@dataclass(frozen=True, slots=True)
class Found:
    """A raw value and where it was found."""

    value: Any
    origin: str


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def extra(field: FieldInfo) -> dict[str, Any]:
    """What ``option`` noted about a field beyond what pydantic knows."""
    noted = field.json_schema_extra
    assert isinstance(noted, dict)  # noqa: S101 - every field is made by option()
    return noted


def environment_names(name: str) -> tuple[str, ...]:
    """The environment variables that set a field, the first one set wins."""
    field = Settings.model_fields[name]
    return (*extra(field)["env"], ENV_PREFIX + name.upper())


def reloadable_names() -> Iterator[str]:
    """The fields that a running planner can take anew."""
    return (name for name, field in Settings.model_fields.items() if extra(field)["reloadable"])


def from_environment(environ: Mapping[str, str]) -> dict[str, Found]:
    """The fields that the environment sets; an empty variable counts as unset."""
    found: dict[str, Found] = {}
    for name in Settings.model_fields:
        for variable in environment_names(name):
            if environ.get(variable):
                found[name] = Found(environ[variable], f"environment variable {variable}")
                break
    return found
