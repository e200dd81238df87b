"""How the planner gets to an API server: as a pod of the cluster, or with a kubeconfig."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.base import ConnectorError

if TYPE_CHECKING:
    from kubernetes_asyncio.client import Configuration

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the credentials are.

    Attributes:
        kubeconfig: A kubeconfig to use; None for the service account of the pod, or else the usual kubeconfig.
        context: Context of the kubeconfig; None for its current one.
        service_account_dir: Where the pod's token, certificate and namespace are mounted.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    service_account_dir: Path = SERVICE_ACCOUNT_DIR

    @property
    def in_cluster(self) -> bool:
        """Whether the service account of a pod is what to use."""
        inside = "KUBERNETES_SERVICE_HOST" in os.environ and (self.service_account_dir / "token").exists()
        return self.kubeconfig is None and self.context is None and inside


@dataclass(slots=True)
class Credentials:
    """What was found.

    Attributes:
        configuration: For an ``ApiClient``.
        namespace: The namespace that goes with it; None if it names none.
        origin: Where it was found, for messages.
        renew: Reads a token anew at once; a mounted one is also read once a minute by itself.
    """

    configuration: Configuration
    namespace: str | None
    origin: str
    renew: Callable[[], None] = field(default=lambda: None)


async def sign_in(access: Access) -> Credentials:
    """Load credentials.

    Raises:
        ConnectorError: There are none, or they cannot be used.
    """
    if access.in_cluster:
        return await asyncio.to_thread(_from_service_account, access.service_account_dir)
    return await _from_kubeconfig(access)


def _from_service_account(directory: Path) -> Credentials:
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415 - half a second that other modes save
    from kubernetes_asyncio.config import ConfigException, load_incluster_config  # noqa: PLC0415

    configuration = Configuration()

    def load() -> None:
        load_incluster_config(  # type: ignore[no-untyped-call]
            client_configuration=configuration,
            token_filename=str(directory / "token"),
            cert_filename=str(directory / "ca.crt"),
        )

    try:
        load()
        namespace = _first_line(directory / "namespace")
    except (ConfigException, OSError, ValueError) as error:
        raise ConnectorError(f"the service account in {directory} cannot be used: {error}") from error
    return Credentials(configuration, namespace, f"service account in {directory}", load)


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


async def _from_kubeconfig(access: Access) -> Credentials:
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415
    from kubernetes_asyncio.config import ConfigException, load_kube_config  # noqa: PLC0415
    from kubernetes_asyncio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION  # noqa: PLC0415

    where = str(access.kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION)
    configuration = Configuration()
    try:
        await asyncio.to_thread(_look_for, where)
        loader = await load_kube_config(
            config_file=where, context=access.context, client_configuration=configuration, persist_config=False
        )
        namespace = (loader.current_context or {}).get("context", {}).get("namespace")
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        raise ConnectorError(
            f"no access to Kubernetes: this is no pod with a service account in {access.service_account_dir}, and the "
            f"kubeconfig {where} cannot be used: {error}. Give --kubeconfig, or run the planner as a pod"
        ) from error
    return Credentials(configuration, namespace, f"kubeconfig {where}")


def _look_for(where: str) -> None:
    """Make sure that there is a kubeconfig: like kubectl's it may be several files, merged as far as they exist."""
    if not any(Path(part).expanduser().exists() for part in where.split(os.pathsep)):
        raise FileNotFoundError("there is no such file")
