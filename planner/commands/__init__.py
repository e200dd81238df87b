"""The subcommands of ``python -m planner``: what each is called, does, takes, and where it is carried out."""

from planner.commands.parser import build_parser
from planner.commands.registry import COMMANDS, RUN, Command, find

__all__ = ["COMMANDS", "RUN", "Command", "build_parser", "find"]
