"""The routes of virtual mode over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from aiohttp import web

from connectors.base import ConnectorError
from connectors.virtual.guard import RefusalError
from connectors.virtual.state import VirtualState
from connectors.virtual.store import VirtualStore
from planner.core.observation import Workers

Holds = Callable[[VirtualState], bool]

LONGEST_WAIT_S = 60.0
_LARGEST_COUNT = 1_000_000
_BODY_WITHIN_S = 10.0


def openapi() -> str:
    """The OpenAPI document, in YAML."""
    return files("connectors.virtual").joinpath("openapi.yaml").read_text(encoding="utf-8")


def add_routes(app: web.Application, store: VirtualStore) -> None:
    """Serve the decisions of a store on an application, and take acknowledgements.

    Refusals are raised as RefusalError and ConnectorError; the application needs the middleware ``problems``.
    """
    VirtualApi(app, store)


class VirtualApi:
    """The routes, on one application."""

    def __init__(self, app: web.Application, store: VirtualStore) -> None:
        self._store = store
        self._closing = False
        self._waiters: dict[asyncio.Future[None], Holds] = {}
        self._following: asyncio.Task[None] | None = None
        self._openapi = openapi()
        app.on_shutdown.append(self._wake_waiters)
        app.add_routes(
            [
                web.get("/api/v1/decision", self._get),
                web.get("/api/v1/decision/wait", self._wait),
                web.post("/api/v1/decision/{decision_id}/complete", self._complete),
                web.get("/api/v1/desired", self._desired),
                web.get("/api/v1/workers", self._get_workers),
                web.put("/api/v1/workers", self._put_workers),
                web.get("/openapi.yaml", self._get_openapi),
            ]
        )

    async def _wake_waiters(self, _: web.Application) -> None:
        self._closing = True
        for waiter in self._waiters:
            _wake(waiter)
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _get(self, request: web.Request) -> web.Response:
        return await self._current(request, _decision)

    async def _desired(self, request: web.Request) -> web.Response:
        return await self._current(request, _desired)

    async def _current(self, request: web.Request, respond: Callable[[VirtualState], web.Response]) -> web.Response:
        """What stands now; who has seen that already may wait for another."""
        seconds = min(_number(request, "timeout", 0, float, least=0), LONGEST_WAIT_S)
        seen = {tag.value for tag in request.if_none_match or ()}

        def unseen(state: VirtualState) -> bool:
            return not ({_tag(state), "*"} & seen)

        await self._until(unseen, seconds if seen else 0)
        state = self._known()
        response = respond(state)
        return response if unseen(state) else web.Response(status=304, headers={"ETag": response.headers["ETag"]})

    async def _wait(self, request: web.Request) -> web.Response:
        after = _number(request, "after", -1, int, least=-1)
        seconds = min(_number(request, "timeout", LONGEST_WAIT_S, float, least=0), LONGEST_WAIT_S)

        def outstanding(state: VirtualState) -> bool:
            return not state.acknowledged and state.decision.decision_id > after

        self._known()
        await self._until(outstanding, seconds)
        state = self._known()
        return _decision(state) if outstanding(state) else web.Response(status=204)

    async def _until(self, holds: Holds, seconds: float) -> None:
        """Wait until something holds of the state, at most so long, and no longer than there is a server."""
        if seconds <= 0 or self._closing or holds(self._store.state):
            return
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters[waiter] = holds
        timer = loop.call_later(seconds, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            del self._waiters[waiter]

    async def _follow(self) -> None:
        """Wake who waits for a state, as long as anybody waits: one look at the store serves them all."""
        state = self._store.state
        while self._waiters:
            for waiter, holds in list(self._waiters.items()):
                if holds(state):
                    _wake(waiter)
            try:
                state = await self._store.changed(state)
            except ConnectorError:
                for waiter in self._waiters:
                    _wake(waiter)
                return

    def _known(self) -> VirtualState:
        if self._store.trouble is not None:
            raise RefusalError(503, self._store.trouble)
        return self._store.state

    async def _complete(self, request: web.Request) -> web.Response:
        text = request.match_info["decision_id"]
        if not (text.isascii() and text.isdecimal()):
            raise RefusalError(400, f"the decision is {text!r}; it is a whole number of 0 or more")
        # Python refuses to read some thousands of digits; nobody counts as far as nineteen.
        number = int(text.lstrip("0")[:19] or "0")
        try:
            state = await self._store.update(lambda state: state.complete(number))
        except ValueError as error:
            raise RefusalError(404, str(error)) from None
        return _decision(state)

    async def _get_workers(self, _: web.Request) -> web.Response:
        return _workers(self._known())

    async def _put_workers(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(_BODY_WITHIN_S):
                body = json.loads(await request.text())
        except TimeoutError:
            raise RefusalError(408, f"the body did not arrive within {_BODY_WITHIN_S:g} s") from None
        except (ValueError, RecursionError, LookupError) as error:
            raise RefusalError(400, f"the body is no JSON in UTF-8: {error}") from None
        if not isinstance(body, dict) or set(body) - {"prefill", "decode"} or not body:
            raise RefusalError(422, "expected an object with prefill, decode, or both")
        pools = {name: _read_workers(name, value) for name, value in body.items()}
        return _workers(await self._store.update(lambda state: state.report(pools.get("prefill"), pools.get("decode"))))

    async def _get_openapi(self, _: web.Request) -> web.Response:
        return web.Response(text=self._openapi, content_type="application/yaml")


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _number(request: web.Request, name: str, default: float, kind: type[int] | type[float], *, least: int) -> Any:
    text = request.query.get(name)
    if text is None:
        return default
    words = "whole number" if kind is int else "number of seconds"
    refusal = RefusalError(400, f"{name} is {text!r}; it is a {words} of {least} or more")
    try:
        value = kind(text)
    except ValueError:
        raise refusal from None
    if not least <= value <= _LARGEST_COUNT:
        raise refusal
    return value


def _tag(state: VirtualState) -> str:
    """What changes with the decision or its acknowledgement."""
    return ".".join(map(str, (state.decision.decision_id, state.scaled_decision_id, *state.decision.targets)))


def _decision(state: VirtualState) -> web.Response:
    body = {**asdict(state.decision), "scaled_decision_id": state.scaled_decision_id}
    return web.json_response(body, headers={"ETag": f'"{_tag(state)}"'})


def _desired(state: VirtualState) -> web.Response:
    """The replicas wanted: for KEDA by pool, and the same as a list of Kubernetes' external metrics."""
    if state.decision.decision_id < 0 or state.decided_at is None:
        raise RefusalError(404, "no decision was made yet")
    pools = {"prefill": state.decision.num_prefill_workers, "decode": state.decision.num_decode_workers}
    decided_at = datetime.fromtimestamp(state.decided_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    items = [
        {
            "metricName": "sla_planner_desired_replicas",
            "metricLabels": {"pool": pool},
            "timestamp": decided_at,
            "value": str(replicas),
        }
        for pool, replicas in pools.items()
    ]
    body = {
        "kind": "ExternalMetricValueList",
        "apiVersion": "external.metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": items,
        "decision_id": state.decision.decision_id,
        "decided_at": decided_at,
        **{pool: {"replicas": replicas} for pool, replicas in pools.items()},
    }
    return web.json_response(body, headers={"ETag": f'"{_tag(state)}"'})


def _workers(state: VirtualState) -> web.Response:
    pools = {"prefill": state.prefill, "decode": state.decode}
    return web.json_response({name: asdict(workers) if workers else None for name, workers in pools.items()})


def _read_workers(pool: str, value: Any) -> Workers:
    counts = ("ready", "pending", "draining")
    if not isinstance(value, dict) or "ready" not in value or set(value) - set(counts):
        raise RefusalError(422, f"{pool}: expected an object with ready, and pending and draining if there are any")
    for name, count in value.items():
        # JSON knows one kind of number: 2.0 is as whole as 2.
        whole = isinstance(count, (int, float)) and not isinstance(count, bool) and count == count // 1
        if not whole or not 0 <= count <= _LARGEST_COUNT:
            raise RefusalError(422, f"{pool}.{name} is {count!r}; it is a whole number from 0 to {_LARGEST_COUNT}")
    return Workers(**{name: int(count) for name, count in value.items()})
