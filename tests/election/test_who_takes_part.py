"""Which planners take part in an election, and under which name."""

from __future__ import annotations

from connectors.elected import ElectedConnector
from connectors.kubernetes import KubernetesConnector
from connectors.none import NoOperationConnector
from planner import Settings
from planner.assembly import make_connector


def make(monkeypatch, **options):
    monkeypatch.setenv("POD_NAME", "planner-0")
    return make_connector(Settings(environment="kubernetes", dgd_name="disagg", **options), lambda: 0.0)


def test_one_that_is_told_to(monkeypatch):
    first, second = (make(monkeypatch, leader_elect=True) for _ in range(2))
    assert isinstance(first, ElectedConnector)
    names = {one._elector.identity for one in (first, second)}
    assert len(names) == 2, "a name never comes again, not even in the same pod"
    assert all(name.startswith("planner-0_") for name in names)
    assert not first.leading


def test_one_that_is_alone_needs_no_election(monkeypatch):
    connector = make(monkeypatch)
    assert isinstance(connector, KubernetesConnector)
    assert connector.leading


def test_one_that_never_scales_keeps_nobody_from_it(monkeypatch):
    connector = make(monkeypatch, leader_elect=True, no_operation=True)
    assert isinstance(connector, NoOperationConnector)
    assert isinstance(connector._inner, KubernetesConnector)
    assert not connector.leading
