"""The orchestrator's side: read decisions, act, acknowledge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from connectors.virtual.state import VirtualDecision
from connectors.virtual.store import VirtualStore
from planner.core.observation import Workers

if TYPE_CHECKING:
    import httpx

# One long poll; the server answers at the latest after this, so that broken connections are noticed.
_POLL_S = 30.0
_LONGEST_PAUSE_S = 10.0


class VirtualClientError(Exception):
    """The planner refused; the message says what and why. Trying again does not help."""


class _Link(ABC):
    """How a client reaches the planner."""

    @abstractmethod
    async def get(self) -> VirtualDecision: ...

    @abstractmethod
    async def wait(self) -> VirtualDecision: ...

    @abstractmethod
    async def complete(self, decision_id: int) -> None: ...

    @abstractmethod
    async def report(self, prefill: Workers | None, decode: Workers | None) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...


class VirtualConnectorClient:
    """Follows the decisions of a planner in virtual mode, in this process or over HTTP.

        async with VirtualConnectorClient.connect("http://127.0.0.1:9086") as client:
            async for decision in client:
                await scale(decision.num_prefill_workers, decision.num_decode_workers)
                await client.complete(decision)

    Acknowledge a decision when its workers serve: until then the planner holds the next one back.
    """

    def __init__(self, store: VirtualStore) -> None:
        """Follow a planner in this process.

        Args:
            store: The store of its VirtualConnector.
        """
        self._link: _Link = _InProcess(store)

    @classmethod
    def connect(cls, url: str, *, token: str | None = None, timeout_s: float = 10.0) -> Self:
        """Follow a planner over HTTP; it may start later, stop and come back.

        Args:
            url: Where it listens (``--virtual-listen``), such as ``http://127.0.0.1:9086``.
            token: The bearer token, if it wants one.
            timeout_s: Longest time a request may take beyond the wait it asks for, seconds.
        """
        client = cls.__new__(cls)
        client._link = _OverHttp(url, token, timeout_s)
        return client

    async def get(self) -> VirtualDecision:
        """The newest decision, completed or not; all -1 before the first."""
        return await self._link.get()

    async def wait(self) -> VirtualDecision:
        """The newest decision as soon as there is one that is not completed; at once if there is one already."""
        return await self._link.wait()

    async def complete(self, decision: VirtualDecision) -> None:
        """Acknowledge that the workers of a decision serve; an older decision than completed already changes nothing.

        Raises:
            VirtualClientError: The planner never made that decision.
        """
        await self._link.complete(decision.decision_id)

    async def report_workers(self, *, prefill: Workers | None = None, decode: Workers | None = None) -> None:
        """Tell the planner what really runs, whenever that changes.

        Without it the planner takes a completed decision's workers to be ready.

        Args:
            prefill: Prefill workers; left out, they are as reported before.
            decode: Decode workers; left out, they are as reported before.
        """
        await self._link.report(prefill, decode)

    async def __aiter__(self) -> AsyncIterator[VirtualDecision]:
        """Every decision that is not completed, for ever; one that was not completed comes again."""
        while True:
            yield await self.wait()

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()


class _InProcess(_Link):
    def __init__(self, store: VirtualStore) -> None:
        self._store = store

    async def get(self) -> VirtualDecision:
        return self._store.state.decision

    async def wait(self) -> VirtualDecision:
        state = self._store.state
        while state.acknowledged:
            state = await self._store.changed(state)
        return state.decision

    async def complete(self, decision_id: int) -> None:
        try:
            await self._store.update(lambda state: state.complete(decision_id))
        except ValueError as error:
            raise VirtualClientError(str(error)) from None

    async def report(self, prefill: Workers | None, decode: Workers | None) -> None:
        await self._store.update(lambda state: state.report(prefill, decode))

    async def close(self) -> None:
        """The store belongs to the connector."""


class _OverHttp(_Link):
    def __init__(self, url: str, token: str | None, timeout_s: float) -> None:
        import httpx  # noqa: PLC0415 - in process nobody needs it

        self._http = httpx.AsyncClient(
            base_url=url,
            headers=[(b"Authorization", f"Bearer {token.strip()}".encode())] if token else [],
            timeout=httpx.Timeout(timeout_s, read=timeout_s + _POLL_S),
        )

    async def get(self) -> VirtualDecision:
        return _decision((await self._request("GET", "/api/v1/decision")).json())

    async def wait(self) -> VirtualDecision:
        while True:
            response = await self._request("GET", "/api/v1/decision/wait", params={"timeout": _POLL_S})
            if response.status_code != 204:
                return _decision(response.json())

    async def complete(self, decision_id: int) -> None:
        await self._request("POST", f"/api/v1/decision/{decision_id}/complete")

    async def report(self, prefill: Workers | None, decode: Workers | None) -> None:
        pools = {"prefill": prefill, "decode": decode}
        if body := {name: asdict(workers) for name, workers in pools.items() if workers is not None}:
            await self._request("PUT", "/api/v1/workers", json=body)

    async def close(self) -> None:
        await self._http.aclose()

    async def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request until it is answered; every one of them may be sent twice.

        Raises:
            VirtualClientError: The planner refused it.
        """
        import httpx  # noqa: PLC0415
        from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential  # noqa: PLC0415

        transient = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError)
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((*transient, _UnavailableError)),
            wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_PAUSE_S),
            reraise=True,
        ):
            with attempt:
                try:
                    response = await self._http.request(method, path, **arguments)
                except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
                    raise VirtualClientError(f"{self._http.base_url}: {error}") from error
                if response.status_code in (429, 502, 503, 504):
                    raise _UnavailableError
        if response.is_error:
            raise VirtualClientError(_problem(response))
        return response


class _UnavailableError(Exception):
    """The planner, or what stands before it, cannot answer for the moment."""


def _decision(body: dict[str, Any]) -> VirtualDecision:
    return VirtualDecision(body["num_prefill_workers"], body["num_decode_workers"], body["decision_id"])


def _problem(response: httpx.Response) -> str:
    try:
        detail = response.json().get("detail", "")
    except (ValueError, AttributeError):
        detail = ""
    return f"{response.request.method} {response.request.url.path}: HTTP {response.status_code} {detail}".rstrip()
