"""Measuring one point of a profile at a running engine."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from profiles.making.client import EngineClient
from profiles.making.confidence import Mean, mean_of
from profiles.making.endpoint import EndpointError
from profiles.making.prompts import Prompts
from profiles.making.reply import Reply

_SEGMENTS = 5
_ATTEMPTS = 4
# Share of a core above which the client, not the engine, may set the pace.
_BUSY = 0.85


class LimitError(EndpointError):
    """The engine does not run so many sequences at once.

    Attributes:
        at_once: Sequences that it did run at once.
    """

    def __init__(self, message: str, at_once: int) -> None:
        super().__init__(message)
        self.at_once = at_once


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """When a point is measured well enough.

    Attributes:
        wanted: Half the width of the 95 % confidence interval over the mean.
        least: Measurements to make whatever the interval.
        most: Measurements after which the point is taken as it is.
    """

    wanted: float = 0.03
    least: int = 3
    most: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillResult:
    """A measured TTFT.

    Attributes:
        isl: Tokens of the prompts, by the server's count, on average.
        ttft_ms: Mean, with its confidence, milliseconds.
        repeats: Measurements made.
    """

    isl: float
    ttft_ms: Mean
    repeats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeResult:
    """A measured ITL.

    Attributes:
        concurrency: Sequences that decoded together.
        context_length: Mean context length while they did, tokens, by the server's count.
        itl_ms: Mean, with its confidence, milliseconds.
        repeats: Runs made.
        note: What may be wrong with it; empty if nothing.
    """

    concurrency: int
    context_length: float
    itl_ms: Mean
    repeats: int
    note: str = ""


async def measure_prefill(client: EngineClient, prompts: Prompts, isl: int, precision: Precision) -> PrefillResult:
    """Measure TTFT of an idle engine: one request at a time, each with a new prompt, a single token of output.

    Raises:
        EndpointError: The server does not give what is needed.
    """
    await client.ask(prompts.of(isl), 1)
    lengths, latencies = list[int](), list[float]()
    while True:
        reply = await client.ask(prompts.of(isl), 1)
        prompts.check(isl, reply.prompt_tokens)
        lengths.append(reply.prompt_tokens)
        latencies.append(reply.ttft_s * 1000)
        mean = mean_of(latencies)
        enough = len(latencies) >= precision.least and mean.relative <= precision.wanted
        if enough or len(latencies) >= precision.most:
            return PrefillResult(isl=sum(lengths) / len(lengths), ttft_ms=mean, repeats=len(latencies))


@dataclass(slots=True)
class DecodeSweep:
    """Measures ITL at one engine, and learns on the way how far apart sequences begin.

    Attributes:
        client: The engine.
        prompts: Where prompts come from.
        precision: When a point is measured well enough.
        steps: Tokens that all sequences decode together in one run.
        cpu_s: CPU time that this process has used, seconds.
    """

    client: EngineClient
    prompts: Prompts
    precision: Precision
    steps: int = 64
    cpu_s: Callable[[], float] = time.process_time
    _stagger_per_token: float = field(default=0.0, init=False)

    async def measure(self, concurrency: int, context_length: int) -> DecodeResult:
        """Measure ITL of so many sequences that decode together, around a mean context length.

        All are sent at once. Only the time counts in which every one of them decodes: from the second token of the last
        to the last token of the first. The engine may begin them one after the other, so each asks for more tokens
        than are measured; how many more is learnt from how far apart they begin.

        Raises:
            LimitError: The engine does not run so many at once.
            EndpointError: The server does not give what is needed.
        """
        segments, contexts, notes = list[float](), list[float](), list[str]()
        for run in range(1, self.precision.most + 1):
            window = await self._together(concurrency, context_length)
            segments += window.segments_ms
            contexts.append(window.context_length)
            notes += [window.note] if window.note else []
            mean = mean_of(segments)
            if mean.relative <= self.precision.wanted or run == self.precision.most:
                return DecodeResult(
                    concurrency=concurrency,
                    context_length=sum(contexts) / len(contexts),
                    itl_ms=mean,
                    repeats=run,
                    note=notes[0] if notes else "",
                )
        raise AssertionError("a precision allows one run at least")

    async def _together(self, concurrency: int, context_length: int) -> _Window:
        stagger = math.ceil(4 + self._stagger_per_token * concurrency * context_length)
        at_once = 0
        for _ in range(_ATTEMPTS):
            isl = context_length - stagger - self.steps // 2
            if isl < 1:
                break
            before_s = self.cpu_s()
            replies = await self._send(concurrency, isl, stagger + self.steps)
            cpu_s = self.cpu_s() - before_s
            # With its second piece the last one to begin is in step with the others, its prefill behind them all.
            start = max(reply.times[min(1, len(reply.times) - 1)] for reply in replies)
            end = min(reply.times[-1] for reply in replies)
            apart = max(_tokens_at(reply, start) for reply in replies)
            if min(_tokens_at(reply, end) - _tokens_at(reply, start) for reply in replies) >= self.steps / 2:
                learnt = 1.1 * apart / (concurrency * context_length)
                self._stagger_per_token = max(self._stagger_per_token / 2, learnt)
                span_s = max(reply.times[-1] for reply in replies) - min(reply.sent for reply in replies)
                return _window(replies, start, end, busy=cpu_s > _BUSY * span_s)
            if at_once == (at_once := _most_at_once(replies)) < concurrency:
                raise LimitError(f"the engine ran at most {at_once} of {concurrency} sequences at once", at_once)
            # Those that had ended when the last began tell only that it was too little.
            stagger = math.ceil(2 * max(stagger, apart) if end <= start else 1.25 * apart + 8)
        raise EndpointError(
            f"{concurrency} sequences begin about {stagger} tokens apart: too far to decode {self.steps} tokens "
            f"together around a context of {context_length}"
        )

    async def _send(self, concurrency: int, isl: int, max_tokens: int) -> list[Reply]:
        requests = [
            asyncio.ensure_future(self.client.ask(self.prompts.of(isl), max_tokens)) for _ in range(concurrency)
        ]
        try:
            replies = await asyncio.gather(*requests)
        finally:
            for request in requests:
                request.cancel()
            await asyncio.gather(*requests, return_exceptions=True)
        for reply in replies:
            self.prompts.check(isl, reply.prompt_tokens)
        return replies


@dataclass(frozen=True, slots=True)
class _Window:
    """What was seen while all sequences decoded."""

    segments_ms: Sequence[float]
    context_length: float
    note: str


def _window(replies: Sequence[Reply], start: float, end: float, *, busy: bool) -> _Window:
    """The ITL in each segment of a window; neighbouring tokens are too alike to count one by one."""
    bounds = [start + (end - start) * index / _SEGMENTS for index in range(_SEGMENTS + 1)]
    segments = []
    for low, high in itertools.pairwise(bounds):
        tokens = sum(_tokens_at(reply, high) - _tokens_at(reply, low) for reply in replies)
        segments.append((high - low) * 1000 * len(replies) / tokens)
    middle = (start + end) / 2
    contexts = [reply.prompt_tokens + _tokens_at(reply, middle) for reply in replies]
    note = "this client used a core to the full: it may have set the pace" if busy else ""
    return _Window(segments, sum(contexts) / len(contexts), note)


def _tokens_at(reply: Reply, moment: float) -> float:
    """Tokens of an answer at a moment, between two pieces in proportion."""
    index = bisect.bisect_right(reply.times, moment)
    if index == 0:
        return 0.0
    if index == len(reply.times):
        return reply.tokens[-1]
    before, after = reply.times[index - 1], reply.times[index]
    share = (moment - before) / (after - before)
    return reply.tokens[index - 1] + share * (reply.tokens[index] - reply.tokens[index - 1])


def _most_at_once(replies: Sequence[Reply]) -> int:
    changes = sorted(
        [(reply.times[0], 1) for reply in replies] + [(reply.times[-1], -1) for reply in replies],
        key=lambda change: change[0],
    )
    return max(itertools.accumulate(step for _, step in changes), default=0)
