"""The commands of docs/virtual-mode.md do what stands below them."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from connectors.virtual import Listen

DOCS = Path(__file__).parents[2] / "docs/virtual-mode.md"
# 2026-05-04T09:30:00Z
DECIDED_AT = 1_777_887_000.0


def commands():
    """Every curl command of the docs, with what it shows."""
    blocks = re.findall(r"^```console\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [tuple(part.strip().split("\n", 1)) for part in parts if part.startswith("curl ")]


@pytest.fixture
async def planner(make_connector):
    """A planner that is where the docs have it: decision 7 is made, 6 is completed."""
    connector = make_connector(listen=Listen("127.0.0.1", 0))
    await connector.start()
    for number in range(8):
        await connector.store.update(
            lambda state, number=number: state.decide(number - 4 if number > 6 else 1, 2, DECIDED_AT)
        )
    await connector.store.update(lambda state: state.complete(6))
    return connector


async def test_the_commands_show_what_the_docs_say(planner, require_binary, tmp_path):
    require_binary("curl")
    address = planner.url.removeprefix("http://")
    assert len(commands()) >= 7
    for command, expected in commands():
        process = await asyncio.create_subprocess_shell(
            command.replace("localhost:9086", address), stdout=asyncio.subprocess.PIPE, cwd=tmp_path
        )
        shown, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, command
        assert json.loads(shown) == json.loads(expected), command
