"""Every option of the planner in one model: the only place where a value is checked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from planner.settings.dashboard import DashboardOptions
from planner.settings.decision import DecisionOptions
from planner.settings.deployment import DeploymentOptions
from planner.settings.election import ElectionOptions
from planner.settings.engine import EngineOptions
from planner.settings.etcd import EtcdOptions
from planner.settings.forecast import ForecastOptions
from planner.settings.history import HistoryOptions
from planner.settings.kubernetes import ClusterOptions, KubernetesOptions
from planner.settings.options import OptionGroup, extra
from planner.settings.profile import ProfileOptions
from planner.settings.report import ReportOptions
from planner.settings.source import SourceOptions
from planner.settings.targets import TargetOptions
from planner.settings.virtual import VirtualOptions

ENV_PREFIX = "PLANNER_"


class Settings(
    DeploymentOptions,
    EngineOptions,
    TargetOptions,
    DecisionOptions,
    ProfileOptions,
    ForecastOptions,
    SourceOptions,
    VirtualOptions,
    EtcdOptions,
    KubernetesOptions,
    ClusterOptions,
    ElectionOptions,
    HistoryOptions,
    ReportOptions,
    DashboardOptions,
    BaseSettings,
):
    """How the planner runs.

    Values come from keyword arguments first, then from the environment, then from the defaults of the option groups;
    ``planner.cli.parse`` lays flags and a file around them. Times are in seconds, latencies in milliseconds, lengths in
    tokens.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="after")
    def _budget_holds_the_minimum(self) -> Self:
        # Engines of a size that only the profile tells are looked at when it is loaded.
        prefill_gpus = 0 if self.aggregated else self.prefill_engine_num_gpu or 1
        if problem := self.over_budget(prefill_gpus, self.decode_engine_num_gpu or 1):
            raise ValueError(problem)
        return self

    @property
    def history_file(self) -> Path:
        """Where the history is kept."""
        return self.state_dir / self.namespace / "history.sqlite"

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


GROUPS: tuple[type[OptionGroup], ...] = tuple(base for base in Settings.__bases__ if issubclass(base, OptionGroup))
"""The option groups in the order of help and reference."""


@dataclass(frozen=True, slots=True)
class Found:
    """A raw value and where it was found."""

    value: Any
    origin: str


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
