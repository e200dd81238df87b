"""What a profile says, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from planner.profile.reading import Target
from profiles import EngineProfile, ProfileData, Provenance

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_MOST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: its title, headings, and rows of texts."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def facts(data: ProfileData, engines: EngineProfile, target: Target) -> Sheet:
    """What the profile is of, and what it promises at the targets."""
    return Sheet("Profile", ("", ""), [*_origin(data.provenance), *_capacity(engines), *_promises(engines, target)])


def _origin(provenance: Provenance) -> Iterator[tuple[str, str]]:
    engine = " ".join(filter(None, (provenance.backend, provenance.backend_version)))
    for name, value in (
        ("model", provenance.model),
        ("system", provenance.system),
        ("engine", engine),
        ("made", " ".join(filter(None, (provenance.how, provenance.created)))),
    ):
        yield name, value or "unknown"


def _capacity(engines: EngineProfile) -> Iterator[tuple[str, str]]:
    decode = engines.decode
    limit = f", at most {decode.max_num_seqs} sequences" if decode.max_num_seqs else ""
    yield "prefill engine", f"{engines.prefill.gpus} GPU{'s' * (engines.prefill.gpus != 1)}"
    yield (
        "decode engine",
        f"{decode.gpus} GPU{'s' * (decode.gpus != 1)}, KV cache of {decode.max_kv_tokens} tokens{limit}",
    )


def _promises(engines: EngineProfile, target: Target) -> Iterator[tuple[str, str]]:
    idle_ms = engines.prefill.ttft_ms(target.isl)
    yield (
        f"TTFT at ISL {target.isl:g}",
        f"{idle_ms:.1f} ms on an idle engine, target {target.ttft_ms:g} ms: "
        f"{'met' if idle_ms <= target.ttft_ms else 'infeasible'}; "
        f"{engines.prefill.throughput_per_gpu(target.isl):.0f} input tokens/s/GPU",
    )
    point = engines.decode.operating_point(target.itl_ms, target.context_length)
    yield (
        f"operating point at context {target.context_length:g}",
        f"{point.concurrency} sequences at ITL {point.itl_ms:.2f} ms, target {target.itl_ms:g} ms: "
        f"{'met' if point.feasible else 'infeasible'}; {point.throughput_per_gpu:.0f} output tokens/s/GPU, "
        f"KV usage {point.concurrency * target.context_length / engines.decode.max_kv_tokens:.0%}",
    )


def prefill_sheet(data: ProfileData, engines: EngineProfile) -> Sheet:
    """TTFT and throughput at the profiled lengths."""
    lengths = np.unique(data.prefill.columns["prefill_isl"])
    if len(lengths) > _MOST_ROWS:
        lengths = lengths[np.unique(np.linspace(0, len(lengths) - 1, _MOST_ROWS).round().astype(int))]
    rows = [
        (
            f"{isl:.0f}",
            f"{engines.prefill.ttft_ms(isl):.1f}",
            f"{engines.prefill.throughput_per_gpu(isl):.0f}",
            f"{1000 / engines.prefill.ttft_ms(isl):.2f}",
        )
        for isl in lengths.tolist()
    ]
    return Sheet("Prefill", ("ISL", "TTFT ms", "tokens/s/GPU", "requests/s/engine"), rows)


def decode_sheet(data: ProfileData, engines: EngineProfile) -> Sheet:
    """ITL by concurrency and context length; figures beyond what was profiled are in brackets."""
    contexts = np.unique(data.decode.columns["y_context_length"])
    contexts = contexts[np.unique(np.linspace(0, len(contexts) - 1, 8).round().astype(int))].tolist()
    most = {context: _most_profiled(data, context) for context in contexts}
    batches = [batch for batch in _BATCHES if batch <= max(map(engines.decode.kv_capacity, contexts))]
    rows = [
        (str(batch), *(_itl_cell(engines, batch, context, most[context]) for context in contexts)) for batch in batches
    ]
    return Sheet(
        "Decode: ITL, ms; (beyond what was profiled)",
        ("sequences", *(f"context {context:.0f}" for context in contexts)),
        rows,
    )


def _most_profiled(data: ProfileData, context: float) -> float:
    decode = data.decode
    return float(decode.concurrency[decode.columns["y_context_length"] == context].max())


def _itl_cell(engines: EngineProfile, batch: int, context: float, most: float) -> str:
    if batch > engines.decode.kv_capacity(context):
        return "-"
    text = f"{engines.decode.itl_ms(batch, context):.2f}"
    return text if batch <= most * 1.001 else f"({text})"


def print_sheets(sheets: Sequence[Sheet], *, stderr: bool = False) -> None:
    """Print tables on the console, or beside what goes to standard output."""
    from rich.console import Console  # noqa: PLC0415 - few commands print such tables
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console = Console(width=140, stderr=stderr)
    for sheet in sheets:
        table = Table(title=sheet.title, title_justify="left", show_header=any(sheet.headings))
        for index, heading in enumerate(sheet.headings):
            figures = index > 0 and all(row[index][:1].isdigit() or row[index][:1] in "(-" for row in sheet.rows)
            table.add_column(escape(heading), justify="right" if figures else "left", overflow="fold")
        for row in sheet.rows:
            table.add_row(*map(escape, row))
        console.print(table)
