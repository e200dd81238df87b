"""Observations from a Prometheus server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from planner.core.observation import Observation
from planner.finding import Finding, Health
from planner.sources.base import SourceError, SourceStatus
from planner.sources.derive import derive
from planner.sources.findings import of_labels
from planner.sources.frontends import FrontendSource
from planner.sources.mapping import MetricsMapping
from planner.sources.prometheus import findings
from planner.sources.prometheus.answers import Vectors, coverage_of, readings_of
from planner.sources.prometheus.api import PrometheusApi, QueryError, Sample
from planner.sources.prometheus.promql import QueryBuilder, catalogue
from planner.sources.selection import NotYetError, Selection

_CHECK_WINDOW_S = 300.0


class PrometheusSource(FrontendSource):
    """Asks a Prometheus server what the frontends served."""

    def __init__(
        self,
        api: PrometheusApi,
        *,
        mapping: MetricsMapping,
        now: Callable[[], float],
        model_name: str | None = None,
        namespace: str | None = None,
    ) -> None:
        """Prepare; nothing is asked before ``start``.

        Args:
            api: The server; it is closed with the source.
            mapping: The names of the metrics.
            now: What the time is, seconds since the epoch.
            model_name: The model to observe, in any case; None if it is the only one.
            namespace: The namespace to observe, where series carry one.
        """
        super().__init__(mapping=mapping, now=now, model_name=model_name, namespace=namespace)
        self._api = api
        self._selection: Selection | None = None

    async def start(self) -> None:
        """See which series are ours; a server that cannot be reached yet, or a namespace without series, is no error.

        Raises:
            SourceError: The model wanted is not among those there are, or none is wanted of several.
        """
        try:
            await self._resolve(self._now())
        except (QueryError, NotYetError) as error:
            self._status = SourceStatus(series_matched={}, errors={"series": str(error)}, newest_data=None)

    async def observe(self, interval: float) -> Observation:
        """What happened in the ``interval`` seconds that end now; see Source."""
        time = self._now()
        try:
            used = self._selection or (await self._resolve(time))[0]
            # What is there is looked up beside the queries; only when it has changed they are asked again.
            resolved, answers = await asyncio.gather(self._try_to_resolve(time), self._ask(used, interval, time))
            if isinstance(resolved, Exception):
                raise resolved
            selection, matched = resolved
            if selection != used:
                answers = await self._ask(selection, interval, time)
        except (QueryError, SourceError) as error:
            return self._blind(time, interval, "series", str(error))
        errors = {name: str(answer) for name, answer in answers.items() if isinstance(answer, QueryError)}
        values = _answered(answers)
        coverage = coverage_of(values, time, interval)
        if blindness := coverage.blindness:
            return self._blind(time, interval, "newest_scrape", errors.get("newest_scrape", blindness), coverage.newest)
        if gap := coverage.gap:
            errors |= {name: gap for name in self._mapping.counters() if name not in errors}
        self._status = SourceStatus(series_matched=matched, errors=errors, newest_data=coverage.newest)
        return derive(readings_of(values, errors, selection, coverage), time=time, interval=interval)

    async def _ask(
        self, selection: Selection, interval: float, time: float
    ) -> dict[str, Sequence[Sample] | QueryError]:
        """All queries of a tick at once, and what each got."""
        queries = QueryBuilder(self._mapping, selection, interval).of_tick(time)
        answers = await asyncio.gather(*(self._try(query, time) for query in queries.values()))
        return dict(zip(queries, answers, strict=True))

    def _blind(self, time: float, interval: float, field: str, error: str, newest: float | None = None) -> Observation:
        self._status = SourceStatus(
            series_matched=self._status.series_matched,
            errors={field: error},
            newest_data=newest if newest is not None else self._status.newest_data,
        )
        return Observation(time=time, interval=interval)

    async def _resolve(self, time: float) -> tuple[Selection, Mapping[str, int]]:
        """The series that are ours, and how many each field has.

        Raises:
            QueryError: Prometheus did not answer.
            SourceError: What is wanted is not among what there is.
        """
        samples = await self._api.query(catalogue(self._mapping), time)
        selection = self._select([sample.labels for sample in samples])
        ours = [sample for sample in samples if selection.takes(self._mapping, sample.labels)]
        matched = {
            field: int(sum(sample.value for sample in ours if sample.labels.get("__name__") in names))
            for field, names in self._mapping.fields().items()
        }
        self._selection = selection
        return selection, matched

    async def _try_to_resolve(self, time: float) -> tuple[Selection, Mapping[str, int]] | QueryError | SourceError:
        try:
            return await self._resolve(time)
        except (QueryError, SourceError) as error:
            return error

    async def _try(self, query: str, time: float) -> Sequence[Sample] | QueryError:
        try:
            return await self._api.query(query, time)
        except QueryError as error:
            return error

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def check(self) -> list[Finding]:
        """Ask everything a tick asks, and say what is missing."""
        time = self._now()
        try:
            selection, matched = await self._resolve(time)
        except QueryError as error:
            return [findings.no_answer(self._api.shown, error)]
        except SourceError as error:
            return [of_labels(error)]
        answers = [Finding(subject="Prometheus", health=Health.OK, detail=f"{self._api.shown} answers")]
        if not selection.present:
            return [*answers, findings.no_frontend()]
        vectors = await self._ask(selection, _CHECK_WINDOW_S, time)
        return [
            *answers,
            findings.of_model(selection),
            findings.of_scrapes(coverage_of(_answered(vectors), time, _CHECK_WINDOW_S)),
            *(findings.of_field(field, vectors[field], matched[field]) for field in vectors if field in matched),
        ]


def _answered(answers: Mapping[str, Sequence[Sample] | QueryError]) -> Vectors:
    return {name: answer for name, answer in answers.items() if not isinstance(answer, QueryError)}
