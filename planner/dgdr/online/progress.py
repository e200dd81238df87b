"""How far profiling has come, told in the ConfigMap of the result, where the controller reads it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from connectors.kubernetes.errors import KubernetesError
from planner.dgdr.controller.status import Phase
from planner.dgdr.result import ResultError, ResultStore
from planner.log import get_logger

# So often at most it is told, seconds.
_EVERY_S = 5.0

log = get_logger("planner.dgdr")


class Progress:
    """Keeps telling what is new, for as long as the context lasts; that it cannot be told holds up nothing."""

    def __init__(self, store: ResultStore, *, every_s: float = _EVERY_S) -> None:
        self._store = store
        self._every_s = every_s
        self._now = (Phase.BEGIN, "the profiling job starts")
        self._telling: asyncio.Task[None] | None = None

    def say(self, phase: Phase, message: str) -> None:
        """What is done now."""
        if (phase, message) != self._now:
            log.info(message, phase=phase.value)
        self._now = (phase, message)

    async def __aenter__(self) -> Self:
        """Begin to tell."""
        self._telling = asyncio.create_task(self._tell())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell no more."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    async def _tell(self) -> None:
        told = None
        while True:
            if self._now != told:
                told = phase, message = self._now
                try:
                    await self._store.tell({"phase": phase.value, "message": message})
                except (KubernetesError, ResultError) as error:
                    log.warning("progress not told", detail=str(error))
            await asyncio.sleep(self._every_s)
