"""Aggregated serving: one pool whose workers prefill and decode in the same steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from planner.core.observation import Workers
from planner.simulation.agenda import Agenda
from planner.simulation.decode import DecodePool, DecodeWorker
from planner.simulation.engine import Engines
from planner.simulation.pool import Pool, Startup
from planner.simulation.request import Request, RequestObserver
from planner.simulation.serving import Serving

_S_PER_MS = 1e-3

# Tokens, to which token clocks are exact.
_TOLERANCE = 1e-6


class AggregatedWorker(DecodeWorker):
    """One worker, its batch, and the prompt that it takes up meanwhile."""

    __slots__ = ("prompt", "prompt_due_tokens", "prompt_s", "prompt_tokens")

    def clear(self) -> None:
        """Start the token clock anew, for an empty batch and no prompt."""
        super().clear()
        self.prompt: Request | None = None
        self.prompt_tokens = 0.0
        # What the token clock shows when the prompt is done, and the time it adds to each step till then.
        self.prompt_due_tokens = 0.0
        self.prompt_s = 0.0


class AggregatedPool(DecodePool):
    """Workers that share one queue, first come, first served, and run every request from its prompt to its end.

    A worker takes up one prompt at a time, in chunks of ``step_tokens``, one chunk a step; each step also gives every
    sequence of its batch a token, so that a step lasts as long as the chunk and the batch together. A prompt shorter
    than a chunk takes that part of a step. A request goes to the worker with the fewest sequences among those that take
    up no prompt and have room; while none is, it waits. A sequence put back for want of KV cache is prefilled again.
    """

    def __init__(
        self,
        agenda: Agenda,
        engines: Engines,
        prefilled: Callable[[Request], None],
        decoded: Callable[[Request], None],
        *,
        startup: Startup,
        step_tokens: int,
    ) -> None:
        """Make a pool without workers.

        Args:
            agenda: The clock and what is planned on it.
            engines: How long a prompt takes, how fast a batch generates, and how large it may be.
            prefilled: Called with each request whose first token is there.
            decoded: Called with each request whose last token is there.
            startup: Gives the time a worker takes to serve, seconds.
            step_tokens: Tokens of a prompt that one step takes up.
        """
        super().__init__(agenda, engines.decode, decoded, startup=startup)
        self._ttft_ms = lru_cache(maxsize=1 << 16)(engines.prefill.ttft_ms)
        self._prefilled = prefilled
        self._step_tokens = step_tokens
        # Open workers with a prompt; those without one are in the balance.
        self._occupied: dict[AggregatedWorker, None] = {}

    @property
    def busy(self) -> int:
        """Workers that have something to do, draining ones among them."""
        return super().busy + len(self._occupied)

    def _take_up(self, worker: AggregatedWorker, request: Request) -> None:
        """Begin the prompt of a request on a worker without one whose clock is up to date."""
        tokens = request.isl + request.generated_tokens
        steps = tokens / self._step_tokens
        worker.prompt = request
        worker.prompt_tokens = tokens
        worker.prompt_due_tokens = worker.clock_tokens + steps
        worker.prompt_s = self._ttft_ms(tokens) * _S_PER_MS / steps

    def _free(self, worker: AggregatedWorker) -> Request:
        """Let go of the prompt of a worker."""
        request = worker.prompt
        assert request is not None  # noqa: S101 - that is what this is called for
        worker.prompt = None
        worker.prompt_tokens = worker.prompt_s = 0.0
        return request

    def _pace(self, worker: DecodeWorker) -> None:
        assert isinstance(worker, AggregatedWorker)  # noqa: S101 - this pool has no others
        if not worker.batch:
            worker.itl_s, worker.due_tokens = worker.prompt_s, worker.prompt_due_tokens
            return
        super()._pace(worker)
        if worker.prompt is not None:
            worker.itl_s += worker.prompt_s
            room = (self._max_kv_tokens - worker.prompt_tokens - worker.kv_tokens) / worker.batch
            until_full = max(worker.clock_tokens, worker.clock_tokens + room)
            worker.due_tokens = min(worker.due_tokens, until_full, worker.prompt_due_tokens)

    def _due(self, worker: DecodeWorker) -> None:
        assert isinstance(worker, AggregatedWorker)  # noqa: S101
        if worker.due_s != self._agenda.now_s:
            return
        worker.clock_tokens, worker.clock_s = worker.due_tokens, worker.due_s
        batch, prompt = worker.batch, worker.prompt
        ended = self._end(worker)
        if self._full(worker):
            self._make_room(worker)
        if worker.prompt is not None and worker.prompt_due_tokens <= worker.clock_tokens + _TOLERANCE:
            ended += self._join(worker)
        if worker.open:
            if worker.prompt is None and self._queue and self._fits(worker, self._queue[0]):
                self._take_up(worker, self._queue.popleft())
            self._rank(worker, batch, prompt)
        if worker.batch or worker.prompt is not None:
            self._plan(worker)
        else:
            self._rest(worker)
        for request in ended:
            self._decoded(request)

    def _rank(self, worker: AggregatedWorker, batch: int, prompt: Request | None) -> None:
        """Take note of what an open worker does now that had so large a batch and such a prompt before."""
        if prompt is None:
            self._balance.remove(worker, batch)
        elif worker.prompt is not prompt:
            del self._occupied[worker]
        else:
            return
        if worker.prompt is None:
            self._balance.add(worker, worker.batch)
        else:
            self._occupied[worker] = None

    def _full(self, worker: AggregatedWorker) -> bool:
        taken = worker.kv_tokens + worker.prompt_tokens
        return taken >= self._max_kv_tokens - worker.batch * _TOLERANCE

    def _make_room(self, worker: AggregatedWorker) -> None:
        """While the KV cache is full, return what came last to the head of the queue; the last one may stay."""
        if worker.batch and worker.prompt is not None:
            self._queue.appendleft(self._free(worker))
        while worker.batch > 1 and self._full(worker):
            self._put_back(worker)

    def _join(self, worker: AggregatedWorker) -> list[Request]:
        """Let the request whose prompt is done join the batch; it is returned if its first token is its last."""
        request = self._free(worker)
        if request.first_token_s is None:
            self._prefilled(request)
        if request.osl <= request.generated_tokens + _TOLERANCE:
            return [request]
        self._admit(worker, request)
        return []

    def _add_worker(self) -> None:
        self._balance.add(AggregatedWorker(), 0)
        self._serve_waiting()

    def _leave(self) -> AggregatedWorker:
        """Take the open worker with the least to do out of service."""
        if self._balance:
            worker = self._balance.least()
            assert isinstance(worker, AggregatedWorker)  # noqa: S101
            self._balance.remove(worker, worker.batch)
        else:
            worker = min(self._occupied, key=lambda one: one.batch)
            del self._occupied[worker]
        worker.open = False
        return worker

    def _drain_worker(self) -> None:
        worker = self._leave()
        if not worker.batch and worker.prompt is None:
            self._left()

    def _lose_worker(self) -> None:
        worker = self._leave()
        if worker.batch or worker.prompt is not None:
            self._synchronise(worker)
        if worker.prompt is not None:
            self._queue.appendleft(self._free(worker))
        while worker.batch:
            self._put_back(worker)
        worker.due_s = float("inf")
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        """Give what waits to whoever is free and has room."""
        while self._queue and self._balance:
            worker = self._balance.least()
            assert isinstance(worker, AggregatedWorker)  # noqa: S101
            self._synchronise(worker)
            if not self._fits(worker, self._queue[0]):
                return
            self._take_up(worker, self._queue.popleft())
            self._rank(worker, worker.batch, None)
            self._plan(worker)


class AggregatedDeployment(Serving):
    """One pool, which counts as decode; there are no prefill workers."""

    def __init__(
        self,
        engines: Engines,
        *,
        startup: Startup,
        step_tokens: int,
        workers: int = 1,
        time_s: float = 0.0,
        observer: RequestObserver | None = None,
    ) -> None:
        """Start with some workers that serve at once.

        Args:
            engines: What workers can do.
            startup: Gives the time a new worker takes to serve, seconds, for each anew.
            step_tokens: Tokens of a prompt that one step of an engine takes up.
            workers: Workers there are at the start.
            time_s: The time it is.
            observer: Who is told what happens to requests.
        """
        super().__init__(time_s=time_s, observer=observer)
        self.pool = AggregatedPool(
            self._agenda, engines, self._note_first_token, self._note_end, startup=startup, step_tokens=step_tokens
        )
        self.pool.open(workers)

    @property
    def pools(self) -> Sequence[Pool]:
        """The one."""
        return (self.pool,)

    @property
    def queued(self) -> int:
        """Requests that wait for a worker."""
        return self.pool.waiting

    @property
    def workers(self) -> tuple[Workers, Workers]:
        """No prefill workers, and the workers there are."""
        return Workers(0), self.pool.workers

    @property
    def busy(self) -> tuple[int, int]:
        """No prefill workers, and the workers that have something to do."""
        return 0, self.pool.busy

    def scale(self, *, prefill: int, decode: int) -> None:
        """Ask for ``decode`` workers, from now on.

        Raises:
            ValueError: Prefill workers are asked for.
        """
        if prefill:
            raise ValueError(f"prefill is {prefill}; an aggregated deployment has no prefill workers")
        self.pool.scale(decode)

    def _enter(self, request: Request) -> None:
        self.pool.enter(request)
