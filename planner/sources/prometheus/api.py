"""Prometheus' HTTP API: queries in, instant vectors out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from planner.sources.base import without_password
from planner.sources.prometheus.credentials import Credentials, TokenError
from planner.sources.selection import Labels


class QueryError(Exception):
    """A query that got no usable answer; the message says why, without secrets."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an instant vector."""

    labels: Labels
    value: float


class PrometheusApi:
    """One server; connections are made when they are needed.

    Attributes:
        shown: Its URL as it may be shown.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0, credentials: Credentials | None = None) -> None:
        """Prepare; nothing is asked yet.

        Args:
            url: Base URL of the server, with any path prefix.
            timeout_s: Longest time a query may take, seconds.
            credentials: How to get in.

        Raises:
            SourceError: The CA file cannot be used.
        """
        self._url = url.rstrip("/")
        self.shown = without_password(self._url)
        self._timeout_s = timeout_s
        self._credentials = credentials or Credentials()
        self._tls = self._credentials.tls()
        self._client: httpx.AsyncClient | None = None

    async def query(self, query: str, time: float) -> Sequence[Sample]:
        """The instant vector that a query gives at a time.

        Args:
            query: PromQL.
            time: Seconds since the epoch.

        Raises:
            QueryError: There is no usable answer.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._connected().post(
                    f"{self._url}/api/v1/query", data={"query": query, "time": f"{time:.3f}"}
                )
        except TimeoutError:
            raise QueryError(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise QueryError(f"{type(error).__name__}: {error}") from error
        except TokenError as error:
            raise QueryError(str(error)) from error
        return _vector(response)

    async def value(self, query: str, time: float) -> float | None:
        """The sum over what a query gives at a time; None if that is nothing.

        Raises:
            QueryError: There is no usable answer.
        """
        values = [sample.value for sample in await self.query(query, time) if math.isfinite(sample.value)]
        return sum(values) if values else None

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            # One more try for a connection that the server closed while it was idle.
            transport = httpx.AsyncHTTPTransport(verify=self._tls, retries=1)
            self._client = httpx.AsyncClient(
                transport=transport, auth=self._credentials.auth(), timeout=httpx.Timeout(self._timeout_s)
            )
        return self._client


def _no_prometheus(response: httpx.Response) -> str:
    """What is said of an answer that is not of Prometheus but of something before it, such as a page to log in."""
    status = f"HTTP {response.status_code} {response.reason_phrase}".rstrip()
    if response.has_redirect_location:
        return f"{status}, to {without_password(response.headers['Location'].partition('?')[0])}"
    return f"{status}, with a body that is no JSON"


def _vector(response: httpx.Response) -> Sequence[Sample]:
    """The samples of an answer.

    Raises:
        QueryError: It is an error, or no instant vector.
    """
    try:
        content = response.json()
    except ValueError:
        raise QueryError(_no_prometheus(response)) from None
    if response.is_error or not isinstance(content, dict) or content.get("status") != "success":
        detail = content.get("error", "") if isinstance(content, dict) else ""
        raise QueryError(f"HTTP {response.status_code}: {detail or 'no success'}")
    try:
        return [Sample(labels=dict(one["metric"]), value=float(one["value"][1])) for one in content["data"]["result"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise QueryError(f"the answer is no instant vector: {error!r}") from error
