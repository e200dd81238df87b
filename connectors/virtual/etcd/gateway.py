"""etcd over its own JSON gateway: keys, transactions, leases and watches, on whichever endpoint answers."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectors.base import ConnectorError
from connectors.virtual.store import StoreRefusedError

if TYPE_CHECKING:
    import httpx

_CONNECT_S = 2.0
# gRPC status codes.
_INVALID_ARGUMENT, _DEADLINE, _NOT_FOUND, _EXHAUSTED, _UNAVAILABLE, _UNAUTHENTICATED = 3, 4, 5, 8, 14, 16
_TRANSIENT = {_DEADLINE, _EXHAUSTED, _UNAVAILABLE}


class EtcdError(StoreRefusedError):
    """etcd refused; the message says which endpoint and why. Trying again does not help."""

    code: int = 0


class EtcdUnavailableError(ConnectorError):
    """No endpoint answered, or the cluster has no quorum for the moment; what was asked for may yet have happened."""


class LeaseNotFoundError(ConnectorError):
    """A lease has run out."""


class CompactedError(ConnectorError):
    """The revisions to watch from are gone; what is there must be read anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdAccess:
    """How to reach a cluster.

    Attributes:
        endpoints: Client addresses of its members, such as ``http://10.0.0.5:2379``; any that answers is used.
        username: Name of the etcd user; None where authentication is off.
        password: Password of that user.
        ca_file: Certificates to trust instead of the system's.
        cert_file: Client certificate, where etcd wants one.
        key_file: Key of that certificate, unless it is in the same file.
        timeout_s: Longest time an answer may take, seconds.
    """

    endpoints: Sequence[str] = ("http://127.0.0.1:2379",)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            ValueError: There is no endpoint.
        """
        if not self.endpoints:
            raise ValueError("no etcd endpoint given; expected addresses such as http://127.0.0.1:2379")

    def ssl_context(self) -> ssl.SSLContext | bool:
        """What to verify servers with, and to show them.

        Raises:
            EtcdError: A file cannot be loaded.
        """
        if not any(endpoint.startswith("https:") for endpoint in self.endpoints):
            return True
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            names = [str(name) for name in (self.ca_file, self.cert_file, self.key_file) if name is not None]
            raise EtcdError(f"TLS files of etcd ({', '.join(names)}) cannot be loaded: {error}") from error
        return context


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as etcd keeps it.

    Attributes:
        value: The value, decoded.
        mod_revision: The revision of its last change.
        lease: The lease it is on; 0 for none.
    """

    value: str
    mod_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The keys of a range at a revision."""

    revision: int
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one key; ``entry`` is None when it was deleted."""

    key: str
    revision: int
    entry: Entry | None


class EtcdGateway:
    """Speaks to a cluster through the JSON gateway that every etcd since 3.4 serves beside gRPC."""

    def __init__(self, access: EtcdAccess) -> None:
        """Prepare; nothing is connected before the first call.

        Args:
            access: How to reach the cluster.
        """
        self._access = access
        self._current = 0
        self._http: httpx.AsyncClient | None = None
        self._token: str | None = None
        self._authenticating = asyncio.Lock()

    @property
    def endpoints(self) -> str:
        """Every endpoint, for messages."""
        return ", ".join(self._access.endpoints)

    async def read(self, first: str, end: str) -> Snapshot:
        """The keys from ``first`` up to but without ``end``, as the cluster's majority has them."""
        answer = await self._call("kv/range", {"key": _encode(first), "range_end": _encode(end)})
        pairs = answer.get("kvs", ())
        return Snapshot(_revision(answer), {_decode(pair["key"]): _entry(pair) for pair in pairs})

    async def transact(
        self,
        expected: Mapping[str, int],
        *,
        put: Mapping[str, tuple[str, int]] | None = None,
        delete: Sequence[str] = (),
    ) -> int | None:
        """Write and delete as one step, if every key named is still at the revision expected.

        Args:
            expected: The revision each key was last changed at; 0 for a key that is not there.
            put: Value and lease (0 for none) of each key to write.
            delete: Keys to delete.

        Returns:
            The revision of the change; None if a key was at another revision and nothing was done.

        Raises:
            LeaseNotFoundError: The lease has run out, and nothing was done.
        """
        compare = [
            {"key": _encode(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
            for key, revision in expected.items()
        ]
        steps: list[dict[str, Any]] = [
            {"request_put": {"key": _encode(key), "value": _encode(value), "lease": str(lease)}}
            for key, (value, lease) in (put or {}).items()
        ]
        steps += [{"request_delete_range": {"key": _encode(key)}} for key in delete]
        answer = await self._call("kv/txn", {"compare": compare, "success": steps})
        return _revision(answer) if answer.get("succeeded") else None

    async def grant(self, ttl_s: int) -> int:
        """A new lease that runs out ``ttl_s`` seconds after it was last kept alive."""
        return int((await self._call("lease/grant", {"TTL": str(ttl_s)}))["ID"])

    async def keep_alive(self, lease: int) -> None:
        """Let a lease last its whole time again.

        Raises:
            LeaseNotFoundError: It has run out.
        """
        answer = await self._call("lease/keepalive", {"ID": str(lease)})
        if int(answer.get("result", {}).get("TTL", 0)) <= 0:
            raise LeaseNotFoundError(f"lease {lease} has run out")

    async def version(self) -> str:
        """Version of the member that answers."""
        return str((await self._call("maintenance/status", {})).get("version", "unknown"))

    async def watch(self, first: str, end: str, revision: int, *, idle_s: float) -> AsyncIterator[list[Event]]:
        """The changes of a range since a revision, as they happen; ends after ``idle_s`` seconds without one.

        Ending now and then lets the caller notice a member that is cut off from the others.

        Raises:
            CompactedError: The revision is gone.
            EtcdUnavailableError: The stream broke.
        """
        import httpx  # noqa: PLC0415

        create = {"key": _encode(first), "range_end": _encode(end), "start_revision": str(revision)}
        timeout = httpx.Timeout(self._access.timeout_s, connect=_CONNECT_S, read=idle_s)
        url = self._url("watch")
        try:
            async with self._client().stream(
                "POST", url, json={"create_request": create}, headers=await self._headers(), timeout=timeout
            ) as response:
                if response.is_error:
                    await response.aread()
                    self._refuse(response)
                async for line in response.aiter_lines():
                    if events := _events(line):
                        yield events
            # A member that shuts down ends the stream in good order; so may a proxy, again and again.
            raise EtcdUnavailableError(f"etcd at {url} ended a watch")
        except httpx.ReadTimeout:
            return
        except httpx.TransportError as error:
            self._rotate(url)
            raise EtcdUnavailableError(f"etcd at {url} broke off: {_why(error)}") from error

    async def close(self) -> None:
        """Close the connections; may be called more than once."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask one endpoint after the other until one answers.

        Raises:
            EtcdUnavailableError: None did.
            EtcdError: One did, and refused.
        """
        try:
            return await self._ask_around(path, body, await self._headers())
        except EtcdError as error:
            # Tokens run out, and are void once users or roles change.
            outdated = "auth token" in str(error) or "auth store is old" in str(error)
            if self._token is None or not (error.code == _UNAUTHENTICATED or outdated):
                raise
            self._token = None
        return await self._ask_around(path, body, await self._headers())

    async def _ask_around(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        import httpx  # noqa: PLC0415

        failures = []
        for _ in self._access.endpoints:
            url = self._url(path)
            try:
                response = await self._client().post(url, json=body, headers=headers)
                if response.is_error:
                    self._refuse(response)
                return _document(response.text)
            except (httpx.TransportError, EtcdUnavailableError) as error:
                failures.append(f"{url}: {_why(error)}")
                self._rotate(url)
        raise EtcdUnavailableError(f"etcd does not answer ({'; '.join(failures)})")

    async def _headers(self) -> dict[str, str]:
        if self._access.username is None:
            return {}
        async with self._authenticating:
            if self._token is None:
                body = {"name": self._access.username, "password": self._access.password or ""}
                self._token = str((await self._ask_around("auth/authenticate", body, {}))["token"])
            return {"Authorization": self._token}

    def _client(self) -> httpx.AsyncClient:
        import httpx  # noqa: PLC0415 - nobody else needs it

        if self._http is None:
            self._http = httpx.AsyncClient(
                verify=self._access.ssl_context(),
                timeout=httpx.Timeout(self._access.timeout_s, connect=min(_CONNECT_S, self._access.timeout_s)),
                trust_env=False,
            )
        return self._http

    def _url(self, path: str) -> str:
        endpoint = self._access.endpoints[self._current % len(self._access.endpoints)]
        return f"{endpoint.rstrip('/')}/v3/{path}"

    def _rotate(self, url: str) -> None:
        """Turn to the next endpoint, unless somebody else has turned away from this one already."""
        if url.startswith(self._url("").removesuffix("v3/")):
            self._current = (self._current + 1) % len(self._access.endpoints)

    def _refuse(self, response: httpx.Response) -> None:
        """Raise what an answer that is none amounts to."""
        document = _document(response.text)
        code, message = int(document.get("code", 0)), str(document.get("message") or document.get("error") or "")
        text = f"etcd at {response.request.url}: {message or f'HTTP {response.status_code}'}"
        if code == _NOT_FOUND and "lease" in message:
            raise LeaseNotFoundError(text)
        # "request timed out", "no leader" and the like come as 503 or with a code of their own.
        if code in _TRANSIENT or (not code and response.status_code >= 500):
            raise EtcdUnavailableError(text)
        error = EtcdError(text)
        error.code = code
        raise error


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _events(line: str) -> list[Event]:
    document = _document(line)
    if "error" in document:
        raise EtcdUnavailableError(f"etcd ended a watch: {document['error']}")
    result = document.get("result", {})
    if result.get("canceled"):
        raise CompactedError(str(result.get("cancel_reason") or "the revisions to watch from were compacted"))
    return [
        Event(
            _decode(event["kv"]["key"]),
            int(event["kv"]["mod_revision"]),
            None if event.get("type") == "DELETE" else _entry(event["kv"]),
        )
        for event in result.get("events", ())
    ]


def _entry(pair: Mapping[str, Any]) -> Entry:
    return Entry(_decode(pair.get("value", "")), int(pair["mod_revision"]), int(pair.get("lease", 0)))


def _revision(answer: Mapping[str, Any]) -> int:
    return int(answer.get("header", {}).get("revision", 0))


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def _encode(text: str) -> str:
    return b64encode(text.encode()).decode()


def _decode(text: str) -> str:
    return b64decode(text).decode("utf-8", "replace")
