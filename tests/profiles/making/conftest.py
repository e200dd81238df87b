"""An OpenAI-compatible engine on real HTTP, and a clock that makes its time pass at once."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import selectors
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from profiles.synthetic import itl_ms, ttft_ms

# Time for bytes that were just sent over loopback to arrive before time jumps.
_ARRIVAL_S = 0.0005
_HUNG_S = 30.0


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for nothing but sockets: when none is ready, the loop's time jumps to the next timer."""

    jumped_s = 0.0

    def select(self, timeout=None):
        if timeout is None:
            events = super().select(_HUNG_S)
            assert events, "nothing is left that could ever happen"
            return events
        if events := super().select(min(timeout, _ARRIVAL_S)):
            return events
        self.jumped_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while anything happens and jumps while nothing does."""

    def __init__(self):
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.jumped_s


@pytest.fixture
def virtually():
    """Runs a coroutine on a virtual loop: ``virtually(coroutine)``; sockets are real, time is not."""

    def run(coroutine):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(coroutine)

    return run


@dataclass
class _Sequence:
    isl: int
    max_tokens: int
    made: int = 0
    steps: asyncio.Queue = field(default_factory=asyncio.Queue)


class StandIn:
    """An engine with continuous batching whose latencies follow a known profile; the wire format is vLLM's.

    Between two prefills there is one decode step, so that sequences begin apart. ``fault`` breaks it in a way.
    """

    def __init__(
        self,
        *,
        ttft=ttft_ms,
        itl=itl_ms,
        max_kv_tokens=60_000,
        max_num_seqs=10_000,
        tokens_per_word=1.3,
        tokens_per_chunk=1,
        continuous_usage=True,
        tells_limits=True,
        speed=1.0,
    ):
        self.ttft, self.itl, self.speed = ttft, itl, speed
        self.max_kv_tokens, self.max_num_seqs = max_kv_tokens, max_num_seqs
        self.tokens_per_word, self.tokens_per_chunk = tokens_per_word, tokens_per_chunk
        self.continuous_usage, self.tells_limits = continuous_usage, tells_limits
        self.fault = None
        self.requests = 0
        self.prompts = []
        self._waiting, self._running = collections.deque(), []
        self._arrived = asyncio.Event()
        self._task = self._runner = None

    async def __aenter__(self):
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._completions)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._runner.cleanup()

    async def _run(self):
        while True:
            if self._waiting and self._fits(self._waiting[0]):
                sequence = self._waiting.popleft()
                await asyncio.sleep(self.ttft(sequence.isl) / 1000 / self.speed)
                self._running.append(sequence)
                self._step([sequence])
            if self._running:
                context = sum(one.isl + one.made for one in self._running) / len(self._running)
                await asyncio.sleep(self.itl(len(self._running), context) / 1000 / self.speed)
                self._step(list(self._running))
            elif not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()

    def _fits(self, sequence):
        held = sum(one.isl + one.max_tokens for one in self._running)
        return (
            len(self._running) < self.max_num_seqs and held + sequence.isl + sequence.max_tokens <= self.max_kv_tokens
        )

    def _step(self, sequences):
        for sequence in sequences:
            sequence.made += 1
            sequence.steps.put_nowait(sequence.made)
            if sequence.made == sequence.max_tokens:
                self._running.remove(sequence)

    async def _models(self, request):
        return web.json_response(
            {"object": "list", "data": [{"id": "tiny", "object": "model", "max_model_len": 40_000}]}
        )

    async def _metrics(self, request):
        if not self.tells_limits:
            return web.Response(text="# TYPE other gauge\nother 1\n")
        labels = f'block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="{self.max_kv_tokens // 16}"'
        return web.Response(text=f"# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{{labels}}} 1.0\n")

    async def _completions(self, request):
        self.requests += 1
        body = await request.json()
        chat = request.path.endswith("chat/completions")
        prompt = body["messages"][0]["content"] if chat else body["prompt"]
        self.prompts.append(prompt)
        isl = 1 + round(self.tokens_per_word * len(prompt.split()))
        match self.fault:
            case "error":
                return web.json_response({"error": {"message": "CUDA out of memory", "code": 500}}, status=500)
            case "refuses extras" if "ignore_eos" in body:
                return web.json_response({"error": {"message": "unknown field ignore_eos"}}, status=400)
            case "counts no prompt":
                isl = 7
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        sequence = _Sequence(isl, body["max_tokens"])
        self._waiting.append(sequence)
        self._arrived.set()
        await self._stream(response, sequence, body, chat=chat)
        return response

    async def _stream(self, response, sequence, body, *, chat):
        options = body.get("stream_options", {})
        running = options.get("continuous_usage_stats") and self.continuous_usage and self.fault != "no usage"
        last = sequence.max_tokens // 2 if self.fault == "ends early" else sequence.max_tokens
        if chat:
            await self._send(response, [{"index": 0, "delta": {"role": "assistant", "content": ""}}], None)
        pending = 0
        while True:
            made = await sequence.steps.get()
            pending += 1
            if self.fault == "hangs" and made == 2:
                await asyncio.sleep(10_000)
            if self.fault == "breaks off" and made == 2:
                response._payload_writer.transport.abort()
                return
            if self.fault == "error in the stream" and made == 2:
                await response.write(b'data: {"error": {"message": "engine died", "code": 500}}\n\n')
                return
            if pending == self.tokens_per_chunk or made == last:
                finish = "length" if made == last else None
                text = {"delta": {"content": " a" * pending}} if chat else {"text": " a" * pending, "logprobs": None}
                choice = {"index": 0, **text, "finish_reason": finish}
                await self._send(response, [choice], self._usage(sequence, made) if running else None)
                pending = 0
            if made == last:
                break
        if options.get("include_usage") and self.fault != "no usage":
            await self._send(response, [], self._usage(sequence, last))
        await response.write(b"data: [DONE]\n\n")

    def _usage(self, sequence, made):
        if self.fault == "counts too few":
            made = 1
        return {"prompt_tokens": sequence.isl, "total_tokens": sequence.isl + made, "completion_tokens": made}

    async def _send(self, response, choices, usage):
        chunk = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "tiny", "choices": choices}
        await response.write(f"data: {json.dumps({**chunk, 'usage': usage})}\n\n".encode())


@pytest.fixture
def stand_in():
    """The class of the stand-in engine."""
    return StandIn
