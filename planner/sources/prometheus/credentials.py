"""How to get into Prometheus."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import httpx

from planner.sources.base import SourceError


class TokenError(Exception):
    """The bearer token cannot be sent; the message says why, without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How to get into Prometheus; all optional. The secrets stay out of its representation.

    Attributes:
        bearer_token: A token.
        bearer_token_file: A file with a token, read again whenever it changes.
        username: A user for basic authentication.
        password: That user's password.
        ca_file: PEM file of the authority that signed the server's certificate.
        verify: Whether to verify that certificate.
    """

    bearer_token: str | None = None
    bearer_token_file: Path | None = None
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    verify: bool = True

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Credentials(username={self.username!r}, verify={self.verify})"

    def auth(self) -> httpx.Auth | None:
        """Who to say that we are."""
        if self.bearer_token or self.bearer_token_file:
            return _BearerAuth(self.bearer_token, self.bearer_token_file)
        if self.username is not None:
            return httpx.BasicAuth(self.username, self.password or "")
        return None

    def tls(self) -> ssl.SSLContext | bool:
        """Whom to trust.

        Raises:
            SourceError: The CA file cannot be used.
        """
        if not self.verify:
            return False
        if self.ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SourceError(f"--prometheus-ca-file {self.ca_file} cannot be used: {error}") from error


class _BearerAuth(httpx.Auth):
    def __init__(self, token: str | None, file: Path | None) -> None:
        self._token, self._file = token, file
        self._read_at: tuple[int, int] | None = None

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if self._file is not None:
            await asyncio.to_thread(self._refresh, self._file)
        if not (self._token and self._token.strip() and self._token.isascii() and self._token.isprintable()):
            # The library's own message would show it.
            raise TokenError("the bearer token is empty or has characters that no header may have")
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request

    def _refresh(self, file: Path) -> None:
        """Read the file if it is not the one that was read last; a mounted secret is replaced, not edited."""
        try:
            status = file.stat()
            if (identity := (status.st_mtime_ns, status.st_ino)) != self._read_at:
                self._token, self._read_at = file.read_text(encoding="utf-8").strip(), identity
        except (OSError, UnicodeDecodeError) as error:
            raise TokenError(f"the token file {file} cannot be read: {error}") from error
