"""The commands there are; a new one is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from planner.commands import check, dashboard, demo, dgdr, forecast, history, profile, simulate
from planner.commands.values import Group
from planner.settings import (
    GROUPS,
    ClusterOptions,
    DeploymentOptions,
    ElectionOptions,
    EngineOptions,
    OptionGroup,
    ProfileOptions,
    ReportOptions,
    SourceOptions,
    TargetOptions,
    VirtualOptions,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command, which may have others below it.

    Attributes:
        name: Its word on the command line.
        summary: What it does, for help.
        target: ``module:function`` that carries it out: it takes an ``Invocation`` and returns the exit code. The
            module is imported when the command is given, so that none waits for the libraries of another. Empty for
            a command that only has others below it.
        add_flags: Declares the flags that it has beside the settings; their names are no settings' names.
        title: Heading of those flags in its help.
        note: What else its help says.
        groups: The groups of settings that are flags of it.
        below: The commands below it: ``profile`` has ``profile show``.
    """

    name: str
    summary: str
    target: str = ""
    add_flags: Callable[[Group], None] | None = None
    title: str = "Options of this command"
    note: str = ""
    groups: tuple[type[OptionGroup], ...] = GROUPS
    below: tuple[Command, ...] = ()

    def load(self) -> Callable[[Any], int]:
        """The function that carries it out."""
        module, _, function = self.target.partition(":")
        carry_out: Callable[[Any], int] = getattr(import_module(module), function)
        return carry_out


_ALL_FLAGS = "It takes every flag of the planner itself, so that a configuration can be tried as it stands."

RUN = Command(name="run", summary="observe, decide and scale until stopped (the default)", target="planner.service:run")
PROFILE_COMMANDS: tuple[Command, ...] = (
    Command(
        name="estimate",
        summary="estimate a profile offline, choose the engines, and write it to --profile-results-dir",
        target="planner.profile.estimate:run",
        add_flags=profile.add_estimate_flags,
        title="Estimate",
        groups=(EngineOptions, TargetOptions, ProfileOptions),
    ),
    Command(
        name="measure",
        summary="measure running engines, and write their profile to --profile-results-dir",
        target="planner.profile.measure:run",
        add_flags=profile.add_measure_flags,
        title="Measure",
        groups=(EngineOptions, TargetOptions, ProfileOptions),
    ),
    Command(
        name="from-metrics",
        summary="fit or correct a profile by what Prometheus kept of a deployment",
        target="planner.profile.from_metrics:run",
        add_flags=profile.add_from_metrics_flags,
        title="From metrics",
        groups=(DeploymentOptions, EngineOptions, TargetOptions, ProfileOptions, SourceOptions),
    ),
    Command(
        name="show",
        summary="a profile as tables and plots, with the operating point for the targets",
        target="planner.profile.show:show",
        add_flags=profile.add_show_flags,
        title="Show",
        groups=(TargetOptions, ProfileOptions),
    ),
    Command(
        name="check",
        summary="whether a profile makes sense, with figures",
        target="planner.profile.check:check",
        add_flags=profile.add_check_flags,
        title="Check",
        groups=(EngineOptions, TargetOptions, ProfileOptions),
    ),
    Command(
        name="diff",
        summary="two profiles side by side",
        target="planner.profile.diff:diff",
        add_flags=profile.add_diff_flags,
        title="Compare",
        groups=(TargetOptions,),
    ),
    Command(
        name="convert",
        summary="a profile in another layout, or as a ConfigMap",
        target="planner.profile.convert:convert",
        add_flags=profile.add_convert_flags,
        title="Convert",
        groups=(ProfileOptions,),
    ),
)
DGDR_COMMANDS: tuple[Command, ...] = (
    Command(
        name="render",
        summary="the manifests for a request, without a cluster: a deployment with its planner, and its profile",
        target="planner.dgdr.render:run",
        add_flags=dgdr.add_render_flags,
        title="Render",
        groups=(ClusterOptions,),
    ),
    Command(
        name="controller",
        summary="take care of DynamoGraphDeploymentRequests in a cluster until stopped",
        target="planner.dgdr.controller.command:run",
        add_flags=dgdr.add_controller_flags,
        title="Controller",
        groups=(ClusterOptions, ElectionOptions, ReportOptions),
    ),
    Command(
        name="profile",
        summary="measure temporary deployments for a request; what the controller's jobs run",
        target="planner.dgdr.online.command:run",
        add_flags=dgdr.add_profiling_flags,
        title="Profile",
        groups=(ClusterOptions, ReportOptions),
    ),
)
COMMANDS: tuple[Command, ...] = (
    RUN,
    Command(
        name="check",
        summary="look whether a run would work, and say how to mend what would not",
        target="planner.checkup:check",
        add_flags=check.add_flags,
        title="Check",
    ),
    Command(
        name="demo",
        summary="watch the planner drive an embedded deployment, without installing anything",
        target="planner.demo.show:demo",
        add_flags=demo.add_flags,
        title="Demo",
    ),
    Command(
        name="simulate",
        summary="see what it would do to your traffic, and how others compare",
        target="planner.simulate.command:simulate",
        add_flags=simulate.add_flags,
        title="Simulation",
        note=f"{_ALL_FLAGS}\n"
        "Those that say where numbers come from, where decisions go and what is reported, such as\n"
        "--no-operation, have no effect.",
    ),
    Command(
        name="forecast",
        summary="see which predictor knows your traffic best",
        target="planner.simulate.forecast:forecast",
        add_flags=forecast.add_flags,
        title="Backtest",
        note=f"{_ALL_FLAGS}\nOnly --adjustment-interval and those of the predictors have an effect.",
    ),
    Command(
        name="history",
        summary="what was seen and decided, as a table, CSV or JSON",
        target="planner.history.show:show",
        add_flags=history.add_history_flags,
        title="History",
        groups=(DeploymentOptions, VirtualOptions),
    ),
    Command(
        name="replay",
        summary="decide anew, with other settings, on what was recorded",
        target="planner.history.redecide:redecide",
        add_flags=history.add_replay_flags,
        title="Replay",
    ),
    Command(
        name="dashboard",
        summary="a recorded run as one page to open, keep and send",
        target="planner.dashboard.command:dashboard",
        add_flags=dashboard.add_flags,
        title="Dashboard of a history",
    ),
    Command(name="profile", summary="make, read and convert engine profiles", below=PROFILE_COMMANDS),
    Command(name="dgdr", summary="from an SLA to a deployment: DynamoGraphDeploymentRequest", below=DGDR_COMMANDS),
)


def find(arguments: Sequence[str]) -> tuple[tuple[Command, ...], list[str]]:
    """The command that arguments begin with, as its path from the top, and the arguments after it.

    Raises:
        LookupError: A word is no command.
    """
    path, rest, choices = list[Command](), list(arguments), COMMANDS
    while choices and rest and not rest[0].startswith("-"):
        chosen = next((command for command in choices if command.name == rest[0]), None)
        if chosen is None:
            words = " ".join([*(command.name for command in path), rest[0]])
            raise LookupError(f"command {words!r} is unknown; choose from {', '.join(_names(choices))}")
        path.append(chosen)
        choices = chosen.below
        del rest[0]
    return tuple(path) or (RUN,), rest


def _names(commands: Sequence[Command]) -> Iterator[str]:
    return (command.name for command in commands)
