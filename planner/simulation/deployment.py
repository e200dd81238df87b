"""Disaggregated serving, request by request: prefill and decode pools on a virtual clock."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from planner.core.observation import Workers


class PrefillEngine(Protocol):
    """What a prefill worker can do."""

    def ttft_ms(self, isl: float) -> float:
        """Time to prefill an input, milliseconds."""
        ...


class DecodeEngine(Protocol):
    """What a decode worker can do."""

    @property
    def max_kv_tokens(self) -> int:
        """Tokens that its KV cache holds."""
        ...

    @property
    def max_num_seqs(self) -> int | None:
        """Sequences it runs at once at most; None for as many as the cache holds."""
        ...

    def itl_ms(self, concurrency: float, context_length: float) -> float:
        """Time from one token to the next, milliseconds."""
        ...


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way.

    Attributes:
        arrived: When it arrived, seconds.
        isl: Input sequence length, tokens.
        osl: Output sequence length, tokens.
        first_token: When its first token came, seconds; None before.
        finished: When its last token came, seconds; None before.
    """

    arrived: float
    isl: int
    osl: int
    first_token: float | None = None
    finished: float | None = None

    @property
    def context_length(self) -> float:
        """Its mean context length while it decodes, tokens."""
        return self.isl + self.osl / 2

    @property
    def kv_tokens(self) -> int:
        """Tokens it holds in the KV cache at its end."""
        return self.isl + self.osl

    @property
    def ttft_s(self) -> float:
        """Time to its first token, waiting included, seconds."""
        return (self.first_token or math.nan) - self.arrived

    @property
    def itl_s(self) -> float:
        """Mean time from one of its tokens to the next, waiting for a decode worker included, seconds."""
        if self.osl < 2 or self.finished is None or self.first_token is None:
            return 0.0
        return (self.finished - self.first_token) / (self.osl - 1)


class Watcher(Protocol):
    """Someone who is told what happens to requests."""

    def arrived(self, request: Request) -> None:
        """A request arrived."""
        ...

    def first_token(self, request: Request) -> None:
        """A request got its first token."""
        ...

    def finished(self, request: Request) -> None:
        """A request got its last token."""
        ...


class Agenda:
    """What happens when: a queue of callbacks on a virtual clock."""

    def __init__(self, time: float) -> None:
        self.time = time
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time: float, callback: Callable[[], None]) -> None:
        """Call back at a time; entries of equal time in the order they were made."""
        heapq.heappush(self._entries, (time, next(self._order), callback))

    def advance(self, to: float) -> None:
        """Let time pass."""
        while self._entries and self._entries[0][0] <= to:
            self.time, _, callback = heapq.heappop(self._entries)
            callback()
        self.time = max(self.time, to)


@dataclass(slots=True, eq=False)
class PrefillWorker:
    """A prefill worker: serves one request at a time."""

    ready: bool = False
    leaving: bool = False
    busy: bool = False


class PrefillPool:
    """Prefill workers with one queue, first come, first served."""

    def __init__(
        self, agenda: Agenda, engine: PrefillEngine, startup_s: float, done: Callable[[Request], None]
    ) -> None:
        """Start with no worker.

        Args:
            agenda: The clock.
            engine: What a worker can do.
            startup_s: Time a worker takes to serve, seconds.
            done: Told of every request that has its first token.
        """
        self._agenda = agenda
        self._engine = engine
        self._startup_s = startup_s
        self._done = done
        self._workers: list[PrefillWorker] = []
        self.queue: deque[Request] = deque()

    def submit(self, request: Request) -> None:
        """Queue a request."""
        self.queue.append(request)
        self._dispatch()

    def _dispatch(self) -> None:
        while self.queue:
            free = next((w for w in self._workers if w.ready and not w.busy and not w.leaving), None)
            if free is None:
                return
            self._serve(free, self.queue.popleft())

    def _serve(self, worker: PrefillWorker, request: Request) -> None:
        worker.busy = True

        def end() -> None:
            worker.busy = False
            if worker.leaving:
                self._workers.remove(worker)
            self._done(request)
            self._dispatch()

        self._agenda.at(self._agenda.time + self._engine.ttft_ms(request.isl) / 1000, end)

    def scale(self, target: int, *, startup_s: float | None = None) -> None:
        """Have so many workers: new ones start, surplus ones go, those that do not serve yet first."""
        staying = [worker for worker in self._workers if not worker.leaving]
        for _ in range(target - len(staying)):
            self._start(self._startup_s if startup_s is None else startup_s)
        for worker in sorted(staying, key=lambda worker: (worker.ready, worker.busy))[: max(0, len(staying) - target)]:
            worker.leaving = True
            if not worker.busy:
                self._workers.remove(worker)

    def _start(self, startup_s: float) -> None:
        worker = PrefillWorker()
        self._workers.append(worker)

        def ready() -> None:
            if not worker.leaving:
                worker.ready = True
                self._dispatch()

        self._agenda.at(self._agenda.time + startup_s, ready)

    def workers(self) -> Workers:
        """How many workers there are."""
        staying = [worker for worker in self._workers if not worker.leaving]
        ready = sum(worker.ready for worker in staying)
        return Workers(ready, pending=len(staying) - ready, draining=len(self._workers) - len(staying))


@dataclass(slots=True, eq=False)
class DecodeWorker:
    """A decode worker: every sequence of its batch gets a token per ITL.

    Instead of moving every sequence at every token it counts the tokens that each got since the worker began, and
    knows at which count each sequence ends.
    """

    ready: bool = False
    leaving: bool = False
    tokens: float = 0.0
    since: float = 0.0
    itl_s: float = 0.0
    kv_tokens: int = 0
    context: float = 0.0
    version: int = 0
    batch: list[tuple[float, int, Request]] = field(default_factory=list)


class DecodePool:
    """Decode workers with continuous batching, and a queue for what no worker has room for."""

    def __init__(self, agenda: Agenda, engine: DecodeEngine, startup_s: float, done: Callable[[Request], None]) -> None:
        """Start with no worker.

        Args:
            agenda: The clock.
            engine: What a worker can do.
            startup_s: Time a worker takes to serve, seconds.
            done: Told of every request that has its last token.
        """
        self._agenda = agenda
        self._engine = engine
        self._startup_s = startup_s
        self._done = done
        self._workers: list[DecodeWorker] = []
        self._order = itertools.count()
        self._itl_s: dict[tuple[int, int], float] = {}
        self.queue: deque[Request] = deque()

    def submit(self, request: Request) -> None:
        """Let a request join the smallest batch with room for it, or queue it."""
        self.queue.append(request)
        self._admit()

    def _admit(self) -> None:
        while self.queue:
            request = self.queue[0]
            open_to = [worker for worker in self._workers if self._has_room(worker, request)]
            if not open_to:
                return
            self.queue.popleft()
            worker = min(open_to, key=lambda worker: len(worker.batch))
            self._catch_up(worker)
            heapq.heappush(worker.batch, (worker.tokens + request.osl - 1, next(self._order), request))
            self._changed(worker, request, 1)

    def _has_room(self, worker: DecodeWorker, request: Request) -> bool:
        if not worker.ready or worker.leaving:
            return False
        limit = self._engine.max_num_seqs
        if limit is not None and len(worker.batch) >= limit:
            return False
        # A sequence larger than the whole cache still runs, alone: real engines recompute rather than refuse it.
        return not worker.batch or worker.kv_tokens + request.kv_tokens <= self._engine.max_kv_tokens

    def _catch_up(self, worker: DecodeWorker) -> None:
        if worker.batch:
            worker.tokens += (self._agenda.time - worker.since) / worker.itl_s
        worker.since = self._agenda.time

    def _changed(self, worker: DecodeWorker, request: Request, sign: int) -> None:
        """Take a request into the sums, or out of them, and see when the next sequence of the batch ends."""
        worker.kv_tokens += sign * request.kv_tokens
        worker.context += sign * request.context_length
        worker.version += 1
        if not worker.batch:
            worker.context = 0.0
            return
        worker.itl_s = self._latency_s(len(worker.batch), worker.context / len(worker.batch))
        version = worker.version
        ends = worker.since + max(0.0, worker.batch[0][0] - worker.tokens) * worker.itl_s
        self._agenda.at(ends, lambda: self._end(worker) if worker.version == version else None)

    def _latency_s(self, concurrency: int, context_length: float) -> float:
        """ITL, looked up once for contexts within two percent of each other."""
        bucket = round(math.log(context_length) * 50)
        key = (concurrency, bucket)
        if key not in self._itl_s:
            self._itl_s[key] = self._engine.itl_ms(concurrency, math.exp(bucket / 50)) / 1000
        return self._itl_s[key]

    def _end(self, worker: DecodeWorker) -> None:
        self._catch_up(worker)
        worker.tokens = max(worker.tokens, worker.batch[0][0])
        request = heapq.heappop(worker.batch)[2]
        self._changed(worker, request, -1)
        if worker.leaving and not worker.batch:
            self._workers.remove(worker)
        self._done(request)
        self._admit()

    def scale(self, target: int, *, startup_s: float | None = None) -> None:
        """Have so many workers: new ones start, surplus ones drain, those that do not serve yet first."""
        staying = [worker for worker in self._workers if not worker.leaving]
        for _ in range(target - len(staying)):
            self._start(self._startup_s if startup_s is None else startup_s)
        surplus = sorted(staying, key=lambda worker: (worker.ready, len(worker.batch)))
        for worker in surplus[: max(0, len(staying) - target)]:
            worker.leaving = True
            if not worker.batch:
                self._workers.remove(worker)

    def _start(self, startup_s: float) -> None:
        worker = DecodeWorker()
        self._workers.append(worker)

        def ready() -> None:
            if not worker.leaving:
                worker.ready = True
                self._admit()

        self._agenda.at(self._agenda.time + startup_s, ready)

    def workers(self) -> Workers:
        """How many workers there are."""
        staying = [worker for worker in self._workers if not worker.leaving]
        ready = sum(worker.ready for worker in staying)
        return Workers(ready, pending=len(staying) - ready, draining=len(self._workers) - len(staying))

    @property
    def running(self) -> int:
        """Sequences in all batches."""
        return sum(len(worker.batch) for worker in self._workers)


class Deployment:
    """Both pools: a request is prefilled, then decoded."""

    def __init__(
        self,
        prefill: PrefillEngine,
        decode: DecodeEngine,
        *,
        startup_s: float,
        time: float = 0.0,
        workers: tuple[int, int] = (1, 1),
        watcher: Watcher | None = None,
    ) -> None:
        """Start with some workers that serve at once.

        Args:
            prefill: What a prefill worker can do.
            decode: What a decode worker can do.
            startup_s: Time that a new worker takes to serve, seconds.
            time: The time it is, seconds.
            workers: Prefill and decode workers there are at the start.
            watcher: Who is told what happens to requests.
        """
        self._agenda = Agenda(time)
        self._watcher = watcher
        self.prefill = PrefillPool(self._agenda, prefill, startup_s, self._prefilled)
        self.decode = DecodePool(self._agenda, decode, startup_s, self._decoded)
        self.prefill.scale(workers[0], startup_s=0.0)
        self.decode.scale(workers[1], startup_s=0.0)
        self.inflight = 0
        self.advance(time)

    @property
    def time(self) -> float:
        """How far time has passed, seconds."""
        return self._agenda.time

    @property
    def queued(self) -> int:
        """Requests that wait for a worker."""
        return len(self.prefill.queue) + len(self.decode.queue)

    def submit(self, time: float, isl: int, osl: int) -> Request:
        """Let a request arrive at a time that has not passed."""
        self.advance(time)
        request = Request(time, isl, osl)
        self.inflight += 1
        if self._watcher is not None:
            self._watcher.arrived(request)
        self.prefill.submit(request)
        return request

    def advance(self, to: float) -> None:
        """Let time pass."""
        self._agenda.advance(to)

    def scale(self, *, prefill: int, decode: int) -> None:
        """Ask for so many workers, from now on."""
        self.prefill.scale(prefill)
        self.decode.scale(decode)

    def _prefilled(self, request: Request) -> None:
        request.first_token = self.time
        if self._watcher is not None:
            self._watcher.first_token(request)
        if request.osl > 1:
            self.decode.submit(request)
        else:
            self._decoded(request)

    def _decoded(self, request: Request) -> None:
        request.finished = self.time
        self.inflight -= 1
        if self._watcher is not None:
            self._watcher.finished(request)
