"""What stands before every route: who may come in, how often, and the form of refusals.

Each is a middleware of its own, so that other pages served beside the interface can use them.
"""

from __future__ import annotations

import asyncio
import hmac
import math
from collections import OrderedDict
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from connectors.base import ConnectorError
from connectors.virtual.listen import is_loopback

_MOST_ADDRESSES = 10_000
_BURST_S = 2.0


class RefusalError(Exception):
    """A request that is not served, and why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """A refusal, as RFC 9457 wants it."""
    title = web.Response(status=status).reason
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return web.json_response(body, status=status, content_type="application/problem+json", headers=headers)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put every refusal into the same form."""
    try:
        return await handler(request)
    except RefusalError as refusal:
        return problem(refusal.status, refusal.detail)
    except ConnectorError as error:
        return problem(503, str(error), {"Retry-After": "1"})
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {key: error.headers[key] for key in ("Allow",) if key in error.headers}
        return problem(error.status, _what_there_is(request, error), headers)


def _what_there_is(request: web.Request, error: web.HTTPException) -> str:
    """What is said of a request that is for no page."""
    if isinstance(error, web.HTTPNotFound):
        return f"there is no page {request.path}"
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"{request.path} does not take {request.method}; it takes {', '.join(sorted(error.allowed_methods))}"
    return error.reason


def bearer(token: str) -> Middleware:
    """Let in who shows the token; the comparison takes as long for a wrong one as for the right one."""
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if hmac.compare_digest(given, expected):
            return await handler(request)
        return problem(401, "show the bearer token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    return guard


def from_this_machine(remedy: str) -> Middleware:
    """Keep out pages of other sites, which a browser on this machine may show, where no token keeps them out.

    A request must be addressed to this machine by a name that only it has, and not come from a page of another origin.

    Args:
        remedy: The option that lets others in.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not is_loopback(_hostname(host)):
            return problem(403, f"without a token only requests to localhost or 127.0.0.1 are served; give {remedy}")
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != host:
            return problem(403, f"pages of {origin!r} are not served without a token; give {remedy}")
        return await handler(request)

    return guard


def _hostname(authority: str) -> str:
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def at_most(rate_per_s: float) -> Middleware:
    """Let every address ask so often, and twice as often for a moment."""
    allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()
    burst = max(1.0, rate_per_s * _BURST_S)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        now = asyncio.get_running_loop().time()
        address = request.remote or ""
        left, since = allowances.pop(address, (burst, now))
        left = min(burst, left + (now - since) * rate_per_s)
        allowances[address] = (max(0.0, left - 1), now)
        if len(allowances) > _MOST_ADDRESSES:
            allowances.popitem(last=False)
        if left >= 1:
            return await handler(request)
        pause_s = math.ceil((1 - left) / rate_per_s)
        return problem(
            429, f"more than {rate_per_s:g} requests/s from this address", {"Retry-After": str(max(1, pause_s))}
        )

    return guard
