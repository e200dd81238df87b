"""How other orchestrators follow the decisions."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from platformdirs import user_state_dir
from pydantic import SecretStr, model_validator

from planner.settings.options import ListenAddress, OptionGroup, WebAddress, option


class VirtualOptions(OptionGroup):
    """How other orchestrators follow the decisions."""

    title: ClassVar[str] = "Virtual environment"

    virtual_store: Literal["embedded", "etcd"] = option(
        "embedded",
        "Where decisions are kept: in a file of this planner, or in etcd as NVIDIA Dynamo's planner keeps them.",
    )
    virtual_listen: ListenAddress = option(
        "127.0.0.1:9086",
        "HOST:PORT of the HTTP interface for orchestrators; beyond loopback it needs a token.",
    )
    virtual_token: SecretStr | None = option(None, "Bearer token that orchestrators must show.")
    virtual_token_file: Path | None = option(None, "File with that token.")
    virtual_tls_cert_file: Path | None = option(
        None, "Certificate to serve HTTPS with, followed by those it depends on."
    )
    virtual_tls_key_file: Path | None = option(None, "Key of that certificate, unless it is in the same file.")
    virtual_rate_limit: float = option(
        1000.0, "Most requests from an address; twice as many for a moment.", unit="requests/s", gt=0
    )
    virtual_webhook: WebAddress | None = option(None, "Address that every decision is posted to, signed.")
    virtual_webhook_secret: SecretStr | None = option(
        None, "What to sign with: whsec_ and base64 as Standard Webhooks has it, or any text."
    )
    virtual_webhook_secret_file: Path | None = option(None, "File with that secret.")
    virtual_ack_timeout: float = option(
        1800.0,
        "Longest time a new decision waits for the acknowledgement of the one before; 0 expects none, and takes every "
        "decision to be carried out at once.",
        unit="s",
        ge=0,
    )
    virtual_blocking: bool = option(False, "Wait within each adjustment until the decision is acknowledged.")
    state_dir: Path = option(
        Path(user_state_dir("sla-planner")),
        "Folder that keeps decisions and the history over a restart, in a subfolder for each namespace.",
    )

    @model_validator(mode="after")
    def _whole_virtual_interface(self) -> Self:
        if self.virtual_token and self.virtual_token_file:
            raise ValueError("give --virtual-token or --virtual-token-file, not both")
        if self.virtual_webhook_secret and self.virtual_webhook_secret_file:
            raise ValueError("give --virtual-webhook-secret or --virtual-webhook-secret-file, not both")
        if self.virtual_webhook and not (self.virtual_webhook_secret or self.virtual_webhook_secret_file):
            raise ValueError("--virtual-webhook needs --virtual-webhook-secret-file or --virtual-webhook-secret")
        if self.virtual_tls_key_file and not self.virtual_tls_cert_file:
            raise ValueError("--virtual-tls-key-file needs --virtual-tls-cert-file")
        return self
