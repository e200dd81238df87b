"""How to reach etcd, where decisions are kept there."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import SecretStr, model_validator

from planner.settings.options import OptionGroup, WebAddresses, option


class EtcdOptions(OptionGroup):
    """How to reach etcd, where decisions are kept there."""

    title: ClassVar[str] = "Decisions in etcd"

    etcd_endpoints: WebAddresses = option(
        ("http://localhost:2379",),
        "Client address of a member; repeat it for each. Any that answers is used.",
        env=("ETCD_ENDPOINTS",),
    )
    etcd_username: str | None = option(None, "Name of the etcd user.", env=("ETCD_AUTH_USERNAME",))
    etcd_password: SecretStr | None = option(None, "Password of that user.", env=("ETCD_AUTH_PASSWORD",))
    etcd_ca_file: Path | None = option(None, "Certificates to trust instead of the system's.", env=("ETCD_AUTH_CA",))
    etcd_cert_file: Path | None = option(
        None, "Client certificate, where etcd wants one.", env=("ETCD_AUTH_CLIENT_CERT",)
    )
    etcd_key_file: Path | None = option(
        None, "Key of that certificate, unless it is in the same file.", env=("ETCD_AUTH_CLIENT_KEY",)
    )
    etcd_timeout: float = option(5.0, "Longest time an answer may take.", unit="s", gt=0)
    etcd_lease_ttl: int = option(
        30, "How long decisions outlive a planner that is gone, at least 2.", unit="s", ge=2, le=3600
    )

    @model_validator(mode="after")
    def _whole_etcd_access(self) -> Self:
        if not self.etcd_endpoints:
            raise ValueError("give --etcd-endpoints at least one address, such as http://localhost:2379")
        if (self.etcd_username is None) != (self.etcd_password is None):
            raise ValueError("give --etcd-username and --etcd-password together")
        if self.etcd_key_file is not None and self.etcd_cert_file is None:
            raise ValueError("--etcd-key-file needs --etcd-cert-file")
        return self
