"""The orchestrators of the examples, which start and stop processes for real."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import runpy
import signal
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from connectors.virtual import Listen, VirtualConnector
from planner import Workers
from tests.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"
MOCK_WORKER = EXAMPLES / "local_workers/mock_worker.py"


@pytest.fixture
def local_workers():
    """The workers of the example, as a module without a name that others could come upon."""
    spec = importlib.util.spec_from_file_location("workers_of_the_example", EXAMPLES / "local_workers/workers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


async def test_the_http_orchestrator_outlives_a_planner_that_has_lost_its_decisions(planner):
    call = runpy.run_path(str(EXAMPLES / "http_orchestrator.py"))["call"]
    assert await asyncio.to_thread(call, planner.url, "the-token", "POST", "/api/v1/decision/7/complete") is None


async def test_the_http_orchestrator_ends_where_there_is_no_planner(planner):
    call = runpy.run_path(str(EXAMPLES / "http_orchestrator.py"))["call"]
    with pytest.raises(SystemExit, match=r"the planner refused /api/v1/decision/wait: .*there is no page"):
        await asyncio.to_thread(call, f"{planner.url}/elsewhere", "the-token", "GET", "/api/v1/decision/wait")


async def test_the_local_orchestrator_embeds_a_planner_and_scales_with_its_traffic():
    script = EXAMPLES / "local_workers/orchestrator.py"
    async with running(script, "--seconds", "600", "--period", "10", "--peak-rps", "30") as (process, output):
        await until(lambda: list(workers(process).values()).count("prefill") > 1)
    assert "ended" in output[0]


async def test_workers_that_do_not_finish_in_time_are_ended(local_workers, monkeypatch):
    monkeypatch.setattr(local_workers, "GRACE_S", 0.2)
    async with httpx.AsyncClient(trust_env=False) as http:
        pool = local_workers.Pool("decode", http)
        await pool.resize(1)
        (worker,) = pool.workers
        busy = asyncio.ensure_future(pool.call(isl=1, osl=10_000_000))

        async def begun():
            return (await http.get(f"{worker.url}/health")).json()["sequences"]

        await until(begun)
        await asyncio.wait_for(worker.drain(), 30)
        assert worker.process.returncode == -signal.SIGKILL
        with pytest.raises(httpx.TransportError):
            await busy


async def test_workers_that_have_started_are_known_when_the_others_are_given_up(local_workers, monkeypatch):
    start, starts = local_workers.Worker.start, itertools.count()

    async def only_the_first_starts_soon(role):
        if next(starts):
            await asyncio.sleep(600)
        return await start(role)

    monkeypatch.setattr(local_workers.Worker, "start", only_the_first_starts_soon)
    async with httpx.AsyncClient(trust_env=False) as http:
        pool = local_workers.Pool("prefill", http)
        resizing = asyncio.ensure_future(pool.resize(2))
        await until(lambda: pool.workers, within_s=10)
        resizing.cancel()
        await asyncio.gather(resizing, return_exceptions=True)
        (worker,) = pool.workers
        await worker.drain()
