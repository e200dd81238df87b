"""Frontends on loopback."""

from __future__ import annotations

import pytest
from aiohttp import web

from planner.sources.scrape import ScrapeSource
from tests.sources.scrape.frontends import DYNAMO, Page, Rig


@pytest.fixture
async def rig(clock):
    """Starts pages and a source that reads them: ``await rig(2)``, or ``await rig("0.9", "1.6")``."""
    runners, sources = [], []

    async def start(*versions, number=1, model="tiny", start=True, mapping=DYNAMO, timeout_s=5.0, **options):
        pages = [Page(version, model) for version in versions or ["1.6"] * number]
        urls = []
        for page in pages:
            app = web.Application()
            app.router.add_get("/metrics", page.get)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            runners.append(runner)
            urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}/metrics")
        source = ScrapeSource(urls=urls, mapping=mapping, now=clock.now, timeout_s=timeout_s, **options)
        sources.append(source)
        if start:
            await source.start()
        return Rig(source, pages, urls, clock)

    yield start
    for source in sources:
        await source.close()
    for runner in runners:
        await runner.cleanup()
