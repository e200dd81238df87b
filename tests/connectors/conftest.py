"""Parts that connectors are tested with: decisions, a store in a file, a connector that listens."""

from __future__ import annotations

import httpx
import pytest

from connectors.virtual import EmbeddedStore, Listen, VirtualConnector


@pytest.fixture
def state_file(tmp_path):
    return tmp_path / "state" / "virtual.json"


@pytest.fixture
async def store(state_file):
    """A started store in a file."""
    store = EmbeddedStore(state_file)
    await store.start()
    yield store
    await store.close()


@pytest.fixture
async def make_connector(clock):
    """Make connectors that have not started; they are closed in the end."""
    made = []

    def make(**options):
        connector = VirtualConnector(**{"now": clock.now, "ack_timeout_s": 600.0, **options})
        made.append(connector)
        return connector

    yield make
    for connector in made:
        await connector.close()


@pytest.fixture
async def connector(make_connector):
    """A started connector in memory that listens on any free port of this machine."""
    connector = make_connector(listen=Listen("127.0.0.1", 0))
    await connector.start()
    return connector


@pytest.fixture
async def http(connector):
    """A plain HTTP client of that connector."""
    async with httpx.AsyncClient(base_url=connector.url, timeout=10.0, trust_env=False, verify=False) as http:
        yield http


@pytest.fixture
def port(free_port):
    """A port on loopback that nobody listens on."""
    return free_port()
