"""Measuring a profile at running engines."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from profiles.making.client import EngineClient
from profiles.making.endpoint import EndpointError
from profiles.making.journal import Journal
from profiles.making.limits import EngineLimits, ToldLimits, read_limits
from profiles.making.measurement import Failure, Measurement, data_of, unsure
from profiles.making.plan import Plan, Point
from profiles.making.progress import MakingError, OnProgress, Progress, silent
from profiles.making.prompts import Prompts
from profiles.making.request import MeasureRequest
from profiles.making.sweep import DecodeResult, DecodeSweep, LimitError, PrefillResult, measure_prefill

JOURNAL = "measurement.jsonl"

# Failures in a row after which the server is taken to be gone.
_GIVE_UP = 3
_TIME_PASSED = "the time limit passed before every point was measured"


async def measure(
    request: MeasureRequest,
    folder: Path,
    *,
    on_progress: OnProgress = silent,
    seed: str | None = None,
    cpu_s: Callable[[], float] = time.process_time,
) -> Measurement:
    """Measure a profile; points that the folder's journal has already are not measured again.

    Args:
        request: What to measure.
        folder: Folder of the journal.
        on_progress: Told before and after each point.
        seed: Makes the same prompts again, for tests; engines would answer them from their prefix caches.
        cpu_s: CPU time that this process has used, seconds: where it is short, the client may have set the pace.

    Raises:
        MakingError: The engines cannot be measured at all, or the journal is of another measurement.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            prefill, decode = await _connect(stack, request)
            limits = await _limits(decode, request)
            plan = Plan.of(request, limits, prefill.max_model_tokens, decode.max_model_tokens)
            journal = Journal(folder / JOURNAL, plan.described(request, prefill.model, decode.model))
            stack.callback(journal.close)
            prompts = {client: Prompts(seed) for client in {prefill, decode}}
            for client, source in prompts.items():
                await source.calibrate(client)
        except EndpointError as error:
            raise MakingError(f"the engine cannot be measured: {error}") from error
        sweep = DecodeSweep(decode, prompts[decode], request.precision, steps=request.steps, cpu_s=cpu_s)
        work = _Work(request, plan, journal, on_progress)
        await work.run(
            lambda point: measure_prefill(prefill, prompts[prefill], point.context_length, request.precision),
            lambda point: sweep.measure(point.batch, point.context_length),
        )
    return work.result(limits, decode.model)


async def _connect(stack: contextlib.AsyncExitStack, request: MeasureRequest) -> tuple[EngineClient, EngineClient]:
    prefill = await stack.enter_async_context(EngineClient(request.prefill))
    await prefill.find_model()
    if request.decode == request.prefill:
        return prefill, prefill
    decode = await stack.enter_async_context(EngineClient(request.decode))
    await decode.find_model()
    return prefill, decode


async def _limits(decode: EngineClient, request: MeasureRequest) -> EngineLimits:
    told = ToldLimits()
    with contextlib.suppress(EndpointError):
        told = read_limits(await decode.page("/metrics"))
    max_kv_tokens = request.max_kv_tokens or told.max_kv_tokens
    if max_kv_tokens is None:
        raise MakingError(
            f"{decode.endpoint.shown}/metrics does not tell how many tokens the KV cache holds: give --max-kv-tokens "
            "(vLLM logs it at start as 'GPU KV cache size')"
        )
    return EngineLimits(
        max_kv_tokens=max_kv_tokens,
        max_num_seqs=request.decode_engine.max_num_seqs or told.max_num_seqs,
        block_size=told.block_size,
    )


class _Work:
    """Goes through a plan."""

    def __init__(self, request: MeasureRequest, plan: Plan, journal: Journal, on_progress: OnProgress) -> None:
        self._request, self._plan, self._journal, self._on_progress = request, plan, journal, on_progress
        self._failures: dict[Point, Failure] = {}
        self._notes: list[str] = []
        self._begun = asyncio.get_running_loop().time()
        self._limit: int | None = None
        self._in_a_row = 0
        self._costs = {"prefill": (0.0, 0.0), "decode": (0.0, 0.0)}
        self._done = {Point(*entry["at"]) for entry in journal.entries}

    async def run(
        self,
        prefill: Callable[[Point], Awaitable[PrefillResult]],
        decode: Callable[[Point], Awaitable[DecodeResult]],
    ) -> None:
        """Measure what the journal does not have, until the time limit or until the server seems to be gone."""
        for point in self._to_do(self._plan.prefill):
            await self._measure(point, prefill)
        self._in_a_row = 0
        for point in self._to_do(self._plan.decode):
            if self._limit is not None and point.batch > self._limit:
                self._fail(point, f"beyond the {self._limit} sequences that the engine runs at once")
            else:
                await self._measure(point, decode)

    def _to_do(self, points: Sequence[Point]) -> Iterator[Point]:
        for point in points:
            if point in self._done:
                continue
            if (left_s := self._left_s()) is not None and left_s <= 0:
                self._note(_TIME_PASSED)
                return
            if self._in_a_row >= _GIVE_UP:
                self._note(
                    f"given up after {_GIVE_UP} failures in a row; the last: {list(self._failures.values())[-1].reason}"
                )
                return
            yield point

    def _left_s(self) -> float | None:
        limit = self._request.time_limit_s
        return None if limit is None else limit - (asyncio.get_running_loop().time() - self._begun)

    async def _measure(
        self, point: Point, measure_it: Callable[[Point], Awaitable[PrefillResult | DecodeResult]]
    ) -> None:
        clock = asyncio.get_running_loop().time
        self._tell(point)
        begun = clock()
        try:
            async with asyncio.timeout(self._left_s()):
                result = await measure_it(point)
        except TimeoutError:
            self._note(_TIME_PASSED)
            return
        except LimitError as error:
            self._learn_limit(error, point)
            self._fail(point, str(error))
        except EndpointError as error:
            self._in_a_row += 1
            self._fail(point, str(error))
        else:
            self._in_a_row = 0
            self._keep(point, result, clock() - begun)
        self._tell(point)

    def _keep(self, point: Point, result: PrefillResult | DecodeResult, took_s: float) -> None:
        kind = "decode" if point.batch else "prefill"
        at = [point.context_length, point.batch]
        self._journal.add({"kind": kind, "at": at, "seconds": round(took_s, 3), **asdict(result)})
        self._done.add(point)
        if isinstance(result, DecodeResult) and result.note:
            self._note(f"{point}: {result.note}")
        spent_s, weight = self._costs[kind]
        self._costs[kind] = spent_s + took_s, weight + point.weight

    def _learn_limit(self, error: LimitError, point: Point) -> None:
        self._in_a_row = 0
        self._limit = error.at_once
        self._note(
            f"the engine ran at most {error.at_once} sequences at once (context {point.context_length}), fewer than "
            "its KV cache holds: that is recorded as its max_num_seqs"
        )

    def _fail(self, point: Point, reason: str) -> None:
        self._failures[point] = Failure(point=str(point), reason=reason)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _tell(self, point: Point) -> None:
        settled = len(self._done) + len(self._failures)
        self._on_progress(Progress(done=settled, total=len(self._plan), doing=str(point), left_s=self._left_to_do_s()))

    def _left_to_do_s(self) -> float | None:
        """Seconds that the points left take at the pace of those that were measured."""
        expected_s = 0.0
        for kind, points in (("prefill", self._plan.prefill), ("decode", self._plan.decode)):
            left = sum(point.weight for point in points if point not in self._done and point not in self._failures)
            spent_s, weight = self._costs[kind]
            if left and not weight:
                return None
            expected_s += left * spent_s / weight if left else 0.0
        limit_s = self._left_s()
        return expected_s if limit_s is None else min(expected_s, max(0.0, limit_s))

    def result(self, limits: EngineLimits, model: str) -> Measurement:
        """What came of it."""
        entries = self._journal.entries
        known = replace(limits, max_num_seqs=limits.max_num_seqs or self._limit)
        return Measurement(
            data=data_of(entries, self._request, known, model),
            entries=tuple(entries),
            failures=tuple(self._failures.values()),
            missing=len(self._plan) - len(self._done) - len(self._failures),
            notes=(*self._notes, *unsure(entries, self._request.precision)),
        )
