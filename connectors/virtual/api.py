"""The HTTP interface of virtual mode."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from aiohttp import web

from connectors.base import ConnectorError
from connectors.virtual.state import VirtualState
from connectors.virtual.store import VirtualStore
from planner.core.observation import Workers

LONGEST_WAIT_S = 60.0
_LARGEST_BODY_BYTES = 16 * 1024
_LARGEST_COUNT = 1_000_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def openapi() -> str:
    """The OpenAPI document, in YAML."""
    return files("connectors.virtual").joinpath("openapi.yaml").read_text(encoding="utf-8")


class VirtualApi:
    """Serves decisions of a store, and takes acknowledgements."""

    def __init__(self, store: VirtualStore, token: str | None) -> None:
        """Prepare an application.

        Args:
            store: Where decisions are.
            token: The bearer token that every request must show; None for none.
        """
        self._store = store
        self._token = token
        self._closing = asyncio.Event()
        self._openapi = openapi()
        self.app = web.Application(middlewares=[self._guard], client_max_size=_LARGEST_BODY_BYTES)
        self.app.on_shutdown.append(self._wake_waiters)
        self.app.add_routes(
            [
                web.get("/api/v1/decision", self._get),
                web.get("/api/v1/decision/wait", self._wait),
                web.post("/api/v1/decision/{decision_id}/complete", self._complete),
                web.get("/api/v1/workers", self._get_workers),
                web.put("/api/v1/workers", self._put_workers),
                web.get("/openapi.yaml", self._get_openapi),
            ]
        )

    async def _wake_waiters(self, _: web.Application) -> None:
        self._closing.set()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who shows the token, and put every refusal into the same form."""
        if not self._lets_in(request):
            return problem(401, "show the bearer token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        try:
            return await handler(request)
        except _RefusalError as refusal:
            return problem(refusal.status, refusal.detail)
        except ConnectorError as error:
            return problem(503, str(error))
        except web.HTTPException as error:
            return problem(
                error.status, error.reason, {key: error.headers[key] for key in ("Allow",) if key in error.headers}
            )

    def _lets_in(self, request: web.Request) -> bool:
        if self._token is None:
            return True
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, f"Bearer {self._token}".encode())

    async def _get(self, _: web.Request) -> web.Response:
        return _decision(self._store.state)

    async def _wait(self, request: web.Request) -> web.Response:
        after = _number(request, "after", -1, int, least=-1)
        seconds = min(_number(request, "timeout", LONGEST_WAIT_S, float, least=0), LONGEST_WAIT_S)
        waiting = asyncio.ensure_future(self._outstanding(after))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({waiting, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return _decision(waiting.result()) if waiting.done() else web.Response(status=204)
        finally:
            waiting.cancel()
            closing.cancel()

    async def _outstanding(self, after: int) -> VirtualState:
        state = self._store.state
        while state.acknowledged or state.decision.decision_id <= after:
            state = await self._store.changed(state)
        return state

    async def _complete(self, request: web.Request) -> web.Response:
        text = request.match_info["decision_id"]
        if not (text.isascii() and text.isdecimal()):
            raise _RefusalError(400, f"the decision is {text!r}; it is a whole number of 0 or more")
        try:
            state = await self._store.update(lambda state: state.complete(int(text)))
        except ValueError as error:
            raise _RefusalError(404, str(error)) from None
        return _decision(state)

    async def _get_workers(self, _: web.Request) -> web.Response:
        return _workers(self._store.state)

    async def _put_workers(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.text())
        except (ValueError, RecursionError, LookupError) as error:
            raise _RefusalError(400, f"the body is no JSON in UTF-8: {error}") from None
        if not isinstance(body, dict) or set(body) - {"prefill", "decode"} or not body:
            raise _RefusalError(422, "expected an object with prefill, decode, or both")
        pools = {name: _read_workers(name, value) for name, value in body.items()}
        return _workers(await self._store.update(lambda state: state.report(pools.get("prefill"), pools.get("decode"))))

    async def _get_openapi(self, _: web.Request) -> web.Response:
        return web.Response(text=self._openapi, content_type="application/yaml")


class _RefusalError(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """A refusal, as RFC 9457 wants it."""
    title = web.Response(status=status).reason
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return web.json_response(body, status=status, content_type="application/problem+json", headers=headers)


def _number(request: web.Request, name: str, default: float, kind: type[int] | type[float], *, least: int) -> Any:
    text = request.query.get(name)
    if text is None:
        return default
    words = "whole number" if kind is int else "number of seconds"
    refusal = _RefusalError(400, f"{name} is {text!r}; it is a {words} of {least} or more")
    try:
        value = kind(text)
    except ValueError:
        raise refusal from None
    if not least <= value <= _LARGEST_COUNT:
        raise refusal
    return value


def _decision(state: VirtualState) -> web.Response:
    return web.json_response({**asdict(state.decision), "scaled_decision_id": state.scaled_decision_id})


def _workers(state: VirtualState) -> web.Response:
    pools = {"prefill": state.prefill, "decode": state.decode}
    return web.json_response({name: asdict(workers) if workers else None for name, workers in pools.items()})


def _read_workers(pool: str, value: Any) -> Workers:
    counts = ("ready", "pending", "draining")
    if not isinstance(value, dict) or "ready" not in value or set(value) - set(counts):
        raise _RefusalError(422, f"{pool}: expected an object with ready, and pending and draining if there are any")
    for name, count in value.items():
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _LARGEST_COUNT:
            raise _RefusalError(422, f"{pool}.{name} is {count!r}; it is a whole number from 0 to {_LARGEST_COUNT}")
    return Workers(**value)
