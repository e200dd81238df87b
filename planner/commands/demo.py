"""The flags of ``demo``."""

from __future__ import annotations

from planner.commands.values import Group, above, add_output


def add_flags(group: Group) -> None:
    """Declare them."""
    group.add_argument(
        "--speed", type=above(0), metavar="FACTOR", default=30.0, help="Times faster than real time. (default: 30)"
    )
    group.add_argument(
        "--duration",
        type=above(0),
        metavar="S",
        default=90.0,
        help="Length of the demo in real seconds. (default: 90)",
    )
    add_output(group, "demo-output", "the plot")
    group.add_argument("--seed", type=int, metavar="N", default=1, help="Seed of the traffic. (default: 1)")
