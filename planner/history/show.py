"""``python -m planner history``: what was seen and decided, as a table, as CSV, or as JSON."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from planner.cli import EXIT_FAILED, Invocation, failed
from planner.core.decision import Action, PoolExplanation
from planner.report.database import HistoryError
from planner.report.reader import Filter, HistoryReader
from planner.report.record import Record

_TABLE_ROWS = 20

POOLS: Mapping[bool, Mapping[str, str]] = {
    False: {"prefill": "prefill", "decode": "decode"},
    True: {"decode": "workers"},
}
"""The pools of a deployment and what they are called, by whether it is aggregated."""


def show(invocation: Invocation) -> int:
    """Carry out the command.

    Returns:
        The exit code: 0, 1 if nothing was found, 2 if the history cannot be read.
    """
    extras = invocation.extras
    reader = HistoryReader(extras.history or invocation.settings.history_file)
    limit = extras.limit if extras.limit is not None else _TABLE_ROWS if extras.format == "table" else 0
    only = Filter(
        since=extras.since,
        until=extras.until,
        action=Action(extras.action) if extras.action else None,
        pool=extras.pool,
    )
    try:
        if extras.format == "json":
            documents = reader.documents(limit=limit or None, only=only)
            _print_json(documents)
            found = len(documents)
        else:
            records = reader.records(limit=limit or None, only=only)
            if extras.format == "csv":
                _print_csv(records)
            else:
                _print_table(records, pools=POOLS[_aggregated(reader)])
            found = len(records)
        total = reader.count(only)
    except HistoryError as error:
        return failed(invocation, error)
    _tell(found, total, reader.span())
    return 0 if found else EXIT_FAILED


def _tell(found: int, total: int, span: tuple[float, float] | None) -> None:
    if span is None:
        text = "the history is empty"
    elif not found:
        text = f"nothing matches; the history is from {utc(span[0])} to {utc(span[1])}"
    else:
        text = f"the newest {found} of {total}; --limit 0 shows all" if found < total else f"{found} records"
    print(text, file=sys.stderr)  # noqa: T201


def _aggregated(reader: HistoryReader) -> bool:
    """Whether there was only ever one pool."""
    return {run.settings.get("mode") for run in reader.runs()} == {"agg"}


def utc(time: float) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _print_json(documents: Sequence[Mapping[str, Any]]) -> None:
    """An array, a record a line: for jq as for grep."""
    lines = ",\n".join(json.dumps(document, separators=(",", ":")) for document in documents)
    print(f"[\n{lines}\n]" if documents else "[]")  # noqa: T201


def _print_table(records: Sequence[Record], pools: Mapping[str, str]) -> None:
    table = Table(pad_edge=False)
    table.add_column("time, UTC", no_wrap=True)
    for heading in (*pools.values(), "req/s", "ISL", "OSL", "TTFT ms", "ITL ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("outcome")
    table.add_column("why", ratio=1, min_width=30)
    for record in records:
        seen, why = record.observation, record.decision.explanation
        table.add_row(
            utc(record.decision.time),
            *(_movement(getattr(why, pool)) for pool in pools),
            _number(seen.request_rate_rps, 2),
            _number(seen.isl),
            _number(seen.osl),
            _number(seen.ttft_ms),
            _number(seen.itl_ms, 1),
            record.applied.outcome.value if record.applied else "-",
            why.reason if record.kind == "adjustment" else f"Reaction. {why.reason}",
            style="bold" if record.decision.action is Action.SCALE else None,
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _movement(pool: PoolExplanation) -> str:
    if pool.previous == pool.target:
        return str(pool.target)
    return f"{'?' if pool.previous is None else pool.previous}→{pool.target}"


def _number(value: float | None, digits: int = 0) -> str:
    return "?" if value is None else f"{value:.{digits}f}"


Reader = Callable[[Record], Any]


def _pool_columns(pool: str) -> dict[str, Reader]:
    def of_workers(name: str) -> Reader:
        return lambda record: getattr(getattr(record.observation, pool), name, None)

    def of_decision(name: str) -> Reader:
        return lambda record: getattr(getattr(record.decision.explanation, pool), name)

    workers = {f"{pool}_{name}": of_workers(name) for name in ("ready", "pending", "draining")}
    explained = ("previous", "required", "target", "bound_by", "correction_factor", "target_ms", "feasible")
    return workers | {f"{pool}_{name}": of_decision(name) for name in explained}


CSV_COLUMNS: Mapping[str, Reader] = {
    "id": lambda record: record.id,
    "time": lambda record: record.decision.time,
    "time_utc": lambda record: datetime.fromtimestamp(record.decision.time, UTC).isoformat(timespec="milliseconds"),
    "kind": lambda record: record.kind.value,
    "action": lambda record: record.decision.action.value,
    "outcome": lambda record: record.applied.outcome.value if record.applied else None,
    "interval_s": lambda record: record.observation.interval,
    "request_rate_rps": lambda record: record.observation.request_rate_rps,
    "isl": lambda record: record.observation.isl,
    "osl": lambda record: record.observation.osl,
    "ttft_ms": lambda record: record.observation.ttft_ms,
    "itl_ms": lambda record: record.observation.itl_ms,
    "inflight": lambda record: record.observation.inflight,
    "queued": lambda record: record.observation.queued,
    "forecast_request_rate_rps": lambda record: getattr(record.decision.explanation.forecast, "request_rate_rps", None),
    "forecast_isl": lambda record: getattr(record.decision.explanation.forecast, "isl", None),
    "forecast_osl": lambda record: getattr(record.decision.explanation.forecast, "osl", None),
    **_pool_columns("prefill"),
    **_pool_columns("decode"),
    "gpu_hours": lambda record: record.gpu_hours,
    "duration_s": lambda record: record.duration_s,
    "reason": lambda record: record.decision.explanation.reason,
}
"""What a line of CSV holds; what is unknown is empty."""


def _print_csv(records: Sequence[Record]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows([read(record) for read in CSV_COLUMNS.values()] for record in records)
