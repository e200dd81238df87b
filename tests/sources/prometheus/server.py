"""A server that speaks Prometheus' HTTP API, well and badly."""

from __future__ import annotations

import asyncio

from aiohttp import web

from planner.sources.mapping import load_mapping

DYNAMO = load_mapping("dynamo")
MEANS = {
    "isl": "input_sequence_tokens",
    "osl": "output_sequence_tokens",
    "ttft_ms": "time_to_first_token_seconds",
    "itl_ms": "inter_token_latency_seconds",
    "request_duration_s": "request_duration_seconds",
}
SECRET = "hunter2"


def is_catalogue(query):
    return query.startswith("count by") and "__name__" in query.partition("(")[2].partition(")")[0]


class Server:
    """A Prometheus; ``answer(query)`` gives samples, a number, or what to respond with."""

    def __init__(self, clock):
        self.clock = clock
        self.answer = self.healthy
        self.forms, self.headers = [], []
        self.gate = None
        self.allowed = None

    def healthy(self, query):
        """What a server says that scrapes one frontend each second, on which every figure is 7."""
        now = self.clock.now()
        if is_catalogue(query):
            return [({"__name__": name, "model": "tiny"}, 1) for name in DYNAMO.telling_names()]
        if "disconnected_clients" in query:
            if "timestamp" not in query:
                return 60
            return now - 59 if query.startswith("min") else now - 1
        if "unless on (job, instance) {" in query:
            return []
        if "by (le)" in query:
            return [({"le": le}, value) for le, value in [("1", 5), ("2", 10), ("+Inf", 10)]]
        return 7

    async def query(self, request):
        self.headers.append(request.headers)
        form = await request.post()
        self.forms.append(form)
        if self.gate is not None:
            await self.gate()
        if self.allowed is not None and request.headers.get("Authorization") != self.allowed:
            return web.json_response({"status": "error", "errorType": "auth", "error": "who are you?"}, status=401)
        answer = self.answer(form["query"])
        if asyncio.iscoroutine(answer):
            return await answer
        return answer if isinstance(answer, web.StreamResponse) else vector(answer, float(form["time"]))


def vector(answer, time, **extra):
    samples = answer if isinstance(answer, list) else [({}, answer)]
    result = [{"metric": labels, "value": [time, str(value)]} for labels, value in samples]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}, **extra})


def respond(text, status=200, content_type="application/json", **headers):
    return lambda _: web.Response(text=text, status=status, content_type=content_type, headers=headers)


def failing(server, *, where, how):
    return lambda query: how(query) if where(query) else server.healthy(query)


broken = respond('{"status":"error","errorType":"internal","error":"out of sorts"}', 500)
