"""The flags of ``simulate``."""

from __future__ import annotations

from pathlib import Path

from planner.commands.values import Group, above, add_output, whole


def add_flags(group: Group) -> None:
    """Declare them."""
    add = group.add_argument
    add(
        "--trace",
        type=Path,
        metavar="FILE",
        default=None,
        help="Recorded requests: JSON lines of timestamp (ms), input_length, output_length, plain or gzip; or CSV of "
        "timestamp_s,request_rate,isl,osl, whose arrivals are sampled. Left out, --pattern makes them up.",
    )
    kinds = ("constant", "step", "ramp", "sinusoid", "burst", "diurnal")
    add(
        "--pattern",
        choices=kinds,
        default="sinusoid",
        help="Made-up load, with lengths around --isl and --osl. (default: sinusoid)",
    )
    add("--rps", type=above(0), metavar="N", default=5.0, help="Lowest rate of the pattern, requests/s. (default: 5)")
    add(
        "--peak-rps",
        type=above(0),
        metavar="N",
        default=None,
        help="Highest rate of the pattern, requests/s. (default: 3 times --rps)",
    )
    add("--period", type=above(0), metavar="S", default=900.0, help="Period of the pattern, s. (default: 900)")
    add(
        "--burstiness",
        type=above(0),
        metavar="CV",
        default=1.0,
        help="Coefficient of variation of the time between arrivals of the pattern; 1 is Poisson. (default: 1)",
    )
    add(
        "--arrivals",
        choices=("gamma", "weibull"),
        default="gamma",
        help="Distribution of the time between arrivals of the pattern. (default: gamma)",
    )
    add(
        "--start",
        type=above(0, including=True),
        metavar="S",
        default=0.0,
        help="Leave out the beginning of the trace, s. (default: 0)",
    )
    add(
        "--duration",
        type=above(0),
        metavar="S",
        default=None,
        help="Take so much of the trace, s. (default: all; 7200 of a pattern)",
    )
    add("--time-scale", type=above(0), metavar="FACTOR", default=1.0, help="Times faster than recorded. (default: 1)")
    add("--rate-scale", type=above(0), metavar="FACTOR", default=1.0, help="Times as many requests. (default: 1)")
    add(
        "--initial-prefill",
        type=whole,
        metavar="N",
        default=None,
        help="Prefill workers at the start. (default: enough for the first minutes)",
    )
    add(
        "--initial-decode",
        type=whole,
        metavar="N",
        default=None,
        help="Decode workers at the start. (default: enough for the first minutes)",
    )
    add(
        "--startup-cv",
        type=above(0, including=True),
        metavar="CV",
        default=0.0,
        help="Coefficient of variation of the time workers take to start, --worker-startup on average. (default: 0)",
    )
    add(
        "--worker-mtbf",
        type=above(0),
        metavar="S",
        default=None,
        help="Mean time between failures of a worker, s. (default: they never fail)",
    )
    add(
        "--missing-reads",
        type=above(0, including=True),
        metavar="SHARE",
        default=0.0,
        help="Share of observations that fail. (default: 0)",
    )
    add(
        "--ttft-factor",
        type=above(0),
        metavar="FACTOR",
        default=1.0,
        help="True TTFT over that of the profile. (default: 1)",
    )
    add(
        "--itl-factor",
        type=above(0),
        metavar="FACTOR",
        default=1.0,
        help="True ITL over that of the profile. (default: 1)",
    )
    add(
        "--compare",
        action="append",
        metavar="NAME=FLAG=VALUE,...",
        default=[],
        help="Compare with other settings, such as calm=scale-down-window=900,slo-percentile=99; repeat for more.",
    )
    add(
        "--baseline",
        action="append",
        metavar="NAME",
        default=[],
        help="Compare with published (the published rules with each predictor), hpa, clairvoyant, static (the smallest "
        "that attains --slo-percentile) or static:P,D; repeat for more.",
    )
    add(
        "--processes",
        type=whole,
        metavar="N",
        default=None,
        help="Runs at a time. (default: as many as there are cores)",
    )
    add("--seed", type=int, metavar="N", default=0, help="Seed of everything random. (default: 0)")
    add_output(group, "simulation-output", "report and plots")
