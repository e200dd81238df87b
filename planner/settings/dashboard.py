"""Where the planner can be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import SecretStr, model_validator

from planner.settings.options import ListenAddress, OptionGroup, option


class DashboardOptions(OptionGroup):
    """Where the planner can be looked at."""

    title: ClassVar[str] = "Dashboard"

    dashboard_listen: ListenAddress | None = option(
        None,
        "HOST:PORT of the web page that shows what the planner sees, expects and decides; beyond loopback it needs a "
        "token. Left out, there is no page.",
    )
    dashboard_token: SecretStr | None = option(None, "Token that who looks must show.")
    dashboard_token_file: Path | None = option(None, "File with that token.")

    @model_validator(mode="after")
    def _one_dashboard_token(self) -> Self:
        if self.dashboard_token and self.dashboard_token_file:
            raise ValueError("give --dashboard-token or --dashboard-token-file, not both")
        return self
