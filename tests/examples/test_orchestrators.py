"""The orchestrators of the examples, which start and stop processes for real."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from connectors.virtual import Listen, VirtualConnector
from planner import Workers
from tests.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"
MOCK_WORKER = EXAMPLES / "local_workers/mock_worker.py"


@pytest.fixture
async def planner():
    """The planner's side: a connector that wants a token, and publishes what a test decides."""
    connector = VirtualConnector(now=time.time, listen=Listen("127.0.0.1", 0), token="the-token")
    await connector.start()
    yield connector
    await connector.close()


async def decide(planner, prefill, decode):
    """Publish a decision, and wait until it is acknowledged."""
    state = await planner.store.update(lambda state: state.decide(prefill, decode, time.time()))
    async with asyncio.timeout(60):
        while not state.acknowledged:
            state = await planner.store.changed(state)


def workers(process):
    """The roles of the processes that an orchestrator runs."""
    roles = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                command = child.cmdline()
                if str(MOCK_WORKER) in command and child.status() != psutil.STATUS_ZOMBIE:
                    roles[child.pid] = command[command.index("--role") + 1]
    return roles


def command(kind, planner):
    if kind == "local_workers":
        return EXAMPLES / "local_workers/orchestrator.py", "--seconds", "600"
    worker = f"{sys.executable} {MOCK_WORKER} --port {{port}} --role"
    return EXAMPLES / "http_orchestrator.py", "--prefill", f"{worker} prefill", "--decode", f"{worker} decode"


@contextlib.asynccontextmanager
async def running(script, *arguments):
    """Run an orchestrator; after the body it is told to end, and must have ended well. Its output is in a list."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", script, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = []
    try:
        yield process, output
        process.send_signal(signal.SIGTERM)
        shown, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    output.append(shown.decode())
    assert process.returncode == 0, output
    assert "Traceback" not in output[0]


@pytest.mark.parametrize("kind", ["local_workers", "http_orchestrator"])
async def test_processes_come_and_go_as_decided(planner, kind):
    arguments = (*command(kind, planner), "--planner", planner.url, "--token", "the-token")
    async with running(*arguments) as (process, _):
        await decide(planner, 2, 1)
        assert sorted(workers(process).values()) == ["decode", "prefill", "prefill"]
        victim = min(workers(process))
        psutil.Process(victim).kill()
        await until(lambda: victim not in workers(process) and len(workers(process)) == 3)
        await decide(planner, 1, 2)
        await until(lambda: sorted(workers(process).values()) == ["decode", "decode", "prefill"])
        await until(lambda: planner.store.state.prefill == Workers(1) and planner.store.state.decode == Workers(2))
        left = workers(process)
    assert not any(psutil.pid_exists(pid) for pid in left)


async def test_the_local_orchestrator_embeds_a_planner_and_scales_with_its_traffic():
    script = EXAMPLES / "local_workers/orchestrator.py"
    async with running(script, "--seconds", "600", "--period", "10", "--peak-rps", "30") as (process, output):
        await until(lambda: list(workers(process).values()).count("prefill") > 1)
    assert "ended" in output[0]
