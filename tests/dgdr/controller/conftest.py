from __future__ import annotations

import pytest

from connectors.kubernetes import Access, KubernetesApi
from tests.dgdr.controller.world import World


@pytest.fixture
def access(fake, tmp_path):
    return Access(kubeconfig=fake.kubeconfig(tmp_path))


@pytest.fixture
async def world(access):
    """A namespace of the fake server, with an operator and a kubelet."""
    api = KubernetesApi(access, timeout_s=5)
    await api.start()
    async with World(api, access) as world:
        world.operate()
        world.kubelet()
        yield world
    await api.close()


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog):
    """Words that records cannot carry would else be noticed only where somebody looks."""
    caplog.set_level("DEBUG", logger="planner")
