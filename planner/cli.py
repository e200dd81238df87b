"""The command line: flags, environment and file become settings; wrong ones become clear errors."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from planner.commands import COMMANDS, RUN, Command, find
from planner.settings import GROUPS, Found, Settings, environment_names, extra, flag, from_environment

EXIT_FAILED = 1
EXIT_BAD_CONFIGURATION = 2


class ConfigurationError(Exception):
    """Settings that cannot be used; every line of the message names an option, its value and what is accepted."""


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
    given = vars(build_parser(path).parse_args(rest))
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


def gather(flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None) -> dict[str, Found]:
    """Lay flag over environment over file.

    Raises:
        ConfigurationError: The file cannot be read or has a key that is no option.
    """
    found = from_file(config) if config else {}
    found |= from_environment(environ)
    found |= {name: Found(value, f"flag {flag(name)}") for name, value in flags.items()}
    return found


def from_file(path: Path) -> dict[str, Found]:
    """The options that a YAML file sets; keys as flags or as fields.

    Raises:
        ConfigurationError: It cannot be read, is no mapping, or has a key that is no option.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--config {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"--config {path}: is no text in UTF-8: {error}") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--config {path}: cannot be read as YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"--config {path}: expected a mapping of options, got {type(content).__name__}")
    found = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, n=1)
            hint = f"did you mean {near[0]}?" if near else "see --help for the options there are"
            raise ConfigurationError(f"--config {path}: {key!r} is no option; {hint}")
        found[name] = Found(value, f"file {path}")
    return found


def validate(found: Mapping[str, Found]) -> Settings:
    """The settings of what was found.

    Raises:
        ConfigurationError: A value is not accepted.
    """
    try:
        return Settings(**{name: each.value for name, each in found.items()})
    except ValidationError as error:
        lines = [_complaint(problem, found) for problem in error.errors(include_url=False, include_context=False)]
        raise ConfigurationError("\n".join(dict.fromkeys(lines))) from None


def _complaint(problem: Any, found: Mapping[str, Found]) -> str:
    if not problem["loc"]:
        return str(problem["msg"]).removeprefix("Value error, ")
    name = str(problem["loc"][0])
    field = Settings.model_fields[name]
    origin = found[name].origin if name in found else "keyword argument"
    value = "the value" if is_secret(field) or name not in found else repr(found[name].value)
    detail = str(problem["msg"]).removeprefix("Value error, ") if problem["type"] == "value_error" else ""
    accepted = detail or f"accepted is {accepts(field)}"
    return f"{flag(name)}: {value} ({origin}) is not accepted; {accepted}"


def is_secret(field: FieldInfo) -> bool:
    """Whether the value of a field must never be shown."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def accepts(field: FieldInfo) -> str:
    """What a field accepts, in words: type, bounds and unit."""
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(field.annotation))
    words = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
    kinds = list(_kinds(field.annotation))
    text = next((words[kind] for kind in kinds if kind in words), "text")
    limits = [limit for item in (*field.metadata, *_inner_metadata(field.annotation)) if (limit := _limit(item))]
    choices = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    unit = extra(field)["unit"]
    return " ".join(filter(None, [text, " and ".join(limits), f"in {unit}" if unit else "", *_or(choices)]))


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, without None."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    yield from (get_args(part)[0] if get_origin(part) is Annotated else part for part in parts if part is not NoneType)


def _inner_metadata(annotation: Any) -> Iterator[Any]:
    """Bounds of the types that an annotation allows."""
    for part in get_args(annotation):
        if get_origin(part) is Annotated:
            for item in get_args(part)[1:]:
                yield from getattr(item, "metadata", [item])


def _or(choices: Sequence[str]) -> Sequence[str]:
    return ["or", *choices] if choices else []


def _limit(item: Any) -> str:
    match item:
        case annotated_types.Gt(gt=bound):
            return f"above {bound}"
        case annotated_types.Ge(ge=bound):
            return f"of at least {bound}"
        case annotated_types.Lt(lt=bound):
            return f"below {bound}"
        case annotated_types.Le(le=bound):
            return f"of at most {bound}"
        case annotated_types.MinLen(min_length=bound):
            return f"of at least {bound} character"
    pattern = getattr(item, "pattern", None)
    return f"matching {pattern}" if pattern else ""


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
    return f"{text}\n\n{_listed(command.below)}" if command.below else text


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


def default_text(name: str, field: FieldInfo) -> str:
    """The default as help and reference show it: without what depends on the machine."""
    if name == "state_dir":
        return "sla-planner in the user's state folder"
    default = field.default
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


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
