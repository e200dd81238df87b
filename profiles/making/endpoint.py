"""An OpenAI-compatible server, asked for streamed completions and timed."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

import httpx

Api = Literal["completions", "chat"]

_EXCERPT = 300

# Fields that make engines produce all the tokens asked for and count them in every chunk. Not every server knows them:
# the first set that it takes is used.
_EXTRAS: tuple[Mapping[str, Any], ...] = (
    {"ignore_eos": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    {"ignore_eos": True, "stream_options": {"include_usage": True}},
    {"stream_options": {"include_usage": True}},
)


class EndpointError(Exception):
    """A request that gave nothing to measure; the message says what the server did."""


class RefusedError(EndpointError):
    """A request that the server did not accept as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an engine answers, and how it is asked.

    Attributes:
        url: Base URL, with or without ``/v1``.
        model: Name of the model there; None for the only one.
        api: Whether to use completions or chat completions.
        api_key: Sent as bearer token; not shown.
        timeout_s: Longest wait for the next piece of an answer, seconds.
    """

    url: str
    model: str | None = None
    api: Api = "completions"
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0

    @property
    def root(self) -> str:
        """Base URL without ``/v1``."""
        return self.url.rstrip("/").removesuffix("/v1")

    @property
    def shown(self) -> str:
        """The same without a user and a password: for messages and whatever is written."""
        parts = urlsplit(self.root)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A streamed answer.

    Attributes:
        sent: When the request was sent, seconds.
        times: When each piece with new tokens came, seconds, at least one.
        tokens: Tokens there were after each piece, by the server's own count.
        prompt_tokens: Tokens of the prompt, by the server's own count.
    """

    sent: float
    times: Sequence[float]
    tokens: Sequence[float]
    prompt_tokens: int

    @property
    def ttft_s(self) -> float:
        """Time to the first token, seconds."""
        return self.times[0] - self.sent


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
            raise EndpointError(f"{shown}: HTTP {response.status_code}: {response.text[:_EXCERPT]}")
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
        return _understand(sent, pieces, max_tokens)

    async def _read(
        self, client: httpx.AsyncClient, url: str, body: Mapping[str, Any], pieces: list[tuple[float, bytes]]
    ) -> None:
        """Note when which piece of an answer came; they are understood when the stream has ended."""
        now = asyncio.get_running_loop().time
        async with client.stream("POST", url, json=body) as response:
            if response.is_error:
                detail = (await response.aread()).decode(errors="replace")[:_EXCERPT]
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


def _understand(sent: float, pieces: Sequence[tuple[float, bytes]], max_tokens: int) -> Reply:
    """Make an answer of the pieces of a stream of server-sent events.

    Raises:
        EndpointError: It is none, or its tokens were not counted properly.
    """
    times, counts = list[float](), list[int | None]()
    usage: Mapping[str, Any] | None = None
    for time, event in _events(pieces):
        if "error" in event or event.get("object") == "error":
            raise EndpointError(f"the stream carried an error: {json.dumps(event)[:_EXCERPT]}")
        if isinstance(counted := event.get("usage"), dict):
            usage = counted
        count = counted.get("completion_tokens") if isinstance(counted, dict) and event.get("choices") else None
        # Tokens without text of their own, such as special ones, are told by the running count or the end alone.
        if _text(event) or _grown(count, counts) or (not times and _finished(event)):
            times.append(time)
            counts.append(count)
    if not times:
        raise EndpointError("the stream had no text")
    if usage is None:
        raise EndpointError("the stream had no usage; the server must honour stream_options.include_usage")
    prompt_tokens, completion_tokens = _counts(usage)
    if completion_tokens < len(times):
        raise EndpointError(
            f"usage counts {completion_tokens} tokens of output, the stream had {len(times)} pieces of text: "
            "the server's counts cannot be used"
        )
    if completion_tokens > max_tokens:
        raise EndpointError(f"usage counts {completion_tokens} tokens of output, {max_tokens} were asked for")
    if completion_tokens < max_tokens:
        raise EndpointError(
            f"the answer ended after {completion_tokens} of {max_tokens} tokens: the server does not honour ignore_eos"
        )
    return Reply(sent=sent, times=times, tokens=_running(counts, completion_tokens), prompt_tokens=prompt_tokens)


def _grown(count: Any, counts: Sequence[int | None]) -> bool:
    return isinstance(count, int) and count > ((counts[-1] if counts else 0) or 0)


def _finished(event: Mapping[str, Any]) -> bool:
    choices = event.get("choices")
    return bool(
        isinstance(choices, list) and choices and isinstance(choices[0], dict) and choices[0].get("finish_reason")
    )


def _running(counts: Sequence[int | None], total: int) -> list[float]:
    """Tokens after each piece: as counted in it, or else the total spread evenly over the pieces."""
    known = [count for count in counts if isinstance(count, int)]
    if len(known) == len(counts) and known[-1] == total and all(a < b for a, b in itertools.pairwise(known)):
        return [float(count) for count in known]
    return [total * (index + 1) / len(counts) for index in range(len(counts))]


def _counts(usage: Mapping[str, Any]) -> tuple[int, int]:
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int) or prompt < 1 or completion < 1:
        raise EndpointError(f"usage has no counts of tokens above 0: {json.dumps(usage)[:_EXCERPT]}")
    return prompt, completion


def _events(pieces: Sequence[tuple[float, bytes]]) -> Sequence[tuple[float, Mapping[str, Any]]]:
    events, rest = list[tuple[float, Mapping[str, Any]]](), b""
    for time, piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        events += [(time, event) for line in lines if (event := _event(line.strip())) is not None]
    if rest.strip() and (event := _event(rest.strip())) is not None:
        events.append((pieces[-1][0], event))
    return events


def _event(line: bytes) -> Mapping[str, Any] | None:
    data = line.removeprefix(b"data:").strip()
    if data in {line, b"[DONE]"}:
        return None
    try:
        event = json.loads(data)
    except ValueError:
        raise EndpointError(f"the stream is no JSON: {data[:_EXCERPT].decode(errors='replace')}") from None
    if not isinstance(event, dict):
        raise EndpointError(f"the stream is no completion: {data[:_EXCERPT].decode(errors='replace')}")
    return event


def _text(event: Mapping[str, Any]) -> str:
    choices = event.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return ""
    delta = choices[0].get("delta") or {}
    for text in (choices[0].get("text"), delta.get("content"), delta.get("reasoning_content"), delta.get("reasoning")):
        if isinstance(text, str) and text:
            return text
    return ""
