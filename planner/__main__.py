"""``python -m planner``."""

from __future__ import annotations

import os
import sys

from planner.cli import EXIT_BAD_CONFIGURATION, parse, show_config
from planner.settings import ConfigurationError


def main(arguments: list[str] | None = None) -> int:
    """Carry out a command line; the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        invocation = parse(arguments, os.environ)
    except ConfigurationError as error:
        print(f"python -m planner: error: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_BAD_CONFIGURATION
    if invocation.print_config:
        print(show_config(invocation))  # noqa: T201
        return 0
    return invocation.command.load()(invocation)


if __name__ == "__main__":
    sys.exit(main())
