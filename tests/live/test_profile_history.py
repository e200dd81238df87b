"""``profile from-metrics`` with the history of a real Prometheus."""

from __future__ import annotations

import asyncio
import math
import subprocess
import time

import pytest

from planner.__main__ import main
from profiles import load_profiles, sample_profile_dir
from profiles.synthetic import itl_ms, ttft_ms

pytestmark = pytest.mark.live

HOURS, EVERY_S = 3, 15
SLOWER_TTFT, SLOWER_ITL = 1.25, 1.4
OSL, DECODE_WORKERS = 200, 2
LABELS = 'job="frontend",instance="frontend:8000"'


def exposition(end):
    """Three hours of a frontend whose engines are slower than the sample profile, in OpenMetrics with timestamps."""
    names = {
        "requests": ("requests_started_total", "requests_total"),
        "ttft": ("time_to_first_token_seconds_sum",),
        "itl": ("inter_token_latency_seconds_sum",),
        "tokens": ("inter_token_latency_seconds_count",),
        "isl": ("input_sequence_tokens_sum",),
        "osl": ("output_sequence_tokens_sum",),
        "count": (
            *("time_to_first_token_seconds_count", "input_sequence_tokens_count", "output_sequence_tokens_count"),
            "request_duration_seconds_count",
        ),
        "duration": ("request_duration_seconds_sum",),
    }
    totals = dict.fromkeys(names, 0.0)
    series = {name: [] for group in names.values() for name in group}
    moments = [end - HOURS * 3600 + EVERY_S * index for index in range(HOURS * 3600 // EVERY_S)]
    for index, moment in enumerate(moments):
        phase = index / len(moments) * 2 * math.pi
        isl = 2000 + 1500 * math.sin(3 * phase)
        rate = 30 + 25 * math.sin(2 * phase)
        service_s = SLOWER_TTFT * ttft_ms(isl) / 1000
        busy = rate / 8 * service_s
        step_s = 0.01
        for _ in range(40):
            batch = max(1.0, rate * OSL * step_s / DECODE_WORKERS)
            step_s = SLOWER_ITL * itl_ms(batch, isl + OSL / 2) / 1000
        requests, ttft_s = rate * EVERY_S, service_s * (1 + busy / (2 * (1 - busy)))
        added = {"requests": requests, "count": requests, "ttft": requests * ttft_s, "isl": requests * isl}
        added |= {"osl": requests * OSL, "tokens": requests * (OSL - 1), "itl": requests * (OSL - 1) * step_s}
        added["duration"] = requests * (ttft_s + (OSL - 1) * step_s)
        for key, group in names.items():
            totals[key] += added[key]
            for name in group:
                series[name].append(f"{totals[key]:.6f} {moment:.0f}")
    lines = [
        f'dynamo_frontend_{name}{{model="tiny",{LABELS}}} {value}'
        for name, values in series.items()
        for value in values
    ]
    for moment in moments:
        lines += [f"up{{{LABELS}}} 1 {moment:.0f}", f"dynamo_frontend_disconnected_clients{{{LABELS}}} 0 {moment:.0f}"]
        lines.append(f'kube_deployment_status_replicas{{deployment="prefill"}} 8 {moment:.0f}')
    return "\n".join(sorted(lines, key=lambda line: line.split("{")[0])) + "\n# EOF\n"


@pytest.fixture
async def past(prometheus, require_binary, tmp_path):
    """A Prometheus with three hours of history: its URL, and the end of the history."""
    end = time.time() - 60
    (tmp_path / "history.txt").write_text(exposition(end))
    data = tmp_path / "prometheus-0" / "data"
    command = [require_binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", tmp_path / "history.txt", data]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    return (await prometheus()).url, end


async def run(*arguments):
    return await asyncio.to_thread(main, ["profile", "from-metrics", *map(str, arguments)])


async def test_a_profile_is_corrected_and_fitted(past, tmp_path, capsys):
    url, end = past
    common = ("--metric-pulling-prometheus-endpoint", url, "--history", 10000, "--step", 300, "--end", f"{end:.0f}")
    workers = ("--prefill-workers", 'kube_deployment_status_replicas{deployment="prefill"}', "--decode-workers", 2)
    corrected = tmp_path / "corrected"
    base = ("--base", sample_profile_dir(), "--profile-results-dir", corrected)
    assert await run(*common, *workers, *base) == 0, capsys.readouterr().err
    assert "observed over the base: TTFT 1.2" in capsys.readouterr().out
    profile = load_profiles(corrected)
    assert profile.provenance.how == "observed"
    for isl in (800, 2000, 3000):
        assert profile.prefill.ttft_ms(isl) == pytest.approx(SLOWER_TTFT * ttft_ms(isl), rel=0.05)
    for batch in (10, 30, 60):
        assert profile.decode.itl_ms(batch, 2100) == pytest.approx(SLOWER_ITL * itl_ms(batch, 2100), rel=0.05)

    fitted = tmp_path / "fitted"
    options = ("--max-kv-tokens", 900_000, "--profile-results-dir", fitted)
    assert await run(*common, *workers, *options) == 0, capsys.readouterr().err
    profile = load_profiles(fitted)
    for isl in (1000, 2000, 3000):
        assert profile.prefill.ttft_ms(isl) == pytest.approx(SLOWER_TTFT * ttft_ms(isl), rel=0.1)
    for batch in (10, 30):
        assert profile.decode.itl_ms(batch, 2100) == pytest.approx(SLOWER_ITL * itl_ms(batch, 2100), rel=0.1)


async def test_what_cannot_be_read_is_explained(past, tmp_path, capsys):
    url, end = past
    options = ("--decode-workers", 2, "--base", sample_profile_dir(), "--profile-results-dir", tmp_path / "none")
    there = ("--metric-pulling-prometheus-endpoint", url, "--step", 300)
    before = f"{end - 86400:.0f}"
    assert await run(*there, "--prefill-workers", 8, "--history", 1200, "--end", before, *options) == 2
    assert "of 4 intervals none tells anything" in capsys.readouterr().err
    assert await run(*there, "--prefill-workers", "no{promql", "--history", 600, *options) == 2
    assert "parse error" in capsys.readouterr().err
    nowhere = ("--metric-pulling-prometheus-endpoint", "http://127.0.0.1:9")
    assert await run(*nowhere, "--prefill-workers", 8, "--history", 600, *options) == 2
    assert "Connect" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
