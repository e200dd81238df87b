"""The parser of a command: its own flags, and the options of its groups of settings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NoReturn, get_args, get_origin

from pydantic.fields import FieldInfo

from planner.commands.registry import COMMANDS, RUN, Command
from planner.settings import ConfigurationError, environment_names, extra, flag
from planner.settings.words import default_text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(message)


def build_parser(path: Sequence[Command]) -> argparse.ArgumentParser:
    """The parser of one command, given with those it is below; the options of its groups are flags of it."""
    command = path[-1]
    words = "" if command is RUN else " " + " ".join(part.name for part in path)
    parser = _Parser(
        prog=f"python -m planner{words}",
        usage=f"python -m planner{words or ' [COMMAND]'}{' COMMAND' if command.below else ''} [flags]",
        description=_description(command),
        epilog="A flag beats its environment variable, that beats the file, that beats the default.",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=_width()),
        argument_default=argparse.SUPPRESS,
        add_help=False,
    )
    _add_general(parser)
    if command.add_flags is not None:
        command.add_flags(parser.add_argument_group(command.title))
    for options in command.groups if command.target else ():
        group = parser.add_argument_group(options.title)
        for name, field in options.model_fields.items():
            _add_flag(group, name, field)
    return parser


def _description(command: Command) -> str:
    if command is RUN:
        return "Keep the right number of prefill and decode workers for an LLM deployment's SLA.\n\n" + _listed(
            COMMANDS
        )
    text = command.summary[0].upper() + command.summary[1:] + "."
    return "\n\n".join(filter(None, (text, command.note, _listed(command.below) if command.below else "")))


def _width() -> int:
    return min(os.get_terminal_size().columns, 120) if sys.stdout.isatty() else 100


def _listed(commands: Sequence[Command]) -> str:
    width = max(len(command.name) for command in commands)
    return "\n".join(["Commands:", *(f"  {command.name:{width}}  {command.summary}" for command in commands)])


def _add_general(parser: argparse.ArgumentParser) -> None:
    general = parser.add_argument_group("General")
    general.add_argument("-h", "--help", action="help", help="Show this help and exit.")
    general.add_argument(
        "--version",
        action="version",
        version=f"sla-planner {version('sla-planner')}",
        help="Show the version and exit.",
    )
    general.add_argument("--config", type=Path, metavar="FILE", help="YAML file with any of the options below.")
    general.add_argument(
        "--print-config", action="store_true", help="Show the effective settings and where each came from, and exit."
    )


def _add_flag(group: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    text = _help(name, field)
    if field.annotation is bool:
        group.add_argument(flag(name), nargs="?", const="true", metavar="true|false", help=text)
    elif get_origin(field.annotation) is tuple:
        group.add_argument(flag(name), action="append", metavar=_metavar(name, field), help=text)
    else:
        group.add_argument(flag(name), metavar=_metavar(name, field), help=text)


def _metavar(name: str, field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return "{" + ",".join(get_args(field.annotation)) + "}"
    if unit := extra(field)["unit"]:
        return str(unit).upper()
    kinds = (field.annotation, *get_args(field.annotation))
    if Path in kinds:
        return "DIR" if name.endswith("dir") else "FILE"
    return "N" if int in kinds or float in kinds else name.rpartition("_")[2].upper()


def _help(name: str, field: FieldInfo) -> str:
    notes = [] if field.default in (None, False, ()) else [f"default: {default_text(name, field)}"]
    notes.append("env " + " or ".join(environment_names(name)))
    return f"{field.description} ({'; '.join(notes)})".replace("%", "%%")
