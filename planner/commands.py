"""The flags that single commands have beside the settings."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

Group = argparse._ArgumentGroup


def _above(least: float, *, including: bool = False) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not (value >= least if including else value > least):
            raise argparse.ArgumentTypeError(f"{text} is not {'at least' if including else 'above'} {least:g}")
        return value

    return number


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return value


def add_demo(group: Group) -> None:
    """Flags of ``demo``."""
    group.add_argument(
        "--speed", type=_above(0), metavar="FACTOR", default=30.0, help="Times faster than real time. (default: 30)"
    )
    group.add_argument(
        "--duration",
        type=_above(0),
        metavar="S",
        default=90.0,
        help="Length of the demo in real seconds. (default: 90)",
    )
    _add_output(group, "demo-output", "the plot")
    group.add_argument("--seed", type=int, metavar="N", default=1, help="Seed of the traffic. (default: 1)")


def _add_output(group: Group, folder: str, what: str) -> None:
    group.add_argument(
        "--output", type=Path, metavar="DIR", default=Path(folder), help=f"Folder for {what}. (default: {folder})"
    )


def add_simulate(group: Group) -> None:
    """Flags of ``simulate``."""
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
    add("--rps", type=_above(0), metavar="N", default=5.0, help="Lowest rate of the pattern, requests/s. (default: 5)")
    add(
        "--peak-rps",
        type=_above(0),
        metavar="N",
        default=None,
        help="Highest rate of the pattern, requests/s. (default: 3 times --rps)",
    )
    add("--period", type=_above(0), metavar="S", default=900.0, help="Period of the pattern, s. (default: 900)")
    add(
        "--burstiness",
        type=_above(0),
        metavar="CV",
        default=1.0,
        help="Coefficient of variation of the time between arrivals of the pattern; 1 is Poisson. (default: 1)",
    )
    add(
        "--start",
        type=_above(0, including=True),
        metavar="S",
        default=0.0,
        help="Leave out the beginning of the trace, s. (default: 0)",
    )
    add(
        "--duration",
        type=_above(0),
        metavar="S",
        default=None,
        help="Take so much of the trace, s. (default: all; 7200 of a pattern)",
    )
    add("--time-scale", type=_above(0), metavar="FACTOR", default=1.0, help="Times faster than recorded. (default: 1)")
    add("--rate-scale", type=_above(0), metavar="FACTOR", default=1.0, help="Times as many requests. (default: 1)")
    add(
        "--initial-prefill",
        type=_whole,
        metavar="N",
        default=None,
        help="Prefill workers at the start. (default: enough for the first minutes)",
    )
    add(
        "--initial-decode",
        type=_whole,
        metavar="N",
        default=None,
        help="Decode workers at the start. (default: enough for the first minutes)",
    )
    add(
        "--startup-cv",
        type=_above(0, including=True),
        metavar="CV",
        default=0.0,
        help="Coefficient of variation of the time workers take to start, --worker-startup on average. (default: 0)",
    )
    add(
        "--worker-mtbf",
        type=_above(0),
        metavar="S",
        default=None,
        help="Mean time between failures of a worker, s. (default: they never fail)",
    )
    add(
        "--missing-reads",
        type=_above(0, including=True),
        metavar="SHARE",
        default=0.0,
        help="Share of observations that fail. (default: 0)",
    )
    add(
        "--ttft-factor",
        type=_above(0),
        metavar="FACTOR",
        default=1.0,
        help="True TTFT over that of the profile. (default: 1)",
    )
    add(
        "--itl-factor",
        type=_above(0),
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
        type=_whole,
        metavar="N",
        default=None,
        help="Runs at a time. (default: as many as there are cores)",
    )
    add("--seed", type=int, metavar="N", default=0, help="Seed of everything random. (default: 0)")
    _add_output(group, "simulation-output", "report and plots")


def add_forecast(group: Group) -> None:
    """Flags of ``forecast``."""
    add = group.add_argument
    add("--trace", type=Path, metavar="FILE", required=True, help="Recorded requests, as for simulate.")
    add(
        "--predictors",
        metavar="NAMES",
        default="auto,constant,kalman,arima",
        help="Predictors to try, separated by commas. (default: auto,constant,kalman,arima)",
    )
    add(
        "--horizons",
        metavar="STEPS",
        default="1,2,3",
        help="Intervals to look ahead, separated by commas. (default: 1,2,3)",
    )
    _add_output(group, "forecast-output", "the plot")


ADDITIONS: Mapping[str, tuple[str, Callable[[Group], None]]] = {
    "demo": ("Demo", add_demo),
    "simulate": ("Simulation", add_simulate),
    "forecast": ("Backtest", add_forecast),
}
