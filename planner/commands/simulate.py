"""The flags of ``simulate``."""

from __future__ import annotations

from pathlib import Path

from planner.commands.values import Group, above, add_output, add_part, add_processes, seed, whole


def add_flags(group: Group) -> None:
    """Declare them."""
    add = group.add_argument
    add(
        "--trace",
        type=Path,
        metavar="FILE",
        default=None,
        help="Recorded requests: JSON lines, or CSV, of timestamp (ms, or a date and time), input_length, "
        "output_length; or recorded rates: CSV, named .csv, of timestamp_s,request_rate,isl,osl, whose arrivals are "
        "sampled; plain or gzip. "
        "Left out, --pattern makes them up.",
    )
    kinds = ("constant", "step", "ramp", "sinusoid", "burst", "diurnal")
    add(
        "--pattern",
        choices=kinds,
        default=None,
        help="Made-up load, with lengths around --isl and --osl. (default: sinusoid)",
    )
    add(
        "--rps",
        type=above(0, most=1e6),
        metavar="N",
        default=None,
        help="Rate at the beginning of the pattern and between its peaks, requests/s. (default: 5)",
    )
    add(
        "--peak-rps",
        type=above(0, most=1e6),
        metavar="N",
        default=None,
        help="Rate after the step, at the end of the ramp, at the peaks, requests/s. (default: 3 times --rps)",
    )
    add(
        "--period",
        type=above(0),
        metavar="S",
        default=None,
        help="From one peak to the next, or until the step, s. (default: 900; 86400 of diurnal)",
    )
    add(
        "--burstiness",
        type=above(0),
        metavar="CV",
        default=None,
        help="Coefficient of variation of the time between arrivals of the pattern; 1 is Poisson. (default: 1)",
    )
    add(
        "--arrivals",
        choices=("gamma", "weibull"),
        default=None,
        help="Distribution of the time between arrivals of the pattern. (default: gamma)",
    )
    add_part(group, "the trace or pattern", "all of a trace; 7200 of a pattern, 86400 of diurnal")
    add("--time-scale", type=above(0), metavar="FACTOR", default=1.0, help="Times faster than recorded. (default: 1)")
    add(
        "--rate-scale",
        type=above(0, most=10_000),
        metavar="FACTOR",
        default=1.0,
        help="Times as many requests. (default: 1)",
    )
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
        type=above(0, including=True, most=1),
        metavar="SHARE",
        default=0.0,
        help="Share of observations that fail, 0 to 1. (default: 0)",
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
        help="Compare with published (the published rules with each predictor), published:PREDICTOR, hpa, clairvoyant, "
        "static (the smallest that attains --slo-percentile) or static:P,D; repeat for more.",
    )
    add_processes(group, "Runs")
    add(
        "--fail-below",
        type=above(0, most=100),
        metavar="%",
        default=None,
        help="End with exit code 1 if the planner serves a smaller percentage of requests within both targets. "
        "(default: whatever it serves will do)",
    )
    add("--seed", type=seed, metavar="N", default=0, help="Seed of everything random. (default: 0)")
    add_output(group, "simulation-output", "report and plots")
