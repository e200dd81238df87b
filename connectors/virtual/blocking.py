"""The client for programs without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from connectors.virtual.client import VirtualConnectorClient
from connectors.virtual.state import VirtualDecision
from planner.core.observation import Workers

T = TypeVar("T")


class BlockingVirtualClient:
    """A VirtualConnectorClient for scripts and threads: the same calls, which block.

        with BlockingVirtualClient(lambda: VirtualConnectorClient.connect("http://127.0.0.1:9086")) as client:
            for decision in client:
                scale(decision.num_prefill_workers, decision.num_decode_workers)
                client.complete(decision)

    It may be used from several threads at once.
    """

    def __init__(self, make: Callable[[], VirtualConnectorClient]) -> None:
        """Connect, on an event loop in a thread of its own.

        Args:
            make: Makes the client; called on that thread.
        """
        self._loop = asyncio.new_event_loop()
        # A forgotten close() must not keep the program from ending.
        self._thread = threading.Thread(target=self._loop.run_forever, name="virtual-client", daemon=True)
        self._thread.start()

        async def made() -> VirtualConnectorClient:
            return make()

        try:
            self._client = self._run(made())
        except BaseException:
            self._end()
            raise

    def get(self) -> VirtualDecision:
        """The newest decision, completed or not; all -1 before the first."""
        return self._run(self._client.get())

    def wait(self, timeout_s: float | None = None) -> VirtualDecision:
        """The newest decision as soon as there is one that is not completed.

        Args:
            timeout_s: Longest time to wait, seconds; None waits for ever.

        Raises:
            TimeoutError: There was none in that time.
        """
        return self._run(asyncio.wait_for(self._client.wait(), timeout_s))

    def complete(self, decision: VirtualDecision) -> None:
        """Acknowledge that the workers of a decision serve.

        Raises:
            VirtualClientError: The planner never made that decision.
        """
        self._run(self._client.complete(decision))

    def report_workers(self, *, prefill: Workers | None = None, decode: Workers | None = None) -> None:
        """Tell the planner what really runs, whenever that changes; a pool left out is as reported before."""
        self._run(self._client.report_workers(prefill=prefill, decode=decode))

    def __iter__(self) -> Iterator[VirtualDecision]:
        """Every decision that is not completed, for ever; one that was not completed comes again."""
        while True:
            yield self.wait()

    def close(self) -> None:
        """Close the connections and end the thread; may be called more than once."""
        if self._thread.is_alive():
            self._run(self._client.close())
            self._end()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            work.close()
            raise RuntimeError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C ends the waiting here; it has to end there too.
            future.cancel()
            raise

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections and end the thread."""
        self.close()
