"""How many GPU-hours the workers used."""

from __future__ import annotations

from connectors.base import WorkerCounts


class GpuMeter:
    """Integrates the GPUs in use over time, from worker counts as they were seen.

    Between two readings the earlier one holds. A worker uses its GPUs from when it starts until it has drained, so
    pending and draining ones count. A pool that cannot be seen is taken to be as it was last seen.

    Attributes:
        engine_gpus: GPUs of one prefill and of one decode worker.
        gpu_hours: What was used so far.
    """

    def __init__(self, engine_gpus: tuple[int, int]) -> None:
        self.engine_gpus = engine_gpus
        self.gpu_hours = 0.0
        self._last = WorkerCounts()
        self._time: float | None = None

    @property
    def gpus(self) -> int:
        """GPUs in use at the last reading."""
        prefill_gpus, decode_gpus = self.engine_gpus
        prefill, decode = self._last.prefill, self._last.decode
        return (prefill.present if prefill else 0) * prefill_gpus + (decode.present if decode else 0) * decode_gpus

    def read(self, time: float, counts: WorkerCounts) -> None:
        """Account for the time since the last reading.

        Args:
            time: Now, seconds since the epoch.
            counts: The workers there are now.
        """
        if self._time is not None:
            self.gpu_hours += self.gpus * max(0.0, time - self._time) / 3600
        self._time = time
        self._last = WorkerCounts(
            prefill=counts.prefill or self._last.prefill, decode=counts.decode or self._last.decode
        )
