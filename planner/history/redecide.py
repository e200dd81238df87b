"""``python -m planner replay``: recorded observations decided anew with other settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.progress import track
from rich.table import Table

from planner.cli import Invocation, failed
from planner.history.plot import draw
from planner.history.replay import Replayed, Summary, replay, summarise
from planner.history.show import POOLS, utc
from planner.output import prepare
from planner.planner import Planner
from planner.report.database import HistoryError
from planner.report.life import Run
from planner.report.reader import HistoryReader
from planner.report.record import Record
from planner.settings import ConfigurationError, Settings, flag
from planner.simulation.trace import TraceError
from profiles import ProfileError

_SHOWN = 15


def redecide(invocation: Invocation) -> int:
    """Carry out the command.

    Returns:
        The exit code: 0, or 2 if the history or the settings cannot be used.
    """
    extras = invocation.extras
    try:
        reader = HistoryReader(extras.history or invocation.settings.history_file)
        records: Sequence[Record] = reader.records(since=extras.since, until=extras.until)
        run = _run(reader, records)
        settings, changed = _settings(run, invocation)
        records = _same_interval(records, settings)
        prepare(extras.output)
        planner = Planner(settings)
        replayed = replay(planner, track(records, "deciding anew", console=Console(stderr=True), transient=True))
    except (HistoryError, ConfigurationError, ProfileError, TraceError) as error:
        return failed(invocation, error)
    _hand_out(replayed, planner, changed, extras.output)
    return 0


def _run(reader: HistoryReader, records: Sequence[Record]) -> Run:
    """The run whose settings are those of the newest record."""
    if not records:
        raise HistoryError(f"the history {reader.path} has no record of that time")
    newest = records[-1].decision.time
    runs = reader.runs()
    return next((run for run in reversed(runs) if run.started <= newest), runs[-1])


def _settings(run: Run, invocation: Invocation) -> tuple[Settings, dict[str, tuple[Any, Any]]]:
    """The settings that were recorded, with those that were given now laid over; and what that changes."""
    given = {name: getattr(invocation.settings, name) for name in invocation.origins}
    recorded = {name: value for name, value in run.settings.items() if name in Settings.model_fields}
    trace = recorded.get("load_predictor_warmup_trace")
    if trace and not Path(trace).exists():
        print(f"note: the warm-up trace {trace} is not here; it is left out", file=sys.stderr)  # noqa: T201
        del recorded["load_predictor_warmup_trace"]
    try:
        before, now = Settings(**recorded), Settings(**{**recorded, **given})
    except ValidationError as error:
        problems = "; ".join(str(problem["msg"]) for problem in error.errors())
        raise ConfigurationError(f"the recorded settings with those given are not accepted: {problems}") from None
    changed = {
        name: (getattr(before, name), getattr(now, name))
        for name in given
        if getattr(before, name) != getattr(now, name)
    }
    if "adjustment_interval" in changed:
        raise ConfigurationError(
            f"--adjustment-interval: what was recorded every {before.adjustment_interval:g} s cannot be decided every "
            f"{now.adjustment_interval:g} s; leave it out"
        )
    if "mode" in changed:
        raise ConfigurationError(
            f"--mode: what was recorded in mode {before.mode} cannot be decided in mode {now.mode}"
        )
    return now, changed


def _same_interval(records: Sequence[Record], settings: Settings) -> Sequence[Record]:
    """The records since the interval last changed: series of different steps cannot be joined."""
    interval = settings.adjustment_interval
    for index in range(len(records) - 1, -1, -1):
        one = records[index]
        if one.kind == "adjustment" and abs(one.observation.interval - interval) > 0.01 * interval:
            begin = utc(records[index].decision.time)
            print(f"note: until {begin} the interval was another; that is left out", file=sys.stderr)  # noqa: T201
            records = records[index + 1 :]
            break
    if not records:
        raise HistoryError(f"nothing was recorded at an interval of {interval:g} s, which is the newest run's")
    return records


def _hand_out(
    replayed: Sequence[Replayed], planner: Planner, changed: Mapping[str, tuple[Any, Any]], output: Path
) -> None:
    interval, gpus = planner.settings.adjustment_interval, planner.engine_gpus
    before = summarise([one.record.decision for one in replayed], interval, gpus)
    now = summarise([one.decision for one in replayed], interval, gpus)
    output.mkdir(parents=True, exist_ok=True)
    (output / "replay.json").write_text(_as_json(replayed, before, now, changed), encoding="utf-8")
    pools = POOLS[planner.settings.aggregated]
    draw(replayed, output / "replay.png", pools)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(_settings_line(changed), highlight=False)
    console.print(_figures(before, now, pools))
    different = [one for one in replayed if one.differs]
    console.print(f"{len(different)} of {len(replayed)} decisions differ.", highlight=False)
    if different:
        console.print(_differences(different[:_SHOWN], pools))
        if len(different) > _SHOWN:
            console.print(f"... and {len(different) - _SHOWN} more, in replay.json", highlight=False)
    console.print(
        "Learnt from the latencies of the workers there were. What other workers would have made of them is a question "
        "for simulate.",
        highlight=False,
    )
    console.print(f"wrote {output / 'replay.json'} and {output / 'replay.png'}", highlight=False)


def _settings_line(changed: Mapping[str, tuple[Any, Any]]) -> str:
    if not changed:
        return "With the settings that were recorded."
    return "With " + ", ".join(f"{flag(name)} {now} (was {before})" for name, (before, now) in changed.items()) + "."


def _figures(before: Summary, now: Summary, pools: Mapping[str, str]) -> Table:
    table = Table(pad_edge=False)
    table.add_column("")
    for heading in ("recorded", "replayed", "difference"):
        table.add_column(heading, justify="right")
    for name, heading in (
        ("scalings", "changes of a target"),
        ("gpu_hours", "GPU-hours asked for"),
        *(
            (f"most_{pool}", "most workers" if label == "workers" else f"most {label} workers")
            for pool, label in pools.items()
        ),
        ("over_budget", "decisions cut by the budget"),
        ("infeasible", "decisions with a target out of reach"),
    ):
        one, other = getattr(before, name), getattr(now, name)
        digits = 2 if name == "gpu_hours" else 0
        table.add_row(heading, f"{one:.{digits}f}", f"{other:.{digits}f}", f"{other - one:+.{digits}f}")
    return table


def _differences(replayed: Sequence[Replayed], pools: Mapping[str, str]) -> Table:
    table = Table(pad_edge=False)
    table.add_column("time, UTC", no_wrap=True)
    table.add_column(", ".join(pools.values()), justify="right", no_wrap=True)
    table.add_column("replayed", justify="right", no_wrap=True)
    table.add_column("why, replayed", ratio=1)
    for one in replayed:
        table.add_row(
            utc(one.record.decision.time),
            ", ".join(str(getattr(one.record.decision, pool)) for pool in pools),
            ", ".join(str(getattr(one.decision, pool)) for pool in pools),
            one.decision.explanation.reason,
        )
    return table


def _as_json(
    replayed: Sequence[Replayed], before: Summary, now: Summary, changed: Mapping[str, tuple[Any, Any]]
) -> str:
    content = {
        "planner_version": version("sla-planner"),
        "settings": {
            name: {"recorded": to_jsonable_python(was), "replayed": to_jsonable_python(now_is)}
            for name, (was, now_is) in changed.items()
        },
        "recorded": asdict(before),
        "replayed": asdict(now),
        "decisions": [
            {
                "id": one.record.id,
                "kind": one.record.kind.value,
                "differs": one.differs,
                "observation": one.record.observation.to_dict(),
                "recorded": one.record.decision.to_dict(),
                "replayed": one.decision.to_dict(),
            }
            for one in replayed
        ],
    }
    return json.dumps(content, separators=(",", ":")) + "\n"
