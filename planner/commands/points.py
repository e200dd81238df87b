"""The flags of the points that a profile is made of, alike for whatever measures or estimates them."""

from __future__ import annotations

from planner.commands.values import Group, above, span, whole


def add_points(group: Group, verb: str, *, prefill: int, context: int, batch: int) -> None:
    """How many points: ``--prefill-points``, ``--context-points`` and ``--batch-points``.

    Args:
        group: Where the flags belong.
        verb: What is done to the points.
        prefill: Inputs by default.
        context: Context lengths by default.
        batch: Batches in each of them by default.
    """
    for name, default, what in (
        ("prefill", prefill, f"Inputs to {verb}."),
        ("context", context, f"Context lengths to {verb}."),
        ("batch", batch, f"Batches to {verb} in each."),
    ):
        group.add_argument(
            f"--{name}-points", type=whole, metavar="N", default=default, help=f"{what} (default: {default})"
        )


def add_isl_range(group: Group, default: tuple[int, int] | None, otherwise: str = "") -> None:
    """Which inputs are measured: ``--isl-range``.

    Args:
        group: Where the flag belongs.
        default: The default, tokens; None if it depends on something.
        otherwise: What is measured by default, where it depends.
    """
    shown = otherwise if default is None else f"{default[0]},{default[1]}"
    group.add_argument(
        "--isl-range",
        type=span,
        metavar="LEAST,MOST",
        default=default,
        help=f"Inputs to measure, tokens. (default: {shown})",
    )


def add_max_kv_tokens(group: Group, otherwise: str) -> None:
    """The capacity of a decode engine's KV cache: ``--max-kv-tokens``.

    Args:
        group: Where the flag belongs.
        otherwise: What it is by default.
    """
    group.add_argument(
        "--max-kv-tokens",
        type=whole,
        metavar="TOKENS",
        default=None,
        help=f"Tokens that the KV cache of a decode engine holds. (default: {otherwise})",
    )


def add_max_num_seqs(group: Group, otherwise: str) -> None:
    """The sequences of a decode engine: ``--max-num-seqs``.

    Args:
        group: Where the flag belongs.
        otherwise: How many they are by default.
    """
    group.add_argument(
        "--max-num-seqs",
        type=whole,
        metavar="N",
        default=None,
        help=f"Sequences that a decode engine runs at once at most. (default: {otherwise})",
    )


def add_time_limit(group: Group, text: str) -> None:
    """How long may be measured: ``--time-limit``.

    Args:
        group: Where the flag belongs.
        text: Its help.
    """
    group.add_argument("--time-limit", type=above(0), metavar="S", default=None, help=text)
