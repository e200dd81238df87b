"""What a dashboard runs against: a frontend, an orchestrator, and the planner as a process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from planner import Settings
from planner.settings import environment_names
from tests.conftest import free_tcp_port
from tests.dashboard.day import OPTIONS

_PLANNER_VARIABLES = {variable for name in Settings.model_fields for variable in environment_names(name)}


class Frontend:
    """A frontend's metrics page whose counters move as if it were used; a busy one answers once ``answers`` is set."""

    def __init__(self, *, busy=False):
        registry = CollectorRegistry()
        self.answers = threading.Event()
        if not busy:
            self.answers.set()
        registry.register(self)
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

    def collect(self):
        """One of its own collectors, to keep whoever asks waiting while it is busy."""
        self.answers.wait(60)
        return []

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
        self.answers.set()
        self._stopping.set()
        self._working.join()
        self.stop_serving()


class Orchestrator(threading.Thread):
    """Carries decisions out at once, and tells the planner."""

    def __init__(self, address, aggregated=False):
        super().__init__()
        self._url = f"http://{address}/api/v1"
        self._least = [0 if aggregated else 1, 1]
        self._stopping = threading.Event()

    def run(self):
        with httpx.Client(base_url=self._url) as client:
            while not self._stopping.wait(0.1):
                with contextlib.suppress(httpx.TransportError):
                    decision = client.get("decision").json()
                    decided = [decision[f"num_{pool}_workers"] for pool in ("prefill", "decode")]
                    workers = list(map(max, self._least, decided))
                    client.put("workers", json={"prefill": {"ready": workers[0]}, "decode": {"ready": workers[1]}})
                    if decision["decision_id"] > decision["scaled_decision_id"]:
                        client.post(f"decision/{decision['decision_id']}/complete")

    def close(self):
        self._stopping.set()
        self.join()


class Daemon:
    """``python -m planner`` as a process, with its dashboard."""

    def __init__(self, folder: Path, source: str, *options: str):
        self.log = folder / "output"
        self.logs = folder / "logs"
        self._orchestrated = f"127.0.0.1:{free_tcp_port()}"
        command = [sys.executable, "-W", "error", "-m", "planner"]
        command += ["--dashboard-listen", f"127.0.0.1:{free_tcp_port()}"]
        command += ["--history-warm-start", "0"]
        values = {
            **OPTIONS,
            "virtual_listen": self._orchestrated,
            "state_dir": folder,
            "metrics_source": "scrape",
            "frontend_metrics_url": source,
            "log_format": "json",
            "log_dir": self.logs,
        }
        for name, value in values.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        self._command = [*command, *options]
        self._orchestrator = Orchestrator(self._orchestrated, aggregated="agg" in options)
        self._orchestrator.start()
        self.start()

    def start(self):
        """Start, also anew: on the same ports, with the same state."""
        clean = {name: value for name, value in os.environ.items() if name not in _PLANNER_VARIABLES}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=clean)
        self.url = self._wait_for_url()

    def _wait_for_url(self):
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(r'dashboard open.*"url": "(http://[^"]+)"', self.log.read_text(encoding="utf-8")):
                return found[1]
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"no dashboard:\n{self.log.read_text(encoding='utf-8')}")

    def get(self, path, **query):
        return httpx.get(f"{self.url}api/v1/{path}", params=query, timeout=30).raise_for_status().json()

    def wait_for_load(self):
        """Until an interval was seen whole, with its workers."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            seen = self.decisions(limit=1)[0]["observation"]
            if seen["interval"] < 10 and seen["prefill"] and seen["decode"] and seen["ttft_ms"]:
                return
            time.sleep(0.05)
        pytest.fail(f"sees no load:\n{self.log.read_text(encoding='utf-8')}")

    def decisions(self, **query):
        return self.get("decisions", **query)["decisions"]

    def end(self, how=signal.SIGTERM):
        """End the process; ``start`` begins it anew."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def stop(self):
        self._orchestrator.close()
        self.end()
