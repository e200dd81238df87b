"""A client of an OpenAI-compatible server: it asks for streamed completions, and notes when they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from profiles.making.endpoint import EXCERPT, Endpoint, EndpointError, RefusedError
from profiles.making.reply import Reply, understand

# Fields that make engines produce all the tokens asked for and count them in every chunk. Not every server knows them:
# the first set that it takes is used.
_EXTRAS: tuple[Mapping[str, Any], ...] = (
    {"ignore_eos": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    {"ignore_eos": True, "stream_options": {"include_usage": True}},
    {"stream_options": {"include_usage": True}},
)


class EngineClient:
    """Sends requests to one endpoint; use it as an asynchronous context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.model = endpoint.model or ""
        self.max_model_tokens: int | None = None
        self._extras = _EXTRAS[0]
        self._tls = httpx.create_ssl_context()
        # A client for each request under way: one pool of hundreds of connections takes longer to manage than to use.
        self._idle: list[httpx.AsyncClient] = []
        self._all: list[httpx.AsyncClient] = []

    async def __aenter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        for client in self._all:
            await client.aclose()

    @contextmanager
    def _client(self) -> Iterator[httpx.AsyncClient]:
        """A client that nobody uses meanwhile."""
        client = self._idle.pop() if self._idle else self._new_client()
        try:
            yield client
        finally:
            self._idle.append(client)

    def _new_client(self) -> httpx.AsyncClient:
        key = self.endpoint.api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        client = httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(self.endpoint.timeout_s), verify=self._tls)
        self._all.append(client)
        return client

    async def find_model(self) -> None:
        """Learn what the server calls its model, and how long its contexts may be.

        Raises:
            EndpointError: It does not answer, or serves several models and none of them is named.
        """
        listed = await self._models()
        names = [str(entry.get("id")) for entry in listed]
        if not self.model:
            if len(names) != 1:
                raise EndpointError(
                    f"{self.endpoint.shown} serves {len(names)} models; name one with --model: {', '.join(names)}"
                )
            self.model = names[0]
        elif names and self.model not in names:
            raise EndpointError(f"{self.endpoint.shown} does not serve {self.model!r}; it has {', '.join(names)}")
        for entry in listed:
            longest = entry.get("max_model_len")
            if entry.get("id") == self.model and isinstance(longest, int):
                self.max_model_tokens = longest

    async def _models(self) -> list[dict[str, Any]]:
        try:
            content = json.loads(await self.page("/v1/models"))
            return [entry for entry in content["data"] if isinstance(entry, dict)]
        except (ValueError, KeyError, TypeError) as error:
            raise EndpointError(f"{self.endpoint.shown}/v1/models is no list of models: {error!r}") from error

    async def page(self, path: str) -> str:
        """The text of a page of the server.

        Raises:
            EndpointError: There is none.
        """
        shown = self.endpoint.shown + path
        try:
            with self._client() as client:
                response = await client.get(self.endpoint.root + path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EndpointError(f"{shown}: {_describe(error)}") from error
        if response.is_error:
            raise EndpointError(f"{shown}: HTTP {response.status_code}: {response.text[:EXCERPT]}")
        return response.text

    async def probe(self, prompt: str) -> Reply:
        """Ask for four tokens, and find out which fields the server takes.

        Raises:
            EndpointError: It takes none, or its answer cannot be measured.
        """
        refusals: list[RefusedError] = []
        for extras in _EXTRAS:
            self._extras = extras
            try:
                return await self.ask(prompt, 4)
            except RefusedError as error:
                refusals.append(error)
        raise refusals[0]

    async def ask(self, prompt: str, max_tokens: int) -> Reply:
        """Send a prompt and read the answer to its end.

        Args:
            prompt: The prompt.
            max_tokens: Tokens to ask for.

        Raises:
            EndpointError: There is no whole answer, or its tokens were not counted properly.
        """
        asked: dict[str, Any] = (
            {"prompt": prompt}
            if self.endpoint.api == "completions"
            else {"messages": [{"role": "user", "content": prompt}]}
        )
        body = {
            "model": self.model,
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "stream": True,
            **asked,
            **self._extras,
        }
        if body.get("ignore_eos"):
            body["min_tokens"] = max_tokens
        path = "/v1/completions" if self.endpoint.api == "completions" else "/v1/chat/completions"
        pieces: list[tuple[float, bytes]] = []
        sent = asyncio.get_running_loop().time()
        try:
            with self._client() as client:
                await self._read(client, self.endpoint.root + path, body, pieces)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EndpointError(_interrupted(error, len(pieces), self.endpoint.timeout_s)) from error
        return understand(sent, pieces, max_tokens)

    async def _read(
        self, client: httpx.AsyncClient, url: str, body: Mapping[str, Any], pieces: list[tuple[float, bytes]]
    ) -> None:
        """Note when which piece of an answer came; they are understood when the stream has ended."""
        now = asyncio.get_running_loop().time
        async with client.stream("POST", url, json=body) as response:
            if response.is_error:
                detail = (await response.aread()).decode(errors="replace")[:EXCERPT]
                kind = RefusedError if response.status_code in {400, 422} else EndpointError
                raise kind(f"HTTP {response.status_code}: {detail}")
            async for piece in response.aiter_raw():
                pieces.append((now(), piece))  # noqa: PERF401 - what came before an error counts


def _interrupted(error: Exception, pieces: int, timeout_s: float) -> str:
    if isinstance(error, httpx.ReadTimeout):
        return f"nothing came for {timeout_s:g} s after {pieces} pieces of the stream"
    return f"{_describe(error)} after {pieces} pieces of the stream" if pieces else _describe(error)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
