"""Real servers as child processes on loopback, and small frontends for them to scrape."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import yaml
from aiohttp import web

SCRAPE_INTERVAL = "200ms"
_READY_WITHIN_S = 30.0


class PrometheusServer:
    """A real Prometheus; it may be stopped and started again, on the same port and with the same storage."""

    def __init__(self, binary, port, directory: Path, scrape_configs, scrape_interval):
        self.port = port
        self.url = f"http://127.0.0.1:{self.port}"
        self._binary = binary
        self._directory = directory
        self._interval = scrape_interval
        self._process = None
        self.configure(scrape_configs)

    def configure(self, scrape_configs):
        """Write the configuration; a running server takes it in with ``reload``."""
        document = {
            "global": {"scrape_interval": self._interval, "scrape_timeout": self._interval},
            "scrape_configs": scrape_configs,
        }
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "prometheus.yml").write_text(yaml.safe_dump(document), encoding="utf-8")

    async def start(self):
        with (self._directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._binary,
                f"--config.file={self._directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=warn",
                stdout=log,
                stderr=log,
            )
        await self._until_ready()

    async def _until_ready(self):
        deadline = time.monotonic() + _READY_WITHIN_S
        async with httpx.AsyncClient() as client:
            while time.monotonic() < deadline and self._process.returncode is None:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self.url}/-/ready")).is_success:
                        return
                await asyncio.sleep(0.05)
        pytest.fail(f"prometheus did not become ready:\n{(self._directory / 'log').read_text(encoding='utf-8')}")

    async def reload(self):
        """Take in the configuration as it is now."""
        self._process.send_signal(signal.SIGHUP)
        await asyncio.sleep(0.2)

    async def stop(self):
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 15)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def query(self, expression):
        """The instant vector of an expression, as of now."""
        async with httpx.AsyncClient() as client:
            response = await client.get(f"{self.url}/api/v1/query", params={"query": expression})
            return response.raise_for_status().json()["data"]["result"]

    async def until(self, expression, *, within_s=20.0):
        """Wait until an expression has a result."""
        deadline = time.monotonic() + within_s
        while not (result := await self.query(expression)):
            assert time.monotonic() < deadline, f"{expression} stayed without a result for {within_s} s"
            await asyncio.sleep(0.05)
        return result


@pytest.fixture
async def prometheus(tmp_path, free_port, require_binary):
    """Starts Prometheus servers: ``await prometheus(targets)`` or ``await prometheus(scrape_configs=[...])``.

    ``targets`` are ``host:port`` whose ``/metrics`` is scraped, as one job.
    """
    binary = require_binary("prometheus")
    servers = []

    async def start(targets=(), *, scrape_configs=None, scrape_interval=SCRAPE_INTERVAL):
        configs = scrape_configs or [{"job_name": "frontend", "static_configs": [{"targets": list(targets)}]}]
        server = PrometheusServer(
            binary, free_port(), tmp_path / f"prometheus-{len(servers)}", configs, scrape_interval
        )
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        await server.stop()


_HISTOGRAMS = {
    "time_to_first_token_seconds": ("0.1", "0.5", "1", "5"),
    "inter_token_latency_seconds": ("0.01", "0.05", "0.1"),
    "input_sequence_tokens": ("100", "1000", "10000"),
    "output_sequence_tokens": ("100", "1000", "10000"),
    "request_duration_seconds": ("1", "10", "100"),
}


@dataclass
class Frontend:
    """A page with the families and labels of a Dynamo frontend, driven by a test.

    A frontend that was never called shows no series of a model, as the real one does.
    """

    port: int
    counts_arrivals: bool = True
    _values: dict = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"http://{self.target}/metrics"

    async def start(self):
        app = web.Application()
        app.router.add_get("/metrics", self._page)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self):
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def restart(self):
        """As a new process: every counter begins anew."""
        await self.stop()
        self._values.clear()
        await self.start()

    def arrive(self, requests=1, *, model="tiny"):
        if self.counts_arrivals:
            self._add("requests_started_total", {"endpoint": "completions", "model": model}, requests)
        self._add("inflight_requests", {"model": model}, requests)
        self._add("queued_requests", {"model": model}, 0)

    def complete(self, requests=1, *, model="tiny", isl=1000, osl=100, ttft_s=0.3, itl_s=0.02):
        self._add("requests_total", {"endpoint": "completions", "model": model, "status": "success"}, requests)
        self._add("inflight_requests", {"model": model}, -requests)
        self._observe("time_to_first_token_seconds", model, ttft_s, requests)
        self._observe("inter_token_latency_seconds", model, itl_s, requests * (osl - 1))
        self._observe("input_sequence_tokens", model, isl, requests)
        self._observe("output_sequence_tokens", model, osl, requests)
        self._observe("request_duration_seconds", model, ttft_s + itl_s * (osl - 1), requests)

    def serve(self, requests=1, **options):
        """Requests that come and go."""
        model = options.get("model", "tiny")
        self.arrive(requests, model=model)
        self.complete(requests, **options)

    def refuse(self, model="unknown_model"):
        """A request for a model that is not served."""
        self._add("requests_started_total", {"endpoint": "completions", "model": model}, 1)
        self._add("requests_total", {"endpoint": "completions", "model": model, "status": "error"}, 1)
        self._add("inflight_requests", {"model": model}, 0)

    def _observe(self, name, model, value, number):
        for bound in (*_HISTOGRAMS[name], "+Inf"):
            self._add(f"{name}_bucket", {"model": model, "le": bound}, number * (value <= float(bound)))
        self._add(f"{name}_sum", {"model": model}, number * value)
        self._add(f"{name}_count", {"model": model}, number)

    def _add(self, name, labels, amount):
        key = (name, tuple(labels.items()))
        self._values[key] = self._values.get(key, 0) + amount

    async def _page(self, request):
        lines = ["dynamo_frontend_disconnected_clients 0"]
        for (name, labels), value in self._values.items():
            matchers = ",".join(f'{label}="{text}"' for label, text in labels)
            lines.append(f"dynamo_frontend_{name}{{{matchers}}} {value}")
        return web.Response(text="\n".join(lines) + "\n")


@pytest.fixture
async def frontends(free_port):
    """Starts frontends: ``await frontends(2)``."""
    started = []

    async def start(number=1, **options):
        new = [Frontend(port=free_port(), **options) for _ in range(number)]
        for frontend in new:
            started.append(frontend)
            await frontend.start()
        return new

    yield start
    for frontend in started:
        await frontend.stop()
