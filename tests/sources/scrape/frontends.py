"""Frontends that serve metrics pages, and a source that reads them."""

from __future__ import annotations

from aiohttp import web

from planner.demo.frontend import Frontend
from planner.simulation.request import Request
from planner.sources.mapping import load_mapping

DYNAMO = load_mapping("dynamo")
HERE = "dynamo_frontend_disconnected_clients 0\n"


class Page:
    """A frontend's metrics page. ``text`` is served in its place, ``fault`` answers in its place."""

    def __init__(self, version, model):
        self.version, self.model = version, model
        self.frontend = Frontend(model, version=version)
        self.text = self.fault = None
        self.reads = 0

    async def get(self, request):
        self.reads += 1
        if self.fault is not None:
            return await self.fault(request)
        return web.Response(text=self.text) if self.text is not None else web.Response(body=self.frontend.page())

    def restart(self):
        self.frontend = Frontend(self.model, version=self.version)

    def arrive(self, number, isl=1000, osl=11):
        requests = [Request(0.0, isl, osl) for _ in range(number)]
        for request in requests:
            self.frontend.arrived(request)
        return requests

    def complete(self, requests, ttft_s=0.3, itl_s=0.02):
        for request in requests:
            request.first_token_s = ttft_s
            self.frontend.first_token(request)
            request.completed_s = ttft_s + itl_s * (request.osl - 1)
            self.frontend.completed(request)

    def serve(self, number, isl=1000, osl=11, **latencies):
        self.complete(self.arrive(number, isl, osl), **latencies)


class Rig:
    """A source, its pages and the time."""

    def __init__(self, source, pages, urls, clock):
        self.source, self.pages, self.urls, self.clock = source, pages, urls, clock

    async def tick(self, seconds=60.0, interval=60.0):
        self.clock.time += seconds
        return await self.source.observe(interval)

    @property
    def complaint(self):
        (error,) = self.source.status.errors.values()
        return error


def answer(text="", status=200, **options):
    async def fault(_):
        return web.Response(text=text, status=status, **options)

    return fault
