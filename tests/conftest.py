"""What tests of every room share."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import settings as hypothesis_settings

from profiles import EngineProfile, load_profiles, sample_profile_dir

hypothesis_settings.register_profile("planner", deadline=None, derandomize=True, max_examples=100)
hypothesis_settings.load_profile("planner")


class VirtualClock:
    """A clock that jumps: waiting takes no time."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    async def sleep_until(self, when: float) -> None:
        await asyncio.sleep(0)
        self.time = max(self.time, when)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(scope="session")
def profile() -> EngineProfile:
    return load_profiles(sample_profile_dir(), prefill_gpus=1, decode_gpus=1)


@pytest.fixture
def free_port():
    """Finds ports on loopback that nobody listens on: ``free_port()``."""

    def find() -> int:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return listener.getsockname()[1]

    return find


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not depend on the environment they run in."""
    from planner.settings import Settings, environment_names

    for name in Settings.model_fields:
        for variable in environment_names(name):
            monkeypatch.delenv(variable, raising=False)
