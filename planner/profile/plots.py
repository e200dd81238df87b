"""Profiles as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from planner.profile.reading import Target
from profiles import EngineProfile, ProfileData

_FINENESS = 120


def draw_profile(data: ProfileData, engines: EngineProfile, target: Target, file: Path) -> None:
    """Draw one profile: TTFT and throughput over ISL, ITL over KV usage and context, throughput over concurrency.

    Args:
        data: The measured points.
        engines: The performance model of them.
        target: What to mark.
        file: A PNG to write; its folder is made if need be.
    """
    figure, panels = _figure(2, 2, (13, 9.5))
    provenance = data.provenance
    title = " · ".join(filter(None, (provenance.model, provenance.system, provenance.backend, provenance.how)))
    figure.suptitle(title or "Engine profile", fontweight="bold")
    _draw_ttft(panels[0][0], data, engines, target)
    _draw_prefill_throughput(panels[0][1], data, engines, target)
    _draw_itl(panels[1][0], figure, data, engines, target)
    _draw_decode_throughput(panels[1][1], engines, target)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def draw_comparison(profiles: Mapping[str, EngineProfile], target: Target, file: Path) -> None:
    """Draw several profiles in one: TTFT over ISL, ITL and throughput over concurrency at the target's context.

    Args:
        profiles: The profiles by name.
        target: What to mark.
        file: A PNG to write; its folder is made if need be.
    """
    figure, panels = _figure(1, 3, (15, 5.2))
    for name, engines in profiles.items():
        lengths = np.geomspace(*engines.prefill.isl_range, _FINENESS)
        panels[0].plot(lengths, [engines.prefill.ttft_ms(isl) for isl in lengths], label=name)
        batches = _batches(engines, target.context_length)
        itl = np.array([engines.decode.itl_ms(batch, target.context_length) for batch in batches])
        panels[1].plot(batches, itl, label=name)
        panels[2].plot(batches, batches / itl * 1000 / engines.decode.gpus, label=name)
    panels[0].axhline(target.ttft_ms, **_SLA)
    panels[1].axhline(target.itl_ms, **_SLA)
    _finish(panels[0], "TTFT of an idle prefill engine", "ISL, tokens", "ms", log=True)
    _finish(panels[1], f"ITL at context {target.context_length:g}", "sequences", "ms", log=True)
    panels[2].set_ylim(bottom=0)
    _finish(panels[2], f"Decode at context {target.context_length:g}", "sequences", "output tokens/s/GPU")
    for axes in panels:
        axes.get_legend().remove()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


_SLA: dict[str, Any] = {"color": "C3", "linestyle": "--", "linewidth": 1.2, "label": "target"}


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - it takes a second to import

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns)


def _finish(axes: Any, title: str, x: str, y: str, *, log: bool = False) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xscale("log")
    if log:
        axes.set_yscale("log")
    _plain(axes.xaxis)
    if log:
        _plain(axes.yaxis)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def _plain(axis: Any) -> None:
    """Ticks as plain numbers rather than as powers of ten; at 1, 2 and 5 if there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    least, most = axis.get_view_interval()
    subs = (1.0,) if most > 500 * least else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _draw_ttft(axes: Any, data: ProfileData, engines: EngineProfile, target: Target) -> None:
    lengths = _lengths(engines, target)
    axes.plot(lengths, [engines.prefill.ttft_ms(isl) for isl in lengths], color="C0", label="model")
    axes.plot(
        data.prefill.columns["prefill_isl"], data.prefill.columns["prefill_ttft"], "o", color="C0", label="profiled"
    )
    axes.axhline(target.ttft_ms, **_SLA)
    axes.plot(target.isl, engines.prefill.ttft_ms(target.isl), "*", color="black", markersize=13, label="expected ISL")
    _finish(axes, "TTFT of an idle prefill engine", "ISL, tokens", "ms", log=True)


def _draw_prefill_throughput(axes: Any, data: ProfileData, engines: EngineProfile, target: Target) -> None:
    lengths = _lengths(engines, target)
    axes.plot(lengths, [engines.prefill.throughput_per_gpu(isl) for isl in lengths], color="C2", label="ISL over TTFT")
    columns = data.prefill.columns
    axes.plot(columns["prefill_isl"], columns["prefill_thpt_per_gpu"], "o", color="C2", label="as in the file")
    axes.plot(target.isl, engines.prefill.throughput_per_gpu(target.isl), "*", color="black", markersize=13)
    axes.set_ylim(bottom=0)
    _finish(axes, "Prefill throughput", "ISL, tokens", "input tokens/s/GPU")


def _draw_itl(axes: Any, figure: Any, data: ProfileData, engines: EngineProfile, target: Target) -> None:
    columns, decode = data.decode.columns, engines.decode
    context = columns["y_context_length"]
    contexts = np.geomspace(min(context.min(), target.context_length), max(context.max(), target.context_length), 70)
    usages = np.geomspace(min(columns["x_kv_usage"].min(), 0.01), 1.0, 70)
    itl = np.full((len(contexts), len(usages)), np.nan)
    for row, length in enumerate(contexts):
        for column, usage in enumerate(usages):
            batch = usage * decode.max_kv_tokens / length
            if 1 <= batch <= (decode.max_num_seqs or np.inf):
                itl[row, column] = decode.itl_ms(batch, length)
    levels = np.geomspace(np.nanmin(itl), max(np.nanmax(itl), np.nanmin(itl) * 1.01), 15)
    shades = axes.contourf(usages, contexts, itl, levels=levels, norm="log", cmap="viridis", alpha=0.85)
    bar = figure.colorbar(shades, ax=axes, label="ITL, ms", format="%.3g")
    bar.minorticks_off()
    if np.nanmin(itl) < target.itl_ms < np.nanmax(itl):
        axes.contour(usages, contexts, itl, levels=[target.itl_ms], colors="C3", linestyles="--", linewidths=1.8)
        axes.plot([], [], color="C3", linestyle="--", label=f"target, {target.itl_ms:g} ms")
    axes.plot(
        columns["x_kv_usage"], context, ".", color="white", markersize=4, markeredgecolor="black", label="profiled"
    )
    point = decode.operating_point(target.itl_ms, target.context_length)
    usage = point.concurrency * target.context_length / decode.max_kv_tokens
    axes.plot(
        usage,
        target.context_length,
        "*",
        color="white",
        markeredgecolor="black",
        markersize=15,
        # A full cache is at the edge.
        clip_on=False,
        label="operating point",
    )
    axes.set_yscale("log")
    _finish(axes, "ITL", "KV usage", "context length, tokens")
    _plain(axes.yaxis)
    axes.legend(loc="lower left", framealpha=0.85)


def _draw_decode_throughput(axes: Any, engines: EngineProfile, target: Target) -> None:
    for factor in (0.25, 1.0, 4.0):
        context = target.context_length * factor
        batches = _batches(engines, context)
        itl = np.array([engines.decode.itl_ms(batch, context) for batch in batches])
        throughput = batches / itl * 1000 / engines.decode.gpus
        (line,) = axes.plot(batches, np.where(itl <= target.itl_ms, throughput, np.nan), label=f"context {context:.0f}")
        axes.plot(batches, throughput, linestyle=":", color=line.get_color())
    point = engines.decode.operating_point(target.itl_ms, target.context_length)
    axes.plot(point.concurrency, point.throughput_per_gpu, "*", color="black", markersize=13, label="operating point")
    axes.set_ylim(bottom=0)
    _finish(axes, "Decode throughput; dotted beyond the ITL target", "sequences", "output tokens/s/GPU")


def _lengths(engines: EngineProfile, target: Target) -> Any:
    shortest, longest = engines.prefill.isl_range
    return np.geomspace(min(shortest, target.isl), max(longest, target.isl), _FINENESS)


def _batches(engines: EngineProfile, context: float) -> Any:
    return np.unique(np.geomspace(1, engines.decode.kv_capacity(context), _FINENESS).round())
