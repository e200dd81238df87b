"""Serves the page, the records it shows, and new ones as they come; read-only."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from aiohttp import web

from connectors.virtual import Listen
from connectors.virtual.guard import RefusalError, bearer, from_this_machine, problem, problems
from planner.report.history import History
from planner.report.record import Record
from planner.settings import ConfigurationError

# A browser that hears nothing for so long asks again; the state is told this often.
_HEARTBEAT_S = 2.0
_MOST_STREAMS = 100
_MOST_SLICES = 10_000
_COMPRESS_FROM_BYTES = 4096
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".LICENSE": "text/plain"}
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class DashboardServer:
    """Serves the dashboard of a running planner.

    ``/`` is the page, which holds no data and is open. The data is behind the token, if there is one:
    ``/api/v1/state`` is the moment, ``/api/v1/decisions`` the records of a time, and ``/api/v1/events`` both as
    server-sent events: ``state`` at once and every two seconds, ``record`` whenever there is one.
    """

    def __init__(self, listen: Listen, token: str | None, *, history: History, state: Callable[[], Any]) -> None:
        """Prepare to serve; nothing listens before ``start``.

        Args:
            listen: Where to listen.
            token: The bearer token that every request for data must show; required beyond loopback.
            history: The records.
            state: Tells the moment, as JSON has it.

        Raises:
            ConfigurationError: Other machines could read it without a token.
        """
        if not listen.loopback and not token:
            raise ConfigurationError(
                f"--dashboard-listen {listen.host}:{listen.port} can be reached from other machines: "
                "give --dashboard-token-file or --dashboard-token, or listen on 127.0.0.1"
            )
        self._listen = listen
        self._token = token
        self._history = history
        self._state = state
        self._files = {file.name: file.read_bytes() for file in static_files() if file.is_file()}
        self._streams: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str | None:
        """Where the page is; None before ``start``."""
        if self._runner is None or not self._runner.addresses:
            return None
        host = f"[{self._listen.host}]" if ":" in self._listen.host else self._listen.host
        return f"http://{host}:{self._runner.addresses[0][1]}/"

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: The port cannot be had.
        """
        api = web.Application(middlewares=[bearer(self._token)] if self._token else [])
        api.add_routes(
            [
                web.get("/state", self._get_state),
                web.get("/decisions", self._decisions),
                web.get("/events", self._events, allow_head=False),
            ]
        )
        guards = [] if self._token else [from_this_machine("--dashboard-token-file")]
        app = web.Application(middlewares=[problems, *guards])
        app.on_response_prepare.append(_add_headers)
        app.on_shutdown.append(self._end_streams)
        app.add_routes([web.get("/", self._page), web.get("/static/{name}", self._static)])
        app.add_subapp("/api/v1/", api)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._listen.host, self._listen.port).start()
        except OSError as error:
            where = f"{self._listen.host}:{self._listen.port}"
            raise ConfigurationError(f"--dashboard-listen {where} cannot be had: {error}") from error

    async def close(self) -> None:
        """Stop listening; may be called more than once."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _end_streams(self, _: web.Application) -> None:
        for stream in self._streams:
            stream.cancel()

    async def _page(self, _: web.Request) -> web.Response:
        return self._file("index.html")

    async def _static(self, request: web.Request) -> web.Response:
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.Response:
        content_type = _TYPES.get(f".{name.rpartition('.')[2]}")
        if name not in self._files or content_type is None:
            raise web.HTTPNotFound
        return web.Response(body=self._files[name], content_type=content_type, charset="utf-8")

    async def _get_state(self, _: web.Request) -> web.Response:
        return web.json_response(self._state())

    async def _decisions(self, request: web.Request) -> web.Response:
        since, until = _time(request, "since"), _time(request, "until")
        slices, limit = _whole(request, "slices", least=1), _whole(request, "limit", least=0)
        if slices is not None and since is not None:
            end = until if until is not None else self._state()["now"]
            documents = await self._history.thinned(since, end, min(slices, _MOST_SLICES))
        else:
            documents = await self._history.documents(since, until, limit)
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        body, encoding = await asyncio.to_thread(_encode, {"decisions": documents}, packed)
        return web.Response(
            body=body,
            content_type="application/json",
            charset="utf-8",
            headers={"Vary": "Accept-Encoding", **({"Content-Encoding": encoding} if encoding else {})},
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self._streams) >= _MOST_STREAMS:
            return problem(503, f"{_MOST_STREAMS} pages are open already")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        stream = asyncio.current_task()
        assert stream is not None  # noqa: S101 - a handler runs in a task
        self._streams.add(stream)
        try:
            await response.prepare(request)
            with self._history.subscribe() as records:
                await self._tell(response, records)
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._streams.discard(stream)
        return response

    async def _tell(self, response: web.StreamResponse, records: asyncio.Queue[Record]) -> None:
        await response.write(_event("state", self._state()))
        while True:
            try:
                record = await asyncio.wait_for(records.get(), _HEARTBEAT_S)
            except TimeoutError:
                await response.write(_event("state", self._state()))
            else:
                await response.write(_event("state", self._state()) + _event("record", record.to_dict()))


def static_files() -> Any:
    """The files that the page consists of."""
    return files("planner.dashboard").joinpath("static").iterdir()


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _event(name: str, content: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n".encode()


def _encode(content: Any, packed: bool) -> tuple[bytes, str | None]:
    body = json.dumps(content, separators=(",", ":")).encode()
    if not packed or len(body) < _COMPRESS_FROM_BYTES:
        return body, None
    return gzip.compress(body, compresslevel=3), "gzip"


def _time(request: web.Request, name: str) -> float | None:
    text = request.query.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RefusalError(400, f"{name} is {text!r}; it is a time in seconds since the epoch")
    return value


def _whole(request: web.Request, name: str, *, least: int) -> int | None:
    text = request.query.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) >= least):
        raise RefusalError(400, f"{name} is {text!r}; it is a whole number of {least} or more")
    return int(text)
