"""How other orchestrators follow the decisions."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from platformdirs import user_state_dir
from pydantic import SecretStr, model_validator

from planner.settings.options import ListenAddress, OptionGroup, option


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
    virtual_ack_timeout: float = option(
        1800.0,
        "Longest time a new decision waits for the acknowledgement of the one before.",
        unit="s",
        gt=0,
    )
    virtual_blocking: bool = option(False, "Wait within each adjustment until the decision is acknowledged.")
    state_dir: Path = option(
        Path(user_state_dir("sla-planner")),
        "Folder that keeps decisions and the history over a restart, in a subfolder for each namespace.",
    )

    @model_validator(mode="after")
    def _one_virtual_token(self) -> Self:
        if self.virtual_token and self.virtual_token_file:
            raise ValueError("give --virtual-token or --virtual-token-file, not both")
        return self
