"""A streamed answer: what came when, by the server's own counts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profiles.making.endpoint import EXCERPT, EndpointError


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


def understand(sent: float, pieces: Sequence[tuple[float, bytes]], max_tokens: int) -> Reply:
    """Make an answer of the pieces of a stream of server-sent events.

    Args:
        sent: When the request was sent, seconds.
        pieces: What was read, each with the moment when it came.
        max_tokens: Tokens that were asked for.

    Raises:
        EndpointError: It is none, or its tokens were not counted properly.
    """
    times, counts = list[float](), list[int | None]()
    usage: Mapping[str, Any] | None = None
    for time, event in _events(pieces):
        if "error" in event or event.get("object") == "error":
            raise EndpointError(f"the stream carried an error: {json.dumps(event)[:EXCERPT]}")
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
        raise EndpointError(f"usage has no counts of tokens above 0: {json.dumps(usage)[:EXCERPT]}")
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
        raise EndpointError(f"the stream is no JSON: {data[:EXCERPT].decode(errors='replace')}") from None
    if not isinstance(event, dict):
        raise EndpointError(f"the stream is no completion: {data[:EXCERPT].decode(errors='replace')}")
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
