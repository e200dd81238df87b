"""``python -m planner``."""

from __future__ import annotations

import os
import sys

from planner.cli import EXIT_BAD_CONFIGURATION, ConfigurationError, Invocation, parse, show_config


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
    return _carry_out(invocation, arguments)


def _carry_out(invocation: Invocation, arguments: list[str]) -> int:
    # Each command imports what it needs, so that none waits for the libraries of another.
    match invocation.command:
        case "check":
            from planner.checkup import check  # noqa: PLC0415

            return check(invocation.settings)
        case "demo":
            from planner.demo.show import demo  # noqa: PLC0415

            return demo(invocation)
        case "simulate":
            from planner.simulate.command import simulate  # noqa: PLC0415

            return simulate(invocation)
        case "forecast":
            from planner.simulate.backtest import forecast  # noqa: PLC0415

            return forecast(invocation)
        case _:
            from planner.service import run  # noqa: PLC0415

            return run(invocation, arguments)


if __name__ == "__main__":
    sys.exit(main())
