"""How a client reaches the planner: through a store, or over HTTP."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from connectors.base import ConnectorError
from connectors.virtual.state import VirtualDecision
from connectors.virtual.store import StoreRefusedError, VirtualStore
from planner.core.observation import Workers

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

# One long poll; the server answers at the latest after this, so that broken connections are noticed.
_POLL_S = 30.0
_LONGEST_PAUSE_S = 10.0
# What a server, or what stands before it, says when it cannot answer for the moment.
_BUSY = (408, 429, 502, 503, 504)


class VirtualClientError(Exception):
    """The planner refused; the message says what and why. Trying again does not help."""


class Link(ABC):
    """How a client reaches the planner; waits through whatever passes."""

    @abstractmethod
    async def get(self) -> VirtualDecision:
        """The newest decision."""

    @abstractmethod
    async def wait(self) -> VirtualDecision:
        """The newest decision, once it is not completed."""

    @abstractmethod
    async def complete(self, decision_id: int) -> None:
        """Acknowledge a decision."""

    @abstractmethod
    async def report(self, prefill: Workers | None, decode: Workers | None) -> None:
        """Tell what runs."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything."""


class StoreLink(Link):
    """Through a store."""

    def __init__(self, store: VirtualStore, *, owned: bool) -> None:
        """Follow a store.

        Args:
            store: The store.
            owned: Whether it is started and closed with this link, or belongs to a connector.
        """
        self._store = store
        self._owned = owned
        self._started = not owned

    async def get(self) -> VirtualDecision:
        """The newest decision."""
        return (await self._patiently(self._store.read)).decision

    async def wait(self) -> VirtualDecision:
        """The newest decision, once it is not completed."""

        async def outstanding() -> VirtualDecision:
            state = self._store.state
            while state.acknowledged:
                state = await self._store.changed(state)
            return state.decision

        return await self._patiently(outstanding)

    async def complete(self, decision_id: int) -> None:
        """Acknowledge a decision."""
        await self._patiently(lambda: self._store.update(lambda state: state.complete(decision_id)))

    async def report(self, prefill: Workers | None, decode: Workers | None) -> None:
        """Tell what runs."""
        await self._patiently(lambda: self._store.update(lambda state: state.report(prefill, decode)))

    async def close(self) -> None:
        """Close the store if it is this link's own."""
        if self._owned:
            await self._store.close()
            self._started = False

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until the store can be reached."""

        async def once() -> T:
            try:
                if not self._started:
                    await self._store.start()
                    self._started = True
                return await attempt()
            except (StoreRefusedError, ValueError) as error:
                raise VirtualClientError(str(error)) from error

        return await _until_done(once, ConnectorError)


class HttpLink(Link):
    """Over HTTP."""

    def __init__(self, url: str, *, token: str | None, ca_file: Path | str | None, timeout_s: float) -> None:
        """Prepare; nothing is connected before the first call.

        Args:
            url: Where the planner listens.
            token: The bearer token.
            ca_file: Certificates to trust instead of the system's.
            timeout_s: Longest time a request may take beyond the wait it asks for, seconds.
        """
        import httpx  # noqa: PLC0415 - in process nobody needs it

        self._http = httpx.AsyncClient(
            base_url=url,
            headers=[(b"Authorization", f"Bearer {token.strip()}".encode())] if token else [],
            timeout=httpx.Timeout(timeout_s, read=timeout_s + _POLL_S),
            verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
        )

    async def get(self) -> VirtualDecision:
        """The newest decision."""
        return _decision((await self._request("GET", "/api/v1/decision")).json())

    async def wait(self) -> VirtualDecision:
        """The newest decision, once it is not completed."""
        while True:
            response = await self._request("GET", "/api/v1/decision/wait", params={"timeout": _POLL_S})
            if response.status_code != 204:
                return _decision(response.json())

    async def complete(self, decision_id: int) -> None:
        """Acknowledge a decision."""
        await self._request("POST", f"/api/v1/decision/{decision_id}/complete")

    async def report(self, prefill: Workers | None, decode: Workers | None) -> None:
        """Tell what runs."""
        pools = {"prefill": prefill, "decode": decode}
        if body := {name: asdict(workers) for name, workers in pools.items() if workers is not None}:
            await self._request("PUT", "/api/v1/workers", json=body)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request until it is answered; every one of them may be sent twice.

        Raises:
            VirtualClientError: The planner refused it.
        """
        import httpx  # noqa: PLC0415

        async def once() -> httpx.Response:
            try:
                response = await self._http.request(method, path, **arguments)
            except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
                raise VirtualClientError(f"{self._http.base_url}: {error}") from error
            except httpx.ConnectError as error:
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    raise VirtualClientError(f"{self._http.base_url}: {error}; give ca_file") from error
                raise
            if response.status_code in _BUSY:
                raise _UnavailableError
            return response

        transient = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError)
        response = await _until_done(once, *transient, _UnavailableError)
        if response.is_error:
            raise VirtualClientError(_problem(response))
        return response


class _UnavailableError(Exception):
    """The planner, or what stands before it, cannot answer for the moment."""


async def _until_done(attempt: Callable[[], Awaitable[T]], *transient: type[Exception]) -> T:
    from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential  # noqa: PLC0415

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(transient),
        wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_PAUSE_S),
        reraise=True,
    )
    return await retrying(attempt)


def _decision(body: dict[str, Any]) -> VirtualDecision:
    return VirtualDecision(body["num_prefill_workers"], body["num_decode_workers"], body["decision_id"])


def _problem(response: httpx.Response) -> str:
    try:
        detail = response.json().get("detail", "")
    except (ValueError, AttributeError):
        detail = ""
    return f"{response.request.method} {response.request.url.path}: HTTP {response.status_code} {detail}".rstrip()
