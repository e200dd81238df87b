"""A day of history, a real planner that goes on from there, and a real Chromium that looks at it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from connectors.base import Applied, Outcome
from planner import Observation, Planner, Settings, Workers
from planner.report.record import Kind, Record
from planner.report.store import HistoryStore, Life
from planner.settings import environment_names
from planner.sources.base import SourceStatus
from profiles import sample_profile_dir
from tests.conftest import free_tcp_port

RECORDS = 1440
OPTIONS = {
    "namespace": "chat-production",
    "model_name": "llama-3.1-70b",
    "environment": "virtual",
    "profile_results_dir": str(sample_profile_dir()),
    "ttft": 500.0,
    "itl": 20.0,
    "isl": 3000.0,
    "osl": 250.0,
    "max_gpu_budget": 8,
    "load_predictor": "constant",
    "sizing": "throughput",
}
CHROMIUM_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


def day_of_records(end, count=RECORDS):
    """A day with a rush at noon that meets the budget, a blind quarter of an hour, and a night."""
    settings = Settings(**OPTIONS, adjustment_interval=60, scale_down_window=300)
    planner = Planner(settings)
    gpus = sum(planner.engine_gpus) / 2
    workers = [1, 1]
    gpu_hours = 0.0
    for number in range(count):
        moment = end - (count - 1 - number) * 60.0
        hour = number / count * 24
        wave = math.exp(-(((hour - 12) / 3.2) ** 2)) + 0.55 * math.exp(-(((hour - 19) / 1.8) ** 2))
        ripple = 0.06 * math.sin(number * 0.9) + 0.05 * math.sin(number * 0.37 + 1)
        rate = (3 + 70 * wave) * (1 + ripple)
        blind = 500 <= number < 515
        crowded = rate / (workers[0] * 15)
        observation = Observation(
            time=moment,
            interval=60.0,
            requests_started=None if blind else round(rate * 60),
            requests_completed=None if blind else round(rate * 60),
            isl=None if blind else 3000 * (1 + 0.08 * math.sin(hour / 3) + ripple / 3),
            osl=None if blind else 250 * (1 + 0.1 * math.cos(hour / 4) - ripple / 3),
            ttft_ms=None if blind else 110 + 180 * crowded**3,
            itl_ms=None if blind else 6 + 9 * rate / (workers[1] * 25),
            ttft_quantiles_ms=None if blind else {0.5: 100 + 150 * crowded**3, 0.95: 190 + 320 * crowded**3},
            itl_quantiles_ms=None if blind else {0.5: 6 + 8 * rate / (workers[1] * 25), 0.95: 9 + 11 * rate / 100},
            inflight=None if blind else round(rate * 2.4),
            queued=None if blind else max(0, round((crowded - 1) * 20)),
            prefill=Workers(workers[0]),
            decode=Workers(workers[1]),
        )
        decision = planner.step(observation)
        scaled = decision.action == "scale"
        workers = [decision.prefill, decision.decode]
        gpu_hours += sum(workers) * gpus / 60
        yield Record(
            observation=observation,
            decision=decision,
            applied=Applied(outcome=Outcome.APPLIED, detail="decision published") if scaled else None,
            duration_s=0.012,
            kind=Kind.ADJUSTMENT,
            source=SourceStatus(
                series_matched={"requests_started": 0 if blind else 2, "isl": 2},
                errors={"requests_started": "connection refused"} if blind else {},
                newest_data=moment - (60.0 * (number - 499) if blind else 2.0),
            ),
            gpu_hours=gpu_hours,
        )


def write_history(path, records):
    store = HistoryStore(path)
    store.open(Life(started=time.time(), version="0.1.0", settings=Settings(**OPTIONS).model_dump(mode="json")))
    for record in records:
        store.add(record)
    store.close()


class Frontend:
    """A frontend's metrics page whose counters move as if it were used."""

    def __init__(self):
        registry = CollectorRegistry()
        name = "dynamo_frontend_"
        labels = ["model"]
        self._started = Counter(f"{name}requests_started", "arrivals", labels, registry=registry)
        self._ended = Counter(f"{name}requests", "completions", labels, registry=registry)
        self._inflight = Gauge(f"{name}inflight_requests", "in flight", labels, registry=registry)
        self._queued = Gauge(f"{name}queued_requests", "queued", labels, registry=registry)
        Gauge(f"{name}disconnected_clients", "clients gone", registry=registry).set(0)
        self._histograms = {
            what: Histogram(name + what, what, labels, registry=registry, buckets=buckets)
            for what, buckets in {
                "time_to_first_token_seconds": (0.05, 0.1, 0.2, 0.5, 1, 2),
                "inter_token_latency_seconds": (0.005, 0.01, 0.02, 0.05),
                "input_sequence_tokens": (1000, 2000, 4000, 8000),
                "output_sequence_tokens": (100, 200, 400, 800),
                "request_duration_seconds": (1, 2, 5, 10),
            }.items()
        }
        self._server, self._serving = start_http_server(0, addr="127.0.0.1", registry=registry)
        self.url = f"http://127.0.0.1:{self._server.server_port}/metrics"
        self._stopping = threading.Event()
        self._use()
        self._working = threading.Thread(target=self._work)
        self._working.start()

    def _work(self):
        while not self._stopping.wait(0.05):
            self._use()

    def _use(self):
        model = OPTIONS["model_name"]
        self._started.labels(model).inc()
        self._ended.labels(model).inc()
        self._inflight.labels(model).set(4)
        self._queued.labels(model).set(0)
        values = dict(zip(self._histograms, (0.12, 0.007, 2900, 240, 2.2), strict=True))
        for what, value in values.items():
            self._histograms[what].labels(model).observe(value)

    def stop_serving(self):
        """Nobody listens any more: the planner goes blind."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._serving.join()
            self._server = None

    def close(self):
        self._stopping.set()
        self._working.join()
        self.stop_serving()


class Orchestrator(threading.Thread):
    """Carries decisions out at once, and tells the planner."""

    def __init__(self, address):
        super().__init__()
        self._url = f"http://{address}/api/v1"
        self._stopping = threading.Event()

    def run(self):
        with httpx.Client(base_url=self._url) as client:
            while not self._stopping.wait(0.1):
                with contextlib.suppress(httpx.TransportError):
                    decision = client.get("decision").json()
                    workers = [max(1, decision[f"num_{pool}_workers"]) for pool in ("prefill", "decode")]
                    client.put("workers", json={"prefill": {"ready": workers[0]}, "decode": {"ready": workers[1]}})
                    if decision["decision_id"] > decision["scaled_decision_id"]:
                        client.post(f"decision/{decision['decision_id']}/complete")

    def close(self):
        self._stopping.set()
        self.join()


class Daemon:
    """``python -m planner`` as a process, with its dashboard."""

    def __init__(self, folder: Path, source: str, *options: str):
        self.log = folder / "planner.log"
        self._orchestrated = f"127.0.0.1:{free_tcp_port()}"
        command = [sys.executable, "-W", "error", "-m", "planner", "--dashboard-listen", "127.0.0.1:0"]
        command += ["--history-warm-start", "0"]
        values = {
            **OPTIONS,
            "virtual_listen": self._orchestrated,
            "state_dir": folder,
            "metrics_source": "scrape",
            "frontend_metrics_url": source,
            "log_format": "json",
        }
        for name, value in values.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        clean = {name: value for name, value in os.environ.items() if name not in _PLANNER_VARIABLES}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=clean)
        self._orchestrator = Orchestrator(self._orchestrated)
        self._orchestrator.start()
        self.url = self._wait_for_url()

    def _wait_for_url(self):
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(r'dashboard open.*"url": "(http://[^"]+)"', self.log.read_text(encoding="utf-8")):
                return found[1]
            time.sleep(0.02)
        pytest.fail(f"no dashboard:\n{self.log.read_text(encoding='utf-8')}")

    def get(self, path, **query):
        return httpx.get(f"{self.url}api/v1/{path}", params=query, timeout=30).raise_for_status().json()

    def wait_for_load(self):
        """Until an interval was seen whole, with its workers."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            seen = self.decisions(limit=1)[0]["observation"]
            if seen["interval"] < 10 and seen["prefill"] and seen["ttft_ms"]:
                return
            time.sleep(0.05)
        pytest.fail(f"sees no load:\n{self.log.read_text(encoding='utf-8')}")

    def decisions(self, **query):
        return self.get("decisions", **query)["decisions"]

    def stop(self):
        self._orchestrator.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


_PLANNER_VARIABLES = {variable for name in Settings.model_fields for variable in environment_names(name)}


@pytest.fixture(scope="session")
def day():
    """A day of records that ends some minutes ago."""
    return list(day_of_records(time.time() - 120))


@pytest.fixture(scope="session")
def history(tmp_path_factory, day):
    """That day in the folder of a planner's state."""
    folder = tmp_path_factory.mktemp("state")
    write_history(folder / OPTIONS["namespace"] / "history.sqlite", day)
    return folder


@pytest.fixture(scope="session")
def planner(history, require_binary):
    """A planner with a day behind it, deciding every two seconds."""
    require_binary("chromium")
    with contextlib.ExitStack() as started:
        frontend = Frontend()
        started.callback(frontend.close)
        daemon = Daemon(history, frontend.url, "--adjustment-interval", "2", "--reaction-interval", "0")
        started.callback(daemon.stop)
        daemon.wait_for_load()
        yield daemon


@pytest.fixture
def launch(tmp_path, chromium):
    """Starts planners of a test's own: ``daemon, frontend = launch("--adjustment-interval", "1")``."""
    with contextlib.ExitStack() as started:

        def start(*options):
            folder = tmp_path / str(time.monotonic_ns())
            folder.mkdir()
            frontend = Frontend()
            started.callback(frontend.close)
            daemon = Daemon(folder, frontend.url, *options)
            started.callback(daemon.stop)
            return daemon, frontend

        yield start


@pytest.fixture(scope="module")
def chromium(require_binary):
    """Debian's Chromium, driven by Playwright, with an empty profile.

    Not for the session: Playwright keeps an event loop running in this thread, which tests that are coroutines need.
    """
    from playwright.sync_api import sync_playwright

    binary = require_binary("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, headless=True, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page and what went wrong in it."""

    page: object
    errors: list[str]
    requests: list[str]

    def text(self, selector):
        return self.page.locator(selector).first.inner_text()

    def wait(self, expression, seconds=30.0, argument=None):
        """Wait until an expression, or a function of the argument, holds."""
        function = expression if "=>" in expression else f"() => ({expression})"
        return self.page.wait_for_function(function, arg=argument, timeout=seconds * 1000)

    def overflow(self):
        """Pixels that lie beside the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture
def open_tab(chromium):
    """Opens pages: ``open_tab(url, dark=True, phone=True)``; none may complain in its console."""
    with contextlib.ExitStack() as opened:
        tabs = []

        def open_(url, *, dark=False, phone=False, complaints=False, wait="#content:not([hidden])"):
            context = chromium.new_context(
                viewport={"width": 390, "height": 844} if phone else {"width": 1440, "height": 900},
                device_scale_factor=2 if phone else 1,
                has_touch=phone,
                color_scheme="dark" if dark else "light",
                timezone_id="UTC",
                reduced_motion="reduce",
            )
            opened.callback(context.close)
            page = context.new_page()
            tab = Tab(page, [], [])
            page.on("console", lambda message: tab.errors.append(message.text) if message.type in _LOUD else None)
            page.on("pageerror", lambda error: tab.errors.append(str(error)))
            page.on("request", lambda request: tab.requests.append(request.url))
            if not complaints:
                tabs.append(tab)
            page.goto(url)
            page.wait_for_selector(wait, timeout=30_000)
            return tab

        yield open_
        for tab in tabs:
            assert tab.errors == []


_LOUD = ("error", "warning")


@pytest.fixture(scope="session")
def picture():
    """Keeps pictures of the page in docs/images where PLANNER_PICTURES is set: ``picture(tab, name)``."""
    folder = Path(__file__).parents[2] / "docs" / "images"

    def keep(tab, name, **options):
        shot = tab.page.screenshot(**options)
        assert len(shot) > 10_000, "an empty picture"
        if os.environ.get("PLANNER_PICTURES"):
            from io import BytesIO

            from PIL import Image

            image = Image.open(BytesIO(shot)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
            image.save(folder / f"{name}.png", optimize=True)

    return keep


def clock(moment):
    """A time as the page shows it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S")


def as_json(record):
    return json.loads(json.dumps(record.to_dict()))
