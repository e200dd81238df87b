"""``check`` and the ports of a run: free, taken by others, by a planner, and wanted twice."""

import contextlib
import socket

import pytest

from planner import PlannerDaemon, Settings
from planner.checkup import check_up
from planner.finding import Health
from planner.ports import check_ports
from profiles import sample_profile_dir


def settings(**options):
    given = {"environment": "virtual", "virtual_listen": "127.0.0.1:0", "metric_reporting_host": "127.0.0.1"}
    return Settings(profile_results_dir=str(sample_profile_dir()), **{**given, **options})


@pytest.fixture
def taken():
    """A port on which somebody else listens."""
    with contextlib.closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_free_ports(free_port):
    ports = [free_port() for _ in range(3)]
    findings = list(
        check_ports(
            settings(
                metric_reporting_prometheus_port=ports[0],
                system_port=ports[1],
                dashboard_listen=f"localhost:{ports[2]}",
            )
        )
    )
    assert [finding.health for finding in findings] == [Health.OK] * 3
    assert [finding.subject for finding in findings] == [
        *("port of --metric-reporting-prometheus-port", "port of --system-port", "port of --dashboard-listen")
    ]
    assert findings[0].detail == f"127.0.0.1:{ports[0]} is free"


def test_without_ports_there_is_nothing_to_look_at():
    assert list(check_ports(settings(dashboard_listen="127.0.0.1:0", system_port=-1))) == []


@pytest.mark.parametrize("option", ["metric_reporting_prometheus_port", "system_port", "dashboard_listen"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_is_taken_is_named(taken, option, host, monkeypatch):
    monkeypatch.setattr("planner.ports._TIMEOUT_S", 0.1)
    value = f"{host}:{taken}" if option == "dashboard_listen" else taken
    (finding,) = check_ports(settings(**{option: value, "metric_reporting_host": host}))
    flag = f"--{option.replace('_', '-')}"
    assert finding.health is Health.FAILED
    assert finding.subject == f"port of {flag}"
    assert finding.detail == f"{host}:{taken} cannot be had: Address already in use"
    assert finding.remedy == f"end what listens there, or give {flag} another port"


def test_an_address_of_another_machine_is_named():
    (finding,) = check_ports(settings(dashboard_listen="192.0.2.1:9088"))
    assert finding.health is Health.FAILED
    assert "192.0.2.1:9088 cannot be had: Cannot assign requested address" in finding.detail
    assert finding.remedy == "give --dashboard-listen another address"


def test_two_of_ours_cannot_share_a_port(free_port):
    port = free_port()
    findings = list(
        check_ports(
            settings(metric_reporting_prometheus_port=port, system_port=port, dashboard_listen=f"0.0.0.0:{port}")
        )
    )
    collisions = [finding.detail for finding in findings if finding.health is Health.FAILED]
    assert collisions == [f"--metric-reporting-prometheus-port and --dashboard-listen both want port {port}"]
    shared = settings(dashboard_listen=f"127.0.0.1:{port}", virtual_listen=f"127.0.0.1:{port}")
    assert any("--virtual-listen both want port" in finding.detail for finding in check_ports(shared))


async def test_a_planner_that_runs_already_is_no_failure(free_port):
    running = settings(
        metric_reporting_prometheus_port=free_port(),
        dashboard_listen=f"127.0.0.1:{free_port()}",
        metrics_source="scrape",
        frontend_metrics_url=[f"http://127.0.0.1:{free_port()}/metrics"],
    )
    async with PlannerDaemon(running):
        findings = {finding.subject: finding for finding in await check_up(running)}
    for option in ("--metric-reporting-prometheus-port", "--dashboard-listen"):
        finding = findings[f"port of {option}"]
        assert finding.health is Health.WARNING
        assert finding.detail.startswith("a planner listens on 127.0.0.1:")


async def test_a_dashboard_for_others_needs_a_token(tmp_path, free_port):
    listen = f"0.0.0.0:{free_port()}"
    findings = await check_up(settings(dashboard_listen=listen, state_dir=tmp_path))
    (finding,) = [one for one in findings if one.subject == "dashboard"]
    assert finding.health is Health.FAILED
    assert "--dashboard-token-file" in finding.detail
    findings = await check_up(settings(dashboard_listen=listen, dashboard_token="secret", state_dir=tmp_path))
    assert not [one for one in findings if one.subject == "dashboard"]
