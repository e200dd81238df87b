"""The planner's own HTTP port: metrics, health, and the recent decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from planner.report.history import History


class ReportServer:
    """Serves ``/metrics``, health and ``/api/v1/decisions``, read-only, the same on every port.

    Health is at ``/healthz`` and ``/readyz``, and where the Dynamo operator looks for it, at ``/live`` and ``/health``.
    """

    def __init__(
        self,
        *,
        host: str,
        ports: Sequence[int],
        registry: CollectorRegistry,
        healthy: Callable[[], str | None],
        ready: Callable[[], str | None],
        history: History | None = None,
    ) -> None:
        """Prepare to serve; nothing listens before ``start``.

        Args:
            host: Address to listen on.
            ports: Ports to listen on; 0 takes any free one.
            registry: The metrics.
            healthy: Says why the planner should be restarted; None if it need not.
            ready: Says why the planner does not do its work yet; None if it does.
            history: The recent decisions; None where none are made.
        """
        self._host = host
        self._ports = ports
        self._registry = registry
        self._history = history
        self._healthy = healthy
        self._ready = ready
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The first port listened on."""
        if self._runner is None or not self._runner.addresses:
            return self._ports[0]
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: A port cannot be had.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/", _contents),
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._health),
                web.get("/live", self._health),
                web.get("/readyz", self._readiness),
                web.get("/health", self._readiness),
            ]
        )
        if self._history is not None:
            app.router.add_get("/api/v1/decisions", partial(_decisions, self._history))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        for port in self._ports:
            try:
                await web.TCPSite(self._runner, self._host, port).start()
            except OSError as error:
                raise OSError(
                    f"port {port} for metrics and health cannot be had: {error.strerror}; see "
                    "--metric-reporting-prometheus-port, --system-port and --metric-reporting-host"
                ) from error

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(_unescaped(request.headers.get("Accept", "")))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _health(self, _: web.Request) -> web.Response:
        return _verdict(self._healthy())

    async def _readiness(self, _: web.Request) -> web.Response:
        return _verdict(self._ready())


async def _contents(request: web.Request) -> web.Response:
    """What is served here, a path a line."""
    paths = [resource.canonical for resource in request.app.router.resources()]
    return web.Response(text="".join(f"{path}\n" for path in paths if path != "/"))


async def _decisions(history: History, request: web.Request) -> web.Response:
    text = request.query.get("limit", "100")
    if not text.isdecimal():
        problem = {
            "title": "Bad Request",
            "status": 400,
            "detail": f"limit is {text!r}; it is a whole number of 0 or more",
        }
        return web.json_response(problem, status=400, content_type="application/problem+json")
    return web.json_response({"decisions": [record.to_dict() for record in history.latest(int(text))]})


def _unescaped(accept: str) -> str:
    """What a scraper accepts, with names as they are: escaped ones would lose the colons of Dynamo's names.

    All our names are valid under every scheme of escaping.
    """
    kinds = ([part for part in kind.split(";") if "escaping=" not in part] for kind in accept.split(","))
    return ",".join(";".join([*parts, "escaping=allow-utf-8"]) for parts in kinds)


def _verdict(trouble: str | None) -> web.Response:
    return web.Response(text=f"{trouble or 'ok'}\n", status=503 if trouble else 200)
