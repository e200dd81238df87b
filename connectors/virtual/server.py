"""The server of orchestrators over HTTP, and what keeps them from harming the planner."""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
from typing import TYPE_CHECKING

from connectors.base import ConnectorError
from connectors.virtual.listen import Listen
from planner.log import get_logger

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Middleware

    from connectors.virtual.store import VirtualStore

_LARGEST_BODY_BYTES = 16 * 1024
# Longest time that a connection may be idle, or take to send the head of a request.
_IDLE_S = 20.0
_HANDSHAKE_S = 10.0
_RENEW_EVERY_S = 60.0
_MOST_CONNECTIONS = 4096
# File descriptors that the rest of the process needs.
_RESERVED_FILES = 128

log = get_logger("planner.virtual.server")


class ApiServer:
    """Serves a store over HTTP, with bounds on the size, rate and number of requests and on the time they take."""

    def __init__(self, store: VirtualStore, listen: Listen, *, token: str | None, rate_limit_rps: float | None) -> None:
        """Prepare; nothing is listened to before ``start``.

        Args:
            store: What is served.
            listen: Where.
            token: Bearer token that every request must show; None for none.
            rate_limit_rps: Most requests from an address, per second; None for any number.
        """
        self._store = store
        self._listen = listen
        self._token = token
        self._rate_limit_rps = rate_limit_rps
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._renewing: asyncio.Task[None] | None = None

    @property
    def url(self) -> str | None:
        """Where clients connect; None while nothing is listened to."""
        if self._server is None or not self._server.sockets:
            return None
        host = f"[{self._listen.host}]" if ":" in self._listen.host else self._listen.host
        scheme = "http" if self._listen.cert_file is None else "https"
        return f"{scheme}://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        """Listen.

        Raises:
            ConnectorError: The port cannot be had, or the certificate cannot be loaded.
        """
        from aiohttp import web  # noqa: PLC0415 - in process nobody needs it

        context = self._listen.ssl_context()
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=_quiet_logger(),
            shutdown_timeout=0.5,
            keepalive_timeout=_IDLE_S,
            handler_cancellation=True,
        )
        await self._runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._welcome,
                self._listen.host,
                self._listen.port,
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE_S if context else None,
                backlog=1024,
            )
        except OSError as error:
            raise ConnectorError(
                f"--virtual-listen {self._listen.host}:{self._listen.port} cannot be had: {error}"
            ) from error
        if context is not None:
            self._renewing = asyncio.create_task(self._renew(context), name="virtual certificate")

    async def _renew(self, context: ssl.SSLContext) -> None:
        """Take in a certificate that is renewed; it expires sooner than planners end."""
        loaded = self._listen.certificate_written()
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            written = self._listen.certificate_written()
            if written == loaded:
                continue
            loaded = written
            try:
                self._listen.load_certificate(context)
                log.info("certificate renewed", file=str(self._listen.cert_file))
            except ConnectorError as error:
                log.warning("certificate not renewed; the old one is served", detail=str(error))

    def _application(self) -> web.Application:
        from aiohttp import web  # noqa: PLC0415

        from connectors.virtual.api import add_routes  # noqa: PLC0415
        from connectors.virtual.guard import at_most, bearer, from_this_machine, problems  # noqa: PLC0415

        middlewares: list[Middleware] = [problems]
        if self._rate_limit_rps is not None:
            middlewares.append(at_most(self._rate_limit_rps))
        middlewares.append(bearer(self._token) if self._token else from_this_machine("--virtual-token-file"))
        app = web.Application(middlewares=middlewares, client_max_size=_LARGEST_BODY_BYTES)
        add_routes(app, self._store)
        return app

    def _welcome(self) -> asyncio.Protocol:
        """Serve a new connection, or hang up when there are too many."""
        assert self._runner is not None  # noqa: S101 - listening begins after it is set up
        server = self._runner.server
        if server is None or len(server.connections) >= most_connections():
            return _Full()
        return server()

    async def close(self) -> None:
        """Stop listening and wake who waits; may be called without ``start``."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
            self._renewing = None
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def most_connections() -> int:
    """Connections that are served at once: what the limit of open files leaves."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(1, min(_MOST_CONNECTIONS, files - _RESERVED_FILES))


def _quiet_logger() -> logging.Logger:
    """The server's log without requests that are no HTTP: whoever sends them must not fill the disk."""
    from aiohttp.http_exceptions import HttpProcessingError  # noqa: PLC0415

    def of_ours(record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return kind is None or not issubclass(kind, HttpProcessingError)

    logger = logging.getLogger("planner.virtual.http")
    logger.filters = [of_ours]
    return logger


class _Full(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
