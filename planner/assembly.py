"""From settings to the parts they name."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from connectors.base import Connector, ConnectorError
from connectors.none import NoOperationConnector
from planner.settings import Settings
from planner.sources.base import Source

if TYPE_CHECKING:
    from connectors.election import Elector, Fence
    from connectors.kubernetes import KubernetesApi, KubernetesLeases, Wanted
    from connectors.virtual.store import VirtualStore
    from planner.dashboard.server import DashboardServer
    from planner.report.history import History
    from planner.report.store import HistoryStore
    from planner.sources.prometheus import PrometheusApi, PrometheusSource

Now = Callable[[], float]


def make_source(settings: Settings, now: Now) -> Source:
    """The source that the settings name; it has not started.

    Args:
        settings: How to observe.
        now: What the time is, seconds since the epoch.

    Raises:
        SourceError: The names of the metrics or a CA file cannot be loaded.
    """
    return SOURCES[settings.metrics_source](settings, now)


def make_prometheus_api(settings: Settings) -> PrometheusApi:
    """The Prometheus server that the settings name; nothing is asked yet.

    Raises:
        SourceError: A CA file cannot be loaded.
    """
    from planner.sources.prometheus import Credentials, PrometheusApi  # noqa: PLC0415 - only the source in use

    return PrometheusApi(
        settings.metric_pulling_prometheus_endpoint,
        timeout_s=settings.metrics_timeout,
        credentials=Credentials(
            bearer_token=_reveal(settings.prometheus_bearer_token),
            bearer_token_file=settings.prometheus_bearer_token_file,
            username=settings.prometheus_username,
            password=_reveal(settings.prometheus_password),
            ca_file=settings.prometheus_ca_file,
            verify=not settings.prometheus_skip_tls_verify,
        ),
    )


def make_prometheus_source(settings: Settings, now: Now, api: PrometheusApi | None = None) -> PrometheusSource:
    """A source that asks a Prometheus server, by default the one that the settings name; see ``make_source``."""
    from planner.sources.mapping import load_mapping  # noqa: PLC0415
    from planner.sources.prometheus import PrometheusSource  # noqa: PLC0415

    return PrometheusSource(
        api or make_prometheus_api(settings),
        mapping=load_mapping(settings.metrics_preset, settings.metrics_mapping),
        now=now,
        model_name=settings.model_name,
        namespace=settings.namespace,
    )


def _scrape(settings: Settings, now: Now) -> Source:
    from planner.sources.mapping import load_mapping  # noqa: PLC0415
    from planner.sources.scrape import ScrapeSource  # noqa: PLC0415

    return ScrapeSource(
        urls=settings.frontend_metrics_url,
        mapping=load_mapping(settings.metrics_preset, settings.metrics_mapping),
        now=now,
        model_name=settings.model_name,
        namespace=settings.namespace,
        timeout_s=settings.metrics_timeout,
    )


SOURCES: Mapping[str, Callable[[Settings, Now], Source]] = {
    "prometheus": make_prometheus_source,
    "scrape": _scrape,
}


def make_store(settings: Settings) -> HistoryStore | None:
    """The file that the settings keep the history in; it is not open. None if they keep it in memory only.

    Args:
        settings: How long and how large, and in which folder.
    """
    if not settings.history_days:
        return None
    from planner.report.store import HistoryStore  # noqa: PLC0415

    return HistoryStore(settings.history_file, days=settings.history_days, megabytes=settings.history_size)


def make_dashboard(settings: Settings, history: History, state: Callable[[], Any]) -> DashboardServer | None:
    """The page that the settings ask for; it does not listen yet. None if they ask for none.

    Args:
        settings: Where to listen, and the token.
        history: The records to show.
        state: Tells the moment, as JSON has it.

    Raises:
        ConnectorError: The token cannot be read.
        ConfigurationError: There is none and other machines could look.
    """
    if settings.dashboard_listen is None:
        return None
    from connectors.virtual import Listen  # noqa: PLC0415
    from planner.dashboard.server import DashboardServer  # noqa: PLC0415

    token = _secret("--dashboard-token-file", settings.dashboard_token_file) or _reveal(settings.dashboard_token)
    return DashboardServer(Listen.parse(settings.dashboard_listen), token, history=history, state=state)


def make_connector(settings: Settings, now: Now) -> Connector:
    """The connector that the settings name; it has not started.

    Args:
        settings: Where decisions go.
        now: What the time is, seconds since the epoch.

    Raises:
        ConnectorError: The settings do not go together, or a token file cannot be read.
    """
    if settings.leader_elect and settings.environment != "kubernetes":
        raise ConnectorError(
            f"--leader-elect needs --environment kubernetes; with --environment {settings.environment} run one planner"
        )
    connector = CONNECTORS[settings.environment](settings, now)
    return NoOperationConnector(connector) if settings.no_operation else connector


def _virtual(settings: Settings, now: Now) -> Connector:
    from connectors.virtual import Listen, VirtualConnector, Webhook  # noqa: PLC0415

    store = VIRTUAL_STORES[settings.virtual_store](settings, now)
    secret = _secret("--virtual-webhook-secret-file", settings.virtual_webhook_secret_file) or _reveal(
        settings.virtual_webhook_secret
    )
    webhook = None
    if settings.virtual_webhook is not None and secret is not None:
        try:
            webhook = Webhook(settings.virtual_webhook, secret=secret, store=store, namespace=settings.namespace)
        except ValueError as error:
            raise ConnectorError(str(error)) from error
    return VirtualConnector(
        now=now,
        store=store,
        listen=Listen.parse(
            settings.virtual_listen, cert_file=settings.virtual_tls_cert_file, key_file=settings.virtual_tls_key_file
        ),
        token=_secret("--virtual-token-file", settings.virtual_token_file) or _reveal(settings.virtual_token),
        rate_limit_rps=settings.virtual_rate_limit,
        webhook=webhook,
        ack_timeout_s=settings.virtual_ack_timeout,
        blocking=settings.virtual_blocking,
    )


def _embedded_store(settings: Settings, _: Now) -> VirtualStore:
    from connectors.virtual import EmbeddedStore  # noqa: PLC0415

    return EmbeddedStore(settings.state_dir / settings.namespace / "virtual.json")


def _etcd_store(settings: Settings, now: Now) -> VirtualStore:
    from connectors.virtual.etcd import DecidingStore, EtcdAccess, EtcdGateway, FollowingStore  # noqa: PLC0415

    access = EtcdAccess(
        endpoints=settings.etcd_endpoints,
        username=settings.etcd_username,
        password=_reveal(settings.etcd_password),
        ca_file=settings.etcd_ca_file,
        cert_file=settings.etcd_cert_file,
        key_file=settings.etcd_key_file,
        timeout_s=settings.etcd_timeout,
    )
    if settings.no_operation:
        # Who only watches must not stand in the way of who decides.
        return FollowingStore(EtcdGateway(access), settings.namespace, lease_ttl_s=settings.etcd_lease_ttl)
    return DecidingStore(EtcdGateway(access), settings.namespace, now=now, lease_ttl_s=settings.etcd_lease_ttl)


VIRTUAL_STORES: Mapping[str, Callable[[Settings, Now], VirtualStore]] = {
    "embedded": _embedded_store,
    "etcd": _etcd_store,
}


def _kubernetes(settings: Settings, now: Now) -> Connector:
    from connectors.kubernetes import KubernetesConnector, Wanted  # noqa: PLC0415

    # Who never scales must not keep others from it.
    elects = settings.leader_elect and not settings.no_operation
    api = make_kubernetes_api(settings)
    wanted = Wanted(
        name=settings.dgd_name,
        namespace=settings.dgd_namespace,
        backend=settings.backend,
        aggregated=settings.aggregated,
        model_name=settings.model_name,
        scales=not settings.no_operation,
        elects=elects,
        lease_namespace=settings.leader_elect_resource_namespace,
        lease_name=settings.leader_elect_resource_name,
    )
    if not elects:
        return KubernetesConnector(api, wanted, now=now)
    return _elected(settings, now, api, wanted)


def make_kubernetes_api(settings: Settings, fence: Fence | None = None) -> KubernetesApi:
    """The cluster that the settings name; nothing is connected yet.

    Args:
        settings: Where the credentials are.
        fence: Asked right before every change.
    """
    from connectors.kubernetes import Access, KubernetesApi  # noqa: PLC0415

    access = Access(
        kubeconfig=settings.kubeconfig,
        context=settings.kube_context,
        service_account_dir=settings.kube_service_account_dir,
    )
    return KubernetesApi(access, timeout_s=settings.kube_timeout, fence=fence)


def make_elector(settings: Settings, leases: KubernetesLeases, now: Now) -> Elector:
    """The candidate of this process for a lease, in the times of ``--leader-elect-...``."""
    from connectors.election import ElectionTimes, Elector, uptime  # noqa: PLC0415

    return Elector(
        leases,
        f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:12]}",
        ElectionTimes(
            duration_s=settings.leader_elect_lease_duration,
            deadline_s=settings.leader_elect_renew_deadline,
            retry_s=settings.leader_elect_retry_period,
        ),
        monotonic=uptime,
        now=now,
        sleep=asyncio.sleep,
        random=random.random,
    )


def _elected(settings: Settings, now: Now, api: KubernetesApi, wanted: Wanted) -> Connector:
    from connectors.elected import ElectedConnector  # noqa: PLC0415
    from connectors.kubernetes import KubernetesConnector, KubernetesLeases  # noqa: PLC0415

    elector = make_elector(settings, KubernetesLeases(api, lambda: wanted.lease(*connector.place)), now)
    connector = KubernetesConnector(api, wanted, now=now, fence=elector)
    return ElectedConnector(connector, elector)


CONNECTORS: Mapping[str, Callable[[Settings, Now], Connector]] = {
    "kubernetes": _kubernetes,
    "virtual": _virtual,
}


def _secret(option: str, file: Path | None) -> str | None:
    """What a file of secrets holds, without the blanks around it; None without a file."""
    if file is None:
        return None
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectorError(f"{option} {file} cannot be read: {error}") from error
    if not secret:
        raise ConnectorError(f"{option} {file} is empty")
    return secret


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
