"""The demo as its user sees it, in short."""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys

import httpx
import pytest

from planner.clock import ScaledClock
from planner.demo.standin import StandIn
from planner.simulation.arrival import Arrival


def run(*arguments):
    command = [sys.executable, "-W", "error", "-m", "planner", "demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_demo_shows_load_and_workers_a_summary_and_a_picture(tmp_path):
    shown = run("--duration", 12, "--speed", 100, "--output", tmp_path / "out")
    assert shown.returncode == 0, shown.stderr
    assert len(re.findall(r"^ +\d+ +[\d.]+ ", shown.stdout, re.MULTILINE)) >= 15
    assert re.search(r"-> \d+\+\d+", shown.stdout)
    assert re.search(r"\d+ requests: [\d.]+% within both targets", shown.stdout)
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert "Error" not in shown.stderr


def test_an_aggregated_deployment_has_one_pool_that_serves(tmp_path):
    shown = run("--mode", "agg", "--worker-startup", 30, "--duration", 12, "--speed", 100, "--output", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "workers take 30 s to start" in shown.stdout
    assert "prefill" not in shown.stdout
    assert re.search(r" -> \d+$", shown.stdout, re.MULTILINE)
    assert float(re.search(r"requests: ([\d.]+)% within both", shown.stdout).group(1)) > 50


def test_the_demo_takes_the_settings_of_its_user(tmp_path):
    shown = run(
        "--duration",
        2,
        "--speed",
        60,
        "--ttft",
        321,
        "--max-gpu-budget",
        -1,
        "--load-predictor",
        "constant",
        "--output",
        tmp_path,
    )
    assert shown.returncode == 0, shown.stderr
    assert "TTFT 321 ms" in shown.stdout
    assert "ITL 15 ms; no GPU budget; predictor constant" in shown.stdout


def test_a_profile_that_is_not_there_is_said(tmp_path):
    shown = run("--duration", 1, "--profile-results-dir", tmp_path)
    assert shown.returncode == 2
    assert "no prefill profile found" in shown.stderr


@pytest.fixture
async def standin(profile):
    clock = ScaledClock(50.0)
    begin = clock.now()
    arrivals = (Arrival(begin + 0.5 * index, 500, 20) for index in itertools.count())
    async with StandIn(profile, arrivals, clock, startup_s=10.0, frontends=2) as standin:
        yield standin


async def test_frontends_share_the_requests_and_one_may_restart_or_fail(standin):
    async with httpx.AsyncClient() as http:

        async def started(index):
            response = await http.get(standin.urls[index])
            if response.status_code != 200:
                return None
            found = re.search(r"requests_started_total\{[^}]*\} (\S+)", response.text)
            return float(found.group(1)) if found else 0.0

        await asyncio.sleep(0.5)
        one, two = await started(0), await started(1)
        assert min(one, two) > 10
        assert abs(one - two) <= 2
        standin.restart_frontend(0)
        assert await started(0) < one
        standin.take_down(1)
        assert await started(1) is None
        standin.take_down(1, down=False)
        assert await started(1) >= two


async def test_workers_take_their_time(standin):
    standin.scale(3, 2)
    prefill, decode = standin.workers()
    assert (prefill.ready, prefill.pending, decode.pending) == (1, 2, 1)
    await asyncio.sleep(0.4)
    prefill, decode = standin.workers()
    assert (prefill.ready, decode.ready) == (3, 2)


class Watch:
    """A clock that is moved on by hand."""

    def __init__(self):
        self.time = 1000.0

    def now(self):
        return self.time


def test_requests_arrive_at_their_own_times_however_late_that_is_noticed(profile):
    watch = Watch()
    arrivals = (Arrival(1000.0 + index, 500, 2) for index in itertools.count())
    standin = StandIn(profile, arrivals, watch, startup_s=10.0)
    watch.time += 30.0
    standin.scale(2, 1)
    assert standin.arrived_total == 31
    assert [request.arrival_s for request in standin.finished] == [1000.0 + index for index in range(30)]
    assert max(request.ttft_ms for request in standin.finished) < 500
