"""The ports that a run listens on, looked at before it does."""

from __future__ import annotations

import errno
import itertools
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx

from connectors.virtual import Listen
from planner.finding import Finding, Health
from planner.settings import Settings

_ANY = ("0.0.0.0", "::", "")  # noqa: S104 - looked for, not listened on
_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port that an option asks for.

    Attributes:
        option: The option.
        host: Address or name of the interface.
        number: The port, above 0.
        page: A page that a planner serves there.
        sign: What is on the page.
    """

    option: str
    host: str
    number: int
    page: str = "/"
    sign: str = ""

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return f"[{self.host}]:{self.number}" if ":" in self.host else f"{self.host}:{self.number}"

    def collides(self, other: Port) -> bool:
        """Whether nobody can listen on both."""
        return self.number == other.number and (self.host == other.host or self.host in _ANY or other.host in _ANY)


def ports_of(settings: Settings) -> Iterator[Port]:
    """The ports of the planner's own pages."""
    for number in settings.report_ports:
        of_metrics = number == settings.metric_reporting_prometheus_port
        yield Port(
            option="--metric-reporting-prometheus-port" if of_metrics else "--system-port",
            host=settings.metric_reporting_host,
            number=number,
            page="/metrics",
            sign="sla_planner_info",
        )
    if settings.dashboard_listen is not None:
        listen = Listen.parse(settings.dashboard_listen)
        if listen.port:
            yield Port(option="--dashboard-listen", host=listen.host, number=listen.port, sign="<title>SLA planner")


def check_ports(settings: Settings) -> Iterator[Finding]:
    """Whether each port can be had; one that a planner listens on already is worth a warning."""
    ports = list(ports_of(settings))
    yield from _collisions([*ports, *_of_orchestrators(settings)])
    for port in ports:
        yield _look_at(port)


def _of_orchestrators(settings: Settings) -> Iterator[Port]:
    """The port of the virtual connector, which looks after it itself."""
    if settings.environment == "virtual":
        listen = Listen.parse(settings.virtual_listen)
        if listen.port:
            yield Port(option="--virtual-listen", host=listen.host, number=listen.port)


def _collisions(ports: Sequence[Port]) -> Iterator[Finding]:
    for one, other in itertools.combinations(ports, 2):
        if one.collides(other):
            yield Finding(
                subject="ports",
                health=Health.FAILED,
                detail=f"{one.option} and {other.option} both want port {other.number}",
                remedy=f"give {other.option} another port",
            )


def _look_at(port: Port) -> Finding:
    subject = f"port of {port.option}"
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            port.host or None, port.number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        return _taken(port, subject, error)
    return Finding(subject=subject, health=Health.OK, detail=f"{port.address} is free")


def _taken(port: Port, subject: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE and _serves_planner(port):
        return Finding(
            subject=subject,
            health=Health.WARNING,
            detail=f"a planner listens on {port.address} already",
            remedy=f"none if that is the one that is checked; for one beside it give {port.option} another port",
        )
    remedy = "end what listens there, or give" if error.errno == errno.EADDRINUSE else "give"
    return Finding(
        subject=subject,
        health=Health.FAILED,
        detail=f"{port.address} cannot be had: {error.strerror or error}",
        remedy=f"{remedy} {port.option} another {'port' if error.errno != errno.EADDRNOTAVAIL else 'address'}",
    )


def _serves_planner(port: Port) -> bool:
    host = "127.0.0.1" if port.host in _ANY else port.host
    url = f"http://{f'[{host}]' if ':' in host else host}:{port.number}{port.page}"
    try:
        return port.sign in httpx.get(url, timeout=_TIMEOUT_S, trust_env=False).text
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
