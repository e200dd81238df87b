"""Decode workers: continuous batching, a token for every sequence at each step.

A worker advances all its sequences alike, so one token clock a worker is enough: a sequence that joins when the clock
shows v has n tokens more when it shows v + n. The clock's pace is 1 / ITL and changes only when a sequence joins or
leaves, or when the mean context length has grown into another class; between these, nothing needs to be computed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import log2

from planner.simulation.agenda import Agenda
from planner.simulation.balance import Balance
from planner.simulation.engine import DecodeEngine
from planner.simulation.pool import Pool, Startup
from planner.simulation.request import Request

_S_PER_MS = 1e-3

# Context lengths are taken alike within 1/32 of an octave, so that ITL is within about 1 % of what its model says.
_CLASSES_PER_OCTAVE = 32
_MOST_CLASSES = 64 * _CLASSES_PER_OCTAVE
_CLASS_ENDS = [2 ** ((level + 1) / _CLASSES_PER_OCTAVE) for level in range(_MOST_CLASSES)]

# Engines keep a part of the KV cache free for the sequences that run, or they would put back at once what they took.
_ADMISSION_SHARE = 0.99

# Sequences that have left are forgotten when they are more than those that run, and than this.
_MOST_LEFT = 64

# Tokens, to which token clocks are exact.
_TOLERANCE = 1e-6


class DecodeWorker:
    """One worker and its batch."""

    __slots__ = (
        "admissions",
        "batch",
        "clock_s",
        "clock_tokens",
        "due_s",
        "due_tokens",
        "endings",
        "itl_s",
        "open",
        "origin_tokens",
    )

    def __init__(self) -> None:
        self.open = True
        self.clear()

    def clear(self) -> None:
        """Start the token clock anew, for an empty batch."""
        self.batch = 0
        # Latest last; those that have left since are taken out when they come up.
        self.admissions: list[tuple[int, Request]] = []
        self.endings: list[tuple[float, int, Request]] = []
        # KV tokens in use when the token clock showed 0, had the batch been the same.
        self.origin_tokens = 0.0
        self.clock_tokens = 0.0
        self.clock_s = 0.0
        self.itl_s = math.inf
        self.due_s = math.inf
        self.due_tokens = math.inf

    def tokens_at(self, time_s: float) -> float:
        """What the token clock shows at a time at or after its last change."""
        return self.clock_tokens + (time_s - self.clock_s) / self.itl_s

    @property
    def kv_tokens(self) -> float:
        """KV tokens in use when the token clock last changed."""
        return self.origin_tokens + self.batch * self.clock_tokens


class DecodePool(Pool):
    """Workers that share one queue. A sequence goes to the worker with the fewest; while none has room, it waits.

    The KV cache holds prompts and generated tokens. When it is full, the sequence that came last goes back to the head
    of the queue with the tokens it has. A sequence that does not fit into an empty worker is served all the same.
    """

    def __init__(
        self, agenda: Agenda, engine: DecodeEngine, decoded: Callable[[Request], None], *, startup: Startup
    ) -> None:
        """Make a pool without workers.

        Args:
            agenda: The clock and what is planned on it.
            engine: How fast a batch generates, and how large it may be.
            decoded: Called with each request whose last token is there.
            startup: Gives the time a worker takes to serve, seconds.
        """
        super().__init__(agenda, startup=startup)
        self._engine = engine
        self._max_kv_tokens = engine.max_kv_tokens
        self._max_num_seqs = engine.max_num_seqs or math.inf
        self._decoded = decoded
        self._itl_s: dict[int, float] = {}
        self._balance: Balance[DecodeWorker] = Balance()
        self._queue: deque[Request] = deque()
        self._admitted = count()
        self._running = 0

    @property
    def busy(self) -> int:
        """Workers that have something to do, draining ones among them."""
        return self._balance.loaded + self._draining

    @property
    def waiting(self) -> int:
        """Requests that no worker runs."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Requests that a worker runs."""
        return self._running

    def generated_tokens(self, request: Request) -> float:
        """Output tokens of ``request`` so far; a fraction while the next one is on its way."""
        if request.worker is None:
            return request.generated_tokens
        return request.worker.tokens_at(self._agenda.now_s) - request.origin_tokens

    def enter(self, request: Request) -> None:
        """Generate what is left of the output of ``request`` as soon as a worker has room."""
        self._queue.append(request)
        if len(self._queue) == 1:
            self._serve_waiting()

    def _synchronise(self, worker: DecodeWorker) -> None:
        """Bring the token clock up to now."""
        now_s = self._agenda.now_s
        worker.clock_tokens += (now_s - worker.clock_s) / worker.itl_s
        worker.clock_s = now_s

    def _fits(self, worker: DecodeWorker, request: Request) -> bool:
        if worker.batch == 0:
            return True
        if worker.batch >= self._max_num_seqs:
            return False
        needed = worker.kv_tokens + request.isl + request.generated_tokens
        return needed <= _ADMISSION_SHARE * self._max_kv_tokens

    def _fill(self, worker: DecodeWorker) -> None:
        """Take from the queue what fits."""
        queue, before = self._queue, worker.batch
        while queue and self._fits(worker, queue[0]):
            self._admit(worker, queue.popleft())
        if worker.batch != before:
            self._balance.move(worker, before, worker.batch)

    def _admit(self, worker: DecodeWorker, request: Request) -> None:
        number = next(self._admitted)
        origin = worker.clock_tokens - request.generated_tokens
        request.worker = worker
        request.admission = number
        request.origin_tokens = origin
        if request.decode_start_s is None:
            request.decode_start_s = self._agenda.now_s
        worker.origin_tokens += request.isl - origin
        worker.batch += 1
        self._running += 1
        worker.admissions.append((number, request))
        if len(worker.admissions) > 2 * worker.batch + _MOST_LEFT:
            worker.admissions = [
                (n, one) for n, one in worker.admissions if one.worker is worker and one.admission == n
            ]
        heappush(worker.endings, (origin + request.osl, number, request))

    def _release(self, worker: DecodeWorker, request: Request) -> None:
        request.worker = None
        worker.origin_tokens -= request.isl - request.origin_tokens
        worker.batch -= 1
        self._running -= 1

    def _plan(self, worker: DecodeWorker) -> None:
        """Set the pace of the token clock, and plan when next to look at it."""
        self._pace(worker)
        worker.due_s = worker.clock_s + (worker.due_tokens - worker.clock_tokens) * worker.itl_s
        self._agenda.plan(worker.due_s, self._due, worker)

    def _pace(self, worker: DecodeWorker) -> None:
        """Find how long a step of the batch takes, and until when that holds."""
        batch, tokens = worker.batch, worker.clock_tokens
        context = worker.origin_tokens / batch + tokens
        level = int(log2(context) * _CLASSES_PER_OCTAVE)
        key = batch * _MOST_CLASSES + level
        itl_s = self._itl_s.get(key)
        if itl_s is None:
            itl_s = self._itl_s[key] = self._itl_of(batch, level)
        endings = worker.endings
        while endings[0][2].admission != endings[0][1]:
            heappop(endings)
        # All contexts grow by a token a step. Not less than a token ahead: rounding must not bring time to a halt.
        growth = _CLASS_ENDS[level] - context
        next_level = tokens + (max(1.0, growth))
        due_tokens = endings[0][0]
        due_tokens = min(due_tokens, next_level)
        if batch > 1:
            full = tokens + self._max_kv_tokens / batch - context
            if full < due_tokens:
                due_tokens = max(tokens, full)
        worker.itl_s = itl_s
        worker.due_tokens = due_tokens

    def _itl_of(self, batch: int, level: int) -> float:
        return self._engine.itl_ms(batch, 2 ** ((level + 0.5) / _CLASSES_PER_OCTAVE)) * _S_PER_MS

    def _due(self, worker: DecodeWorker) -> None:
        if worker.due_s != self._agenda.now_s:
            return
        worker.clock_tokens = worker.due_tokens
        worker.clock_s = worker.due_s
        before = worker.batch
        finished = self._end(worker)
        while worker.batch > 1 and worker.kv_tokens >= self._max_kv_tokens - worker.batch * _TOLERANCE:
            self._put_back(worker)
        if worker.open:
            self._balance.move(worker, before, worker.batch)
            self._fill(worker)
        if worker.batch:
            self._plan(worker)
        else:
            self._rest(worker)
        for request in finished:
            self._decoded(request)

    def _end(self, worker: DecodeWorker) -> list[Request]:
        """Let go of the sequences that have their last token."""
        endings, last = worker.endings, worker.clock_tokens + _TOLERANCE
        finished = []
        while endings and endings[0][0] <= last:
            _, number, request = heappop(endings)
            if request.admission == number:
                self._release(worker, request)
                request.generated_tokens = request.osl
                finished.append(request)
        return finished

    def _put_back(self, worker: DecodeWorker) -> None:
        """Return the sequence that came last to the head of the queue."""
        number, request = worker.admissions.pop()
        if request.worker is worker and request.admission == number:
            request.generated_tokens = worker.clock_tokens - request.origin_tokens
            self._release(worker, request)
            request.admission = -1
            self._queue.appendleft(request)

    def _rest(self, worker: DecodeWorker) -> None:
        if not worker.open:
            self._left()
        worker.clear()

    def _add_worker(self) -> None:
        self._balance.add(DecodeWorker(), 0)
        self._serve_waiting()

    def _drain_worker(self) -> None:
        worker = self._balance.least()
        self._balance.remove(worker, worker.batch)
        worker.open = False
        if not worker.batch:
            self._left()

    def _lose_worker(self) -> None:
        worker = self._balance.least()
        self._balance.remove(worker, worker.batch)
        if worker.batch:
            self._synchronise(worker)
        worker.open = False
        while worker.batch:
            self._put_back(worker)
        worker.due_s = math.inf
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        """Give what waits to whoever has room."""
        while self._queue and self._balance:
            worker = self._balance.least()
            self._synchronise(worker)
            if not self._fits(worker, self._queue[0]):
                return
            self._fill(worker)
            self._plan(worker)
