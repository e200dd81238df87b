"""A Prometheus on loopback, and sources that ask it."""

from __future__ import annotations

import pytest
from aiohttp import web

from planner.sources.prometheus import Credentials, PrometheusApi, PrometheusSource
from tests.sources.prometheus.server import DYNAMO, Server


@pytest.fixture
async def server(clock):
    return Server(clock)


@pytest.fixture
async def serve(server):
    """Starts the server and gives its URL."""
    runners = []

    async def start(prefix="", context=None, port=0):
        app = web.Application()
        app.router.add_post(f"{prefix}/api/v1/query", server.query)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        return f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}{prefix}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def connect(clock):
    """Starts sources: ``await connect(url, bearer_token="x")``."""
    sources = []

    async def make(url, timeout_s=5.0, mapping=DYNAMO, **credentials):
        api = PrometheusApi(url, timeout_s=timeout_s, credentials=Credentials(**credentials))
        source = PrometheusSource(api, mapping=mapping, now=clock.now)
        sources.append(source)
        await source.start()
        return source

    yield make
    for source in sources:
        await source.close()
