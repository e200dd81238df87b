"""Sources and connectors that are there and do nothing, for those of tests to be told from."""

from __future__ import annotations

from connectors.base import Applied, Connector, Outcome, WorkerCounts
from planner.sources.base import Source, SourceStatus


class PlainSource(Source):
    """A source that always answers; a test says what, in ``observe``."""

    status = SourceStatus(series_matched={}, errors={}, newest_data=None)

    async def start(self):
        pass

    async def check(self):
        return []

    async def close(self):
        pass


class PlainConnector(Connector):
    """A connector that takes every decision, and has the workers in ``counts``."""

    counts = WorkerCounts()

    async def start(self):
        pass

    async def workers(self):
        return self.counts

    async def apply(self, decision):
        return Applied(outcome=Outcome.APPLIED, detail="")

    async def check(self):
        return []

    async def close(self):
        pass
