"""Requests to an API server: JSON in and out, every one with a time limit, repeated where that does no harm."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from connectors.base import ConnectorError
from connectors.election import Fence, FencedError
from connectors.kubernetes.access import Access, Credentials, sign_in
from connectors.kubernetes.errors import (
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    KubernetesError,
    NotFoundError,
    UnreachableError,
)
from connectors.kubernetes.resources import DYNAMO_VERSIONS, Resource

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from kubernetes_asyncio.client import ApiClient

FIELD_MANAGER: Final = "sla-planner"
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"

_REDIRECTION, _UNAUTHORIZED, _TOO_MANY_REQUESTS, _SERVER_ERROR = 300, 401, 429, 500
_KINDS: Mapping[int, type[KubernetesError]] = {
    400: InvalidError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    422: InvalidError,
}
_ATTEMPTS = 5
# No more attempts after so many times the limit of one: who waits has other things to do.
_PATIENCE = 2
_BACKOFF = wait_random_exponential(multiplier=0.2, max=5.0)
# A server that asks for more patience than this is asked again all the same, seconds.
_LONGEST_ASKED_S = 60.0

Object = dict[str, Any]


class _AgainError(Exception):
    """A request that may be made again; after so many seconds if the server said so."""

    def __init__(self, message: str, wait_s: float | None = None, *, was_processed: bool = True) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        self.was_processed = was_processed


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, and what its answers mean."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Object | list[Object] | None = None
    content_type: str = JSON
    repeatable: bool = True

    def may_be_repeated_after(self, error: BaseException) -> bool:
        """Whether doing it again does no harm."""
        return isinstance(error, _AgainError) and (self.repeatable or not error.was_processed)

    def answer(self, status: int, retry_after: str | None, content: bytes) -> Object:
        """The object that was asked for, or the error that came instead."""
        if status == _TOO_MANY_REQUESTS:
            raise _AgainError("the server is busy (429)", _seconds(retry_after), was_processed=False)
        if status >= _SERVER_ERROR:
            raise _AgainError(_complaint(status, content), _seconds(retry_after))
        if status >= _REDIRECTION:
            raise self.error(status, content)
        try:
            found: Object = json.loads(content) if content else {}
        except ValueError as error:
            raise _AgainError(f"an answer that is no JSON: {content[:100]!r}") from error
        return found

    def error(self, status: int, content: bytes) -> KubernetesError:
        """What a status from 300 on means."""
        kind = _KINDS.get(status, UnreachableError if status >= _SERVER_ERROR else KubernetesError)
        return kind(f"{self.method} {self.path}: {_complaint(status, content)}")

    def event(self, line: bytes) -> Object:
        """An event of a watch."""
        try:
            event: Object = json.loads(line)
        except ValueError as error:
            raise UnreachableError(f"watching {self.path}: an event that is no JSON: {line[:100]!r}") from error
        if event.get("type") == "ERROR":
            status = event.get("object") or {}
            raise self.error(int(status.get("code") or 0), json.dumps(status).encode())
        return event


@dataclass(frozen=True, slots=True)
class _Session:
    """What a start makes: who we are, and connections."""

    credentials: Credentials
    client: ApiClient


class KubernetesApi:
    """Talks to one API server.

    Reads, deletions, and writes that give the same result when they are made twice are repeated with growing waits when
    the server is busy (429, after ``Retry-After``), fails (5xx), or the connection breaks. What is not repeatable is
    repeated only when the server refused it without doing anything.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout_s: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        fence: Fence | None = None,
    ) -> None:
        """Prepare; nothing is loaded or connected before ``start``.

        Args:
            access: Where the credentials are.
            timeout_s: Longest time one request may take, each repetition anew.
            sleep: Waits for so many seconds.
            fence: Asked right before every change that comes with no fence of its own.
        """
        self._access = access
        self._fence = fence
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._session: _Session | None = None

    async def start(self) -> None:
        """Load the credentials; may be called again.

        Raises:
            ConnectorError: There are none, or they cannot be used.
        """
        if self._session is not None:
            return
        from kubernetes_asyncio.client import ApiClient  # noqa: PLC0415 - half a second that other modes save

        credentials = await sign_in(self._access)
        client = ApiClient(credentials.configuration)
        client.user_agent = FIELD_MANAGER
        self._session = _Session(credentials, client)

    async def close(self) -> None:
        """Close all connections; may be called without ``start``."""
        if self._session is not None:
            await self._session.client.close()
            self._session = None

    @property
    def credentials(self) -> Credentials:
        """What was found at the start."""
        return self._started.credentials

    @property
    def _started(self) -> _Session:
        if self._session is None:
            raise ConnectorError("the client of the Kubernetes API has not been started")
        return self._session

    async def served(self, resource: Resource) -> Resource | None:
        """The resource in the newest version that the server has it in; None if it has none."""
        for version in DYNAMO_VERSIONS:
            if await self.serves(candidate := resource.at(version)):
                return candidate
        return None

    async def serves(self, resource: Resource) -> bool:
        """Whether the server has a resource in the version that it names."""
        try:
            found = await self.get_path(resource.group_path)
        except NotFoundError:
            return False
        return any(one.get("name") == resource.plural for one in found.get("resources") or ())

    async def get(self, resource: Resource, namespace: str, name: str, subresource: str = "") -> Object:
        """An object or a subresource of it.

        Raises:
            NotFoundError, ForbiddenError, UnreachableError: As they say.
        """
        return await self.get_path(resource.path(namespace, name, subresource))

    async def get_path(self, path: str, *, timeout_s: float | None = None) -> Object:
        """Whatever is at an address; with a time limit it is asked for once. Raises as ``get``."""
        return await self._carry_out(_Call("GET", path), timeout_s=timeout_s)

    async def list_all(
        self, resource: Resource, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> tuple[list[Object], str]:
        """The objects that match selectors, and the version to watch on from; raises as ``get``."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        found = await self._carry_out(_Call("GET", resource.path(namespace), query))
        return found.get("items") or [], str((found.get("metadata") or {}).get("resourceVersion") or "")

    async def create(self, resource: Resource, namespace: str, body: Object, **options: Any) -> Object:
        """Make an object; not repeated when it is unclear whether it was made.

        Raises:
            ConflictError: There is one of that name.
            InvalidError, ForbiddenError, NotFoundError, UnreachableError: As they say.
        """
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return await self._write("POST", resource.path(namespace), body, repeatable=False, **options)

    async def replace(
        self, resource: Resource, namespace: str, name: str, body: Object, *, subresource: str = "", **options: Any
    ) -> Object:
        """Store an object over the state its ``resourceVersion`` names.

        Raises:
            ConflictError: It is no longer in that state.
            InvalidError, ForbiddenError, NotFoundError, UnreachableError: As they say.
        """
        path = resource.path(namespace, name, subresource)
        return await self._write("PUT", path, body, repeatable=False, **options)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Object | list[Object],
        subresource: str = "",
        **options: Any,
    ) -> Object:
        """Change an object: a merge patch if ``body`` is a mapping, a JSON patch if it is a list.

        It is repeated when its fate is unclear, so it must say what shall be, not by how much to change it.

        Raises:
            ConflictError, InvalidError, ForbiddenError, NotFoundError, UnreachableError: As they say.
        """
        path = resource.path(namespace, name, subresource)
        kind = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
        return await self._write("PATCH", path, body, content_type=kind, repeatable=True, **options)

    async def delete(self, resource: Resource, namespace: str, name: str, *, propagation: str = "Background") -> None:
        """Delete an object; one that is gone already is no error.

        Raises:
            ForbiddenError, UnreachableError: As they say.
        """
        try:
            query = {"propagationPolicy": propagation}
            await self._carry_out(_Call("DELETE", resource.path(namespace, name), query), self._fence)
        except NotFoundError:
            return

    async def allowed(self, attributes: Object) -> bool:
        """Whether the planner itself may do something.

        Args:
            attributes: ``resourceAttributes`` of a SelfSubjectAccessReview.
        """
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        # It is made to be answered and not kept, so that it may be repeated.
        call = _Call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
        return bool(((await self._carry_out(call)).get("status") or {}).get("allowed"))

    async def watch(
        self,
        resource: Resource,
        namespace: str | None,
        version: str,
        *,
        labels: str = "",
        fields: str = "",
        for_s: float = 60.0,
    ) -> AsyncGenerator[Object, None]:
        """Changes since a version, as events of ``type`` and ``object``, for so many seconds at most.

        Raises:
            ExpiredError: The version is too old.
            ForbiddenError, NotFoundError, UnreachableError: As they say.
        """
        import aiohttp  # noqa: PLC0415 - comes with the client

        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, round(for_s))),
            "labelSelector": labels,
            "fieldSelector": fields,
        }
        call = _Call("GET", resource.path(namespace), query)
        try:
            response = await self._send(call, for_s + self._timeout_s)
            with contextlib.closing(response):
                if response.status >= _REDIRECTION:
                    raise call.error(response.status, await response.read())
                async for line in _lines(response):
                    yield call.event(line)
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            raise UnreachableError(f"watching {call.path}: {_text(error)}") from error

    async def _write(
        self,
        method: str,
        path: str,
        body: Object | list[Object],
        *,
        repeatable: bool,
        content_type: str = JSON,
        fence: Fence | None = None,
        timeout_s: float | None = None,
    ) -> Object:
        call = _Call(method, path, {"fieldManager": FIELD_MANAGER}, body, content_type, repeatable)
        return await self._carry_out(call, fence or self._fence, timeout_s)

    async def _carry_out(self, call: _Call, fence: Fence | None = None, timeout_s: float | None = None) -> Object:
        """Make a call, repeated as it allows; with a time limit of the caller's own it is made once."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS if timeout_s is None else 1)
            | stop_after_delay(_PATIENCE * self._timeout_s),
            retry=retry_if_exception(call.may_be_repeated_after),
            wait=_wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    limit_s = timeout_s or self._timeout_s
                    return await self._attempt(call, limit_s if fence is None else min(limit_s, _within(fence)))
        except _AgainError as error:
            raise UnreachableError(f"{call.method} {call.path}: {error}") from error
        raise AssertionError("unreachable")

    async def _attempt(self, call: _Call, limit_s: float) -> Object:
        import aiohttp  # noqa: PLC0415 - comes with the client

        try:
            async with asyncio.timeout(limit_s):
                response = await self._send(call, limit_s)
                async with response:
                    content = await response.read()
        except TimeoutError as error:
            raise _AgainError(f"no answer within {limit_s:.1f} s") from error
        except aiohttp.ClientConnectorError as error:
            raise _AgainError(_text(error), was_processed=False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _AgainError(_text(error)) from error
        return call.answer(response.status, response.headers.get("Retry-After"), content)

    async def _send(self, call: _Call, limit_s: float) -> ClientResponse:
        """Send a request; a token that is refused is read anew, once."""
        response = await self._send_once(call, limit_s)
        if response.status == _UNAUTHORIZED:
            response.release()
            await asyncio.to_thread(self.credentials.renew)
            response = await self._send_once(call, limit_s)
        return response

    async def _send_once(self, call: _Call, limit_s: float) -> ClientResponse:
        response: ClientResponse = await self._started.client.call_api(
            call.path,
            call.method,
            query_params=[(key, value) for key, value in call.query.items() if value],
            header_params={"Accept": JSON, "Content-Type": call.content_type},
            body=call.body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=limit_s,
        )
        return response


def _within(fence: Fence) -> float:
    within_s = fence.write_within_s
    if within_s <= 0:
        raise FencedError("another planner leads, or may soon: nothing is changed")
    return within_s


def _wait(state: RetryCallState) -> float:
    """Seconds until the next attempt: as long as the server asks for, or else longer each time."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.wait_s if isinstance(error, _AgainError) else None
    return _BACKOFF(state) if asked_s is None else asked_s


def _seconds(value: str | None) -> float | None:
    return min(float(value), _LONGEST_ASKED_S) if value is not None and value.isdecimal() else None


def _complaint(status: int, content: bytes) -> str:
    """What the server says is wrong: the message of a Status object, or plain text."""
    try:
        message = json.loads(content)["message"]
    except (ValueError, KeyError, TypeError):
        message = content[:200].decode("utf-8", "replace").strip()
    return f"{message} ({status})" if message else f"status {status}"


async def _lines(response: ClientResponse) -> AsyncIterator[bytes]:
    """The lines of a stream, however long: objects may be larger than what a line reader accepts."""
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
