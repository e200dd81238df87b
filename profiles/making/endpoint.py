"""Where an engine answers over HTTP, and what may be wrong with that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Api = Literal["completions", "chat"]

EXCERPT = 300
"""Characters of an answer that messages quote at most."""


class EndpointError(Exception):
    """A request that gave nothing to measure; the message says what the server did."""


class RefusedError(EndpointError):
    """A request that the server did not accept as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an engine answers, and how it is asked.

    Attributes:
        url: Base URL, with or without ``/v1``.
        model: Name of the model there; None for the only one.
        api: Whether to use completions or chat completions.
        api_key: Sent as bearer token; not shown.
        timeout_s: Longest wait for the next piece of an answer, seconds.
    """

    url: str
    model: str | None = None
    api: Api = "completions"
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0

    @property
    def root(self) -> str:
        """Base URL without ``/v1``."""
        return self.url.rstrip("/").removesuffix("/v1")

    @property
    def shown(self) -> str:
        """The same without a user and a password: for messages and whatever is written."""
        parts = urlsplit(self.root)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
