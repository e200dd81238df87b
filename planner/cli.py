"""The command line: flags, environment and file become settings; wrong ones become clear errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from planner.commands import Command, build_parser, find
from planner.settings import GROUPS, ConfigurationError, Found, Settings, flag, from_environment, nearest, validate
from planner.settings.file import from_file

EXIT_FAILED = 1
EXIT_BAD_CONFIGURATION = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command line, understood.

    Attributes:
        command: What to do.
        name: The words of the command, such as ``simulate``.
        arguments: The arguments as given.
        settings: The effective settings.
        origins: Where each field that is not a default came from.
        print_config: Whether to show the settings instead of running.
        extras: Values of the command's own flags.
    """

    command: Command
    name: str
    arguments: tuple[str, ...]
    settings: Settings
    origins: Mapping[str, str]
    print_config: bool
    extras: argparse.Namespace


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Invocation:
    """Understand a command line.

    Args:
        arguments: The arguments after the program's name.
        environ: The environment.

    Raises:
        ConfigurationError: A value is not accepted, or the file cannot be used.
        SystemExit: ``--help`` or ``--version`` was asked for.
    """
    try:
        path, rest = find(arguments)
    except LookupError as error:
        raise ConfigurationError(str(error.args[0])) from None
    parser = build_parser(path)
    known, unknown = parser.parse_known_args(rest)
    if unknown:
        raise ConfigurationError(_unrecognized(unknown, parser))
    given = vars(known)
    command, name = path[-1], " ".join(part.name for part in path)
    if not command.target:
        choices = ", ".join(below.name for below in command.below)
        raise ConfigurationError(f"command {name!r} needs another word; choose from {choices}")
    flags = {name: given.pop(name) for name in tuple(given) if name in Settings.model_fields}
    found = gather(flags, environ, given.get("config"))
    return Invocation(
        command=command,
        name=name,
        arguments=tuple(arguments),
        settings=validate(found),
        origins={name: each.origin for name, each in found.items()},
        print_config=given.get("print_config", False),
        extras=argparse.Namespace(**given),
    )


def _unrecognized(unknown: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """What is said of arguments that a command does not take."""
    words = [word.partition("=")[0] for word in unknown if word.startswith("--")]
    near = nearest(words[0], parser._option_string_actions) if words else None
    return f"unrecognized arguments: {' '.join(unknown)}; " + (
        f"did you mean {near}?" if near else f"see {parser.prog} --help"
    )


def failed(invocation: Invocation, error: Exception, code: int = EXIT_BAD_CONFIGURATION) -> int:
    """Tell on standard error why a command ends.

    Args:
        invocation: The command.
        error: Why; its message says what to do.
        code: The exit code.

    Returns:
        The exit code.
    """
    print(f"python -m planner {invocation.name}: error: {error}", file=sys.stderr)  # noqa: T201
    return code


def interrupted(invocation: Invocation, where: str) -> int:
    """Tell on standard error where a command was interrupted.

    Args:
        invocation: The command.
        where: Such as ``stopped before any run had ended``.

    Returns:
        The exit code.
    """
    print(f"python -m planner {invocation.name}: {where}", file=sys.stderr)  # noqa: T201
    return EXIT_INTERRUPTED


def gather(flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None) -> dict[str, Found]:
    """Lay flag over environment over file.

    Raises:
        ConfigurationError: The file cannot be read or has a key that is no option.
    """
    found = from_file(config) if config else {}
    found |= from_environment(environ)
    found |= {name: Found(value, f"flag {flag(name)}") for name, value in flags.items()}
    return found


def show_config(invocation: Invocation) -> str:
    """The effective settings as YAML, each with a comment that says where it came from; secrets masked."""
    values = invocation.settings.model_dump(mode="json")
    lines = []
    for group in GROUPS:
        lines.append(f"# {group.title}")
        for name in group.model_fields:
            text = yaml.safe_dump(values[name], default_flow_style=True, width=1000).removesuffix("...\n").strip()
            lines.append(f"{name}: {text}  # {invocation.origins.get(name, 'default')}")
        lines.append("")
    return "\n".join(lines)
