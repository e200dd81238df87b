"""The planner's own metrics: the names of Dynamo 0.9's planner, and ours under one prefix."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from connectors.base import WorkerCounts
from planner.core.decision import Action, Decision, LoadForecast, PoolExplanation
from planner.core.observation import Observation, Workers
from planner.report.gpu_hours import GpuMeter
from planner.report.record import Record
from planner.sources.base import SourceStatus

PREFIX = "sla_planner"

_COMPATIBLE = {
    "num_p_workers": "Prefill workers that serve",
    "num_d_workers": "Decode workers that serve",
    "gpu_hours": "GPU-hours used since the planner started",
    "observed_ttft": "Mean time to first token observed, ms",
    "observed_itl": "Mean inter-token latency observed, ms",
    "observed_request_rate": "Arrivals observed, requests/s",
    "observed_request_duration": "Mean request duration observed, s",
    "observed_isl": "Mean input sequence length observed, tokens",
    "observed_osl": "Mean output sequence length observed, tokens",
    "p_correction_factor": "Observed over expected TTFT",
    "d_correction_factor": "Observed over expected ITL",
    "predicted_request_rate": "Arrivals forecast, requests/s",
    "predicted_isl": "Mean input sequence length forecast, tokens",
    "predicted_osl": "Mean output sequence length forecast, tokens",
    "predicted_num_p": "Prefill workers the forecast load needs",
    "predicted_num_d": "Decode workers the forecast load needs",
}

# The same under the names of Dynamo 1.x, of which several changed on the way; for dashboards that were made for it.
_LATER = {
    "num_p_workers": ("num_prefill_workers", "num_prefill_replicas"),
    "num_d_workers": ("num_decode_workers", "num_decode_replicas"),
    "gpu_hours": ("gpu_hours",),
    "observed_ttft": ("observed_ttft_ms",),
    "observed_itl": ("observed_itl_ms",),
    "observed_request_rate": ("observed_requests_per_second",),
    "observed_request_duration": ("observed_request_duration_seconds",),
    "observed_isl": ("observed_isl", "observed_input_sequence_tokens"),
    "observed_osl": ("observed_osl", "observed_output_sequence_tokens"),
    "p_correction_factor": ("p_correction_factor",),
    "d_correction_factor": ("d_correction_factor",),
    "predicted_request_rate": ("predicted_requests_per_second",),
    "predicted_isl": ("predicted_isl", "predicted_input_sequence_tokens"),
    "predicted_osl": ("predicted_osl", "predicted_output_sequence_tokens"),
    "predicted_num_p": ("predicted_num_prefill_replicas",),
    "predicted_num_d": ("predicted_num_decode_replicas",),
}


class PlannerMetrics:
    """Everything the planner exports, in a registry of its own or the one given.

    A gauge whose value is unknown is NaN, never 0.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._compatible = {
            name: [
                Gauge(each, text, registry=self.registry)
                for each in (f"planner:{name}", *(f"dynamo_planner_{later}" for later in _LATER[name]))
            ]
            for name, text in _COMPATIBLE.items()
        }
        for name in _COMPATIBLE:
            self._set(name, 0 if name == "gpu_hours" else None)
        self._info = Info(PREFIX, "The planner", registry=self.registry)
        self._info.info({"version": version("sla-planner")})
        self._workers = self._gauge("workers", "Workers by pool and state", "pool", "state")
        self._targets = self._gauge("target_workers", "Workers decided on", "pool")
        self._infeasible = self._gauge("target_infeasible", "1 if no engine could meet the latency target", "pool")
        self._bound = self._gauge("target_bound", "1 for what fixed the target of a pool", "pool", "by")
        self._reversals = Counter(
            f"{PREFIX}_target_reversals", "Times a target turned round", ["pool"], registry=self.registry
        )
        self._latency_target = self._gauge("latency_target_ms", "TTFT target of prefill, ITL target of decode", "pool")
        self._latency = self._gauge(
            "observed_latency_quantile_ms", "Quantiles of TTFT (prefill) and ITL (decode) observed", "pool", "quantile"
        )
        self._forecast = self._gauge(
            "forecast_request_rate", "Quantiles of the arrivals forecast, requests/s", "quantile"
        )
        self._gpus = self._gauge("gpus", "GPUs in use")
        self._budget = self._gauge("gpu_budget", "GPUs that may be used; NaN without a limit")
        self._interval = self._gauge("adjustment_interval_seconds", "Time between two adjustments")
        self._forecast_error = self._gauge("forecast_error_ratio", "Last forecast's error over what came", "series")
        self._series = self._gauge("series_matched", "Series found at the last read", "field")
        self._data_age = self._gauge("data_age_seconds", "Age of the newest sample read")
        self._last_tick = self._gauge("last_tick_timestamp_seconds", "When the last adjustment ended")
        self._ticks = Counter(f"{PREFIX}_ticks", "Adjustments by action", ["action"], registry=self.registry)
        self._held = Counter(
            f"{PREFIX}_held_ticks", "Adjustments that held, by reason", ["reason"], registry=self.registry
        )
        self.tick_failures = self._counter("tick_failures", "Adjustments that failed")
        self.reactions = self._counter("reactions", "Times targets were raised between two adjustments")
        self.missed_ticks = self._counter("missed_ticks", "Adjustments left out because one before took too long")
        self.connector_failures = self._counter("connector_failures", "Times the connector could not be reached")
        self.source_errors = Counter(f"{PREFIX}_source_errors", "Failed reads", ["field"], registry=self.registry)
        self.overdue = self._counter("overdue_acknowledgements", "Decisions given up on unacknowledged")
        self.unfinished_fits = self._counter("unfinished_fits", "Model fits that were not done in time")
        self.history_failures = self._counter("history_failures", "Times the history could not be written or read")
        self.leader = self._gauge("leader", "1 while this planner is the one that scales, else 0")
        self._duration = Histogram(
            f"{PREFIX}_tick_duration_seconds",
            "Time an adjustment took",
            buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 120),
            registry=self.registry,
        )
        self._expected: LoadForecast | None = None
        self._directions = dict[str, int]()
        self._quantiles = dict[str, set[str]]()
        for pool in ("prefill", "decode"):
            self._reversals.labels(pool)

    def configured(self, *, mode: str, interval_s: float, max_gpus: int | None) -> None:
        """Export what it runs with.

        Args:
            mode: ``disagg``; or ``agg``, where one pool serves both phases and counts as decode.
            interval_s: Time between two adjustments, seconds.
            max_gpus: The budget; None without a limit.
        """
        self._info.info({"version": version("sla-planner"), "mode": mode})
        self._interval.set(interval_s)
        self._budget.set(math.nan if max_gpus is None else max_gpus)

    @property
    def failures(self) -> int:
        """Adjustments that failed."""
        return int(self.registry.get_sample_value(f"{PREFIX}_tick_failures_total") or 0)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, registry=self.registry)

    def observed(self, observation: Observation, status: SourceStatus, meter: GpuMeter) -> None:
        """Export what was seen, and how well it had been forecast."""
        self._set("observed_ttft", observation.ttft_ms)
        self._set("observed_itl", observation.itl_ms)
        self._set("observed_request_rate", observation.request_rate_rps)
        self._set("observed_request_duration", observation.request_duration_s)
        self._set("observed_isl", observation.isl)
        self._set("observed_osl", observation.osl)
        self._set("gpu_hours", meter.gpu_hours)
        self._gpus.set(meter.gpus)
        self._show_quantiles("prefill", observation.ttft_quantiles_ms)
        self._show_quantiles("decode", observation.itl_quantiles_ms)
        self._compare(observation)
        for field, count in status.series_matched.items():
            self._series.labels(field).set(count)
        for field in status.errors:
            self.source_errors.labels(field).inc()
        age = math.nan if status.newest_data is None else max(0.0, observation.time - status.newest_data)
        self._data_age.set(age)

    def counted(self, counts: WorkerCounts) -> None:
        """Export the workers there are."""
        for pool, name, workers in (
            ("prefill", "num_p_workers", counts.prefill),
            ("decode", "num_d_workers", counts.decode),
        ):
            self._set(name, workers.ready if workers else None)
            for state in Workers.__dataclass_fields__:
                self._workers.labels(pool, state).set(getattr(workers, state) if workers else math.nan)

    def reacted(self, decision: Decision) -> None:
        """Export that targets were raised between two adjustments."""
        self.reactions.inc()
        self._explain("prefill", decision.explanation.prefill)
        self._explain("decode", decision.explanation.decode)

    def decided(self, decision: Decision) -> None:
        """Export a decision and the forecast it stands on."""
        forecast, why = decision.explanation.forecast, decision.explanation
        self._set("predicted_request_rate", forecast.request_rate_rps if forecast else None)
        self._set("predicted_isl", forecast.isl if forecast else None)
        self._set("predicted_osl", forecast.osl if forecast else None)
        self._set("predicted_num_p", why.prefill.required)
        self._set("predicted_num_d", why.decode.required)
        self._set("p_correction_factor", why.prefill.correction_factor)
        self._set("d_correction_factor", why.decode.correction_factor)
        self._forecast.labels("0.1").set(forecast.requests_p10 / forecast.interval if forecast else math.nan)
        self._forecast.labels("0.9").set(forecast.requests_p90 / forecast.interval if forecast else math.nan)
        self._explain("prefill", why.prefill)
        self._explain("decode", why.decode)
        self._expected = forecast

    def ended(self, record: Record) -> None:
        """Export how an adjustment ended."""
        self._ticks.labels(record.decision.action).inc()
        if reason := held_because(record):
            self._held.labels(reason).inc()
        if record.applied and record.applied.overdue:
            self.overdue.inc()
        self._duration.observe(record.duration_s)
        self._last_tick.set(record.observation.time)

    def _set(self, name: str, value: float | None) -> None:
        for gauge in self._compatible[name]:
            gauge.set(math.nan if value is None else value)

    def _explain(self, pool: str, why: PoolExplanation) -> None:
        self._targets.labels(pool).set(why.target)
        self._latency_target.labels(pool).set(why.target_ms)
        self._follow(pool, why)
        self._infeasible.labels(pool).set(0 if why.feasible else 1)
        for bound in type(why.bound_by):
            self._bound.labels(pool, bound).set(bound is why.bound_by)

    def _follow(self, pool: str, why: PoolExplanation) -> None:
        """Count where a target that rose falls, or the other way round."""
        if why.previous is None or why.target == why.previous:
            return
        direction = 1 if why.target > why.previous else -1
        if direction == -self._directions.get(pool, 0):
            self._reversals.labels(pool).inc()
        self._directions[pool] = direction

    def _show_quantiles(self, pool: str, quantiles: Mapping[float, float] | None) -> None:
        known = {f"{p:g}": value for p, value in (quantiles or {}).items()}
        self._quantiles[pool] = self._quantiles.get(pool, set()) | set(known)
        for name in self._quantiles[pool]:
            self._latency.labels(pool, name).set(known.get(name, math.nan))

    def _compare(self, observation: Observation) -> None:
        expected = self._expected
        if expected is None:
            return
        self._error("requests", expected.request_rate_rps, observation.request_rate_rps)
        self._error("isl", expected.isl, observation.isl)
        self._error("osl", expected.osl, observation.osl)

    def _error(self, series: str, expected: float, came: float | None) -> None:
        known = came is not None and came > 0
        self._forecast_error.labels(series).set((expected - came) / came if known and came else math.nan)


def held_because(record: Record) -> str | None:
    """Why an adjustment changed nothing, in a word; None if it did."""
    if record.decision.action is Action.HOLD:
        bound = record.decision.explanation.prefill.bound_by
        return bound.value if bound.value in ("blind", "idle", "patience") else "unchanged"
    if record.applied is None:
        return "unreachable"
    return None if record.applied.outcome == "applied" else record.applied.outcome.value
