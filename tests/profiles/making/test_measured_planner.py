"""What a measured profile is good for: deciding as with the truth; and the command as its user runs it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from planner import Observation, Planner, Settings, Workers
from planner.__main__ import main
from profiles import Provenance, data_of_points, load_profiles
from profiles.making.endpoint import Endpoint
from profiles.making.measure import JOURNAL, measure
from profiles.making.request import MeasureRequest
from profiles.synthetic import itl_ms, ttft_ms

KV_TOKENS = 60_000


def truth():
    return data_of_points(
        [(isl, ttft_ms(isl)) for isl in np.geomspace(64, 8000, 40).round()],
        [
            (n, y, itl_ms(n, y))
            for y in np.geomspace(64, 8000, 20).round()
            for n in range(1, int(KV_TOKENS // y) + 1, 3)
        ],
        max_kv_tokens=KV_TOKENS,
        provenance=Provenance(how="true"),
    ).engines()


def decisions(profile, sizing):
    settings = Settings(
        environment="virtual",
        ttft=150,
        itl=7,
        isl=1500,
        osl=200,
        max_gpu_budget=-1,
        sizing=sizing,
        load_predictor="constant",
    )
    planner = Planner(settings, profile=profile)
    decided = []
    for step, rate in enumerate((5, 20, 60, 120, 180, 240, 150, 80)):
        isl = 1200 + 150 * step
        seen = Observation(
            time=180.0 * (step + 1),
            interval=180.0,
            requests_started=180 * rate,
            requests_completed=180 * rate,
            isl=isl,
            osl=200.0,
            prefill=Workers(ready=decided[-1][0] if decided else 1),
            decode=Workers(ready=decided[-1][1] if decided else 1),
        )
        decision = planner.step(seen)
        decided.append((decision.prefill, decision.decode))
    return decided


def test_a_planner_with_the_measured_profile_decides_as_with_the_truth(virtually, stand_in, tmp_path):
    async def go():
        async with stand_in(max_kv_tokens=KV_TOKENS) as engine:
            endpoint = Endpoint(url=engine.url)
            wanted = MeasureRequest(
                prefill=endpoint,
                decode=endpoint,
                lengths=(100, 6000),
                prefill_points=6,
                context_points=4,
                batch_points=4,
                steps=24,
                most_sequences=40,
            )
            return await measure(wanted, tmp_path, cpu_s=lambda: 0.0)

    found = virtually(go())
    assert found.missing == 0
    for sizing in ("slo", "throughput"):
        with_truth, with_measured = decisions(truth(), sizing), decisions(found.data.engines(), sizing)
        assert max(prefill for prefill, _ in with_truth) >= 8
        assert max(decode for _, decode in with_truth) >= 8
        apart = [abs(a - b) for pair in zip(with_truth, with_measured, strict=True) for a, b in zip(*pair, strict=True)]
        assert max(apart) <= 1, (with_truth, with_measured)


@pytest.fixture
def served(stand_in):
    """A stand-in that serves in real time, from a thread of its own: its URL and itself."""
    started, stop = threading.Event(), None
    found = {}

    async def serve():
        nonlocal stop
        stop = asyncio.Event()
        found["loop"] = asyncio.get_running_loop()
        async with stand_in(max_kv_tokens=8_000) as engine:
            found["engine"] = engine
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    yield found["engine"]
    found["loop"].call_soon_threadsafe(stop.set)
    thread.join(10)


SMALL = (
    *("--isl-range", "100,800", "--prefill-points", "3", "--context-points", "2", "--batch-points", "2"),
    *("--steps", "8", "--repeats", "2", "--max-concurrency", "3"),
)


def test_the_command_measures_and_leaves_a_profile(served, tmp_path, capsys):
    options = ("--profile-results-dir", str(tmp_path), "--system", "tests", "--tp", "2", "--isl", "400", *SMALL)
    assert main(["profile", "measure", "--endpoint", served.url, *options]) == 0
    printed = capsys.readouterr()
    assert "7 of 7" in printed.err or "6 of 7" in printed.err
    assert "KV cache of 8000 tokens" in printed.out
    profile = load_profiles(tmp_path)
    assert (profile.prefill.gpus, profile.decode.gpus, profile.provenance.how) == (2, 2, "measured")
    assert profile.prefill.ttft_ms(400) > 0.9 * ttft_ms(400)

    asked = served.requests
    assert main(["profile", "measure", "--endpoint", served.url, *options]) == 0
    assert served.requests - asked <= 4, "nothing is left to be measured"

    with contextlib.suppress(FileNotFoundError):
        (tmp_path / JOURNAL).unlink()
    assert main(["profile", "measure", "--endpoint", served.url, *options]) == 2
    assert "give --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_the_end_of_its_job_keep_what_was_measured(number, served, tmp_path):
    # Who runs tests in the background has Ctrl-C ignored, and children inherit that.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from planner.__main__ import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program, "profile", "measure", "--endpoint", served.url]
    options = ("--profile-results-dir", str(tmp_path), *SMALL, "--steps", "300", "--context-points", "5")
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / JOURNAL).exists() or (tmp_path / JOURNAL).read_text().count("\n") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "python -m planner profile measure: stopped; what was measured is in" in printed
    assert "the same command goes on from there" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "give --endpoint"),
        (["--endpoint", "localhost:8000"], "no address such as"),
        (["--endpoint", "http://127.0.0.1:9", "--isl-range", "5"], "LEAST,MOST"),
        (["--endpoint", "http://127.0.0.1:9"], "cannot be measured"),
        (["--endpoint", "http://127.0.0.1:9", "--api-key-file", "/nowhere"], "--api-key-file /nowhere cannot be read"),
    ],
)
def test_wrong_arguments_are_explained(arguments, complaint, tmp_path, capsys):
    assert main(["profile", "measure", "--profile-results-dir", str(tmp_path), *arguments]) == 2
    assert complaint in capsys.readouterr().err
