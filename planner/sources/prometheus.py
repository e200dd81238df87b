"""Observations from a Prometheus server, over its HTTP API."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from planner.core.observation import Observation
from planner.finding import Finding, Health
from planner.sources.base import Source, SourceError, SourceStatus, without_password
from planner.sources.coverage import Coverage
from planner.sources.derive import Bucket, Readings, bound, derive
from planner.sources.mapping import MetricsMapping
from planner.sources.promql import QueryBuilder, catalogue
from planner.sources.selection import Labels, NotYetError, Selection, select

_CHECK_WINDOW_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How to get into Prometheus; all optional. The secrets stay out of its representation.

    Attributes:
        bearer_token: A token.
        bearer_token_file: A file with a token, read again whenever it changes.
        username: A user for basic authentication.
        password: That user's password.
        ca_file: PEM file of the authority that signed the server's certificate.
        verify: Whether to verify that certificate.
    """

    bearer_token: str | None = None
    bearer_token_file: Path | None = None
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    verify: bool = True

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Credentials(username={self.username!r}, verify={self.verify})"

    def auth(self) -> httpx.Auth | None:
        """Who to say that we are."""
        if self.bearer_token or self.bearer_token_file:
            return _BearerAuth(self.bearer_token, self.bearer_token_file)
        if self.username is not None:
            return httpx.BasicAuth(self.username, self.password or "")
        return None

    def tls(self) -> ssl.SSLContext | bool:
        """Whom to trust.

        Raises:
            SourceError: The CA file cannot be used.
        """
        if not self.verify:
            return False
        if self.ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SourceError(f"--prometheus-ca-file {self.ca_file} cannot be used: {error}") from error


class _BearerAuth(httpx.Auth):
    def __init__(self, token: str | None, file: Path | None) -> None:
        self._token, self._file = token, file
        self._read_at: tuple[int, int] | None = None

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if self._file is not None:
            await asyncio.to_thread(self._refresh, self._file)
        if not (self._token and self._token.strip() and self._token.isascii() and self._token.isprintable()):
            # The library's own message would show it.
            raise QueryError("the bearer token is empty or has characters that no header may have")
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request

    def _refresh(self, file: Path) -> None:
        """Read the file if it is not the one that was read last; a mounted secret is replaced, not edited."""
        try:
            status = file.stat()
            if (identity := (status.st_mtime_ns, status.st_ino)) != self._read_at:
                self._token, self._read_at = file.read_text(encoding="utf-8").strip(), identity
        except (OSError, UnicodeDecodeError) as error:
            raise QueryError(f"the token file {file} cannot be read: {error}") from error


class QueryError(Exception):
    """A query that got no usable answer; the message says why, without secrets."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an instant vector."""

    labels: Labels
    value: float


class PrometheusSource(Source):
    """Asks a Prometheus server what the frontends served."""

    def __init__(
        self,
        *,
        url: str,
        mapping: MetricsMapping,
        now: Callable[[], float],
        model_name: str | None = None,
        namespace: str | None = None,
        timeout_s: float = 10.0,
        credentials: Credentials | None = None,
    ) -> None:
        """Prepare; nothing is asked before ``start``.

        Args:
            url: Base URL of the server, with any path prefix.
            mapping: The names of the metrics.
            now: What the time is, seconds since the epoch.
            model_name: The model to observe, in any case; None if it is the only one.
            namespace: The namespace to observe, where series carry one.
            timeout_s: Longest time a query may take, seconds.
            credentials: How to get in.

        Raises:
            SourceError: The CA file cannot be used.
        """
        self._url = url.rstrip("/")
        self._shown = without_password(self._url)
        self._mapping = mapping
        self._now = now
        self._model_name = model_name
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._credentials = credentials or Credentials()
        self._client: httpx.AsyncClient | None = None
        self._selection: Selection | None = None
        self._tls = self._credentials.tls()
        self._status = SourceStatus(series_matched={}, errors={}, newest_data=None)

    @property
    def status(self) -> SourceStatus:
        """How the last read went."""
        return self._status

    def prefer_model(self, name: str | None) -> None:
        """Observe the model of this name, unless one was chosen already."""
        self._model_name = self._model_name or name

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
        values = {name: answer for name, answer in answers.items() if not isinstance(answer, QueryError)}
        coverage = _coverage(values, time, interval)
        if blindness := coverage.blindness:
            return self._blind(time, interval, "newest_scrape", errors.get("newest_scrape", blindness), coverage.newest)
        if gap := coverage.gap:
            errors |= {name: gap for name in self._mapping.counters() if name not in errors}
        self._status = SourceStatus(series_matched=matched, errors=errors, newest_data=coverage.newest)
        return derive(_readings(values, errors, selection, coverage), time=time, interval=interval)

    async def _ask(
        self, selection: Selection, interval: float, time: float
    ) -> dict[str, Sequence[Sample] | QueryError]:
        """All queries of a tick at once, and what each got."""
        queries = self._queries(QueryBuilder(self._mapping, selection, interval), time)
        answers = await asyncio.gather(*(self._try(query, time) for query in queries.values()))
        return dict(zip(queries, answers, strict=True))

    def _blind(self, time: float, interval: float, field: str, error: str, newest: float | None = None) -> Observation:
        self._status = SourceStatus(
            series_matched=self._status.series_matched,
            errors={field: error},
            newest_data=newest if newest is not None else self._status.newest_data,
        )
        return Observation(time=time, interval=interval)

    def _queries(self, build: QueryBuilder, time: float) -> dict[str, str]:
        """The queries of a tick that ends at ``time``, by the field they answer."""
        mapping = self._mapping
        queries = {name: build.counter(names) for name, names in mapping.counters().items() if names}
        queries |= {name: build.gauge(names) for name, names in mapping.gauges().items() if names}
        if mapping.inflight:
            queries["inflight_before"] = build.gauge(mapping.inflight, before=True)
        queries |= {name: build.mean(means) for name, means in mapping.means().items() if means}
        queries |= {
            f"{name} buckets": build.buckets(means)
            for name, means in mapping.means().items()
            if any(mean.bucket for mean in means)
        }
        if mapping.arrivals:
            queries["uncounted_arrivals"] = build.uncounted_arrivals()
        queries |= {
            "newest_scrape": build.newest_scrape(),
            "oldest_scrape": build.oldest_scrape(time),
            "scrapes": build.scrapes(),
        }
        return queries

    async def _resolve(self, time: float) -> tuple[Selection, Mapping[str, int]]:
        """The series that are ours, and how many each field has.

        Raises:
            QueryError: Prometheus did not answer.
            SourceError: What is wanted is not among what there is.
        """
        samples = await self._query(catalogue(self._mapping), time)
        selection = select(
            self._mapping,
            [sample.labels for sample in samples],
            model_name=self._model_name,
            namespace=self._namespace,
        )
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
            return await self._query(query, time)
        except QueryError as error:
            return error

    async def _query(self, query: str, time: float) -> Sequence[Sample]:
        """The instant vector that a query gives at a time.

        Raises:
            QueryError: There is no usable answer.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._connected().post(
                    f"{self._url}/api/v1/query", data={"query": query, "time": f"{time:.3f}"}
                )
        except TimeoutError:
            raise QueryError(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise QueryError(f"{type(error).__name__}: {error}") from error
        return _vector(response)

    async def value(self, query: str, time: float) -> float | None:
        """The sum over what a query gives at a time; None if that is nothing.

        Raises:
            QueryError: There is no usable answer.
        """
        values = [sample.value for sample in await self._query(query, time) if math.isfinite(sample.value)]
        return sum(values) if values else None

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            # One more try for a connection that the server closed while it was idle.
            transport = httpx.AsyncHTTPTransport(verify=self._tls, retries=1)
            self._client = httpx.AsyncClient(
                transport=transport, auth=self._credentials.auth(), timeout=httpx.Timeout(self._timeout_s)
            )
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def check(self) -> list[Finding]:
        """Ask everything a tick asks, and say what is missing."""
        time = self._now()
        try:
            selection, matched = await self._resolve(time)
        except QueryError as error:
            return [
                Finding(
                    subject="Prometheus",
                    health=Health.FAILED,
                    detail=f"{self._shown}: {error}",
                    remedy="set --metric-pulling-prometheus-endpoint (and its credentials) to a server that answers",
                )
            ]
        except SourceError as error:
            return [Finding(subject="metrics labels", health=Health.FAILED, detail=str(error), remedy="as it says")]
        findings = [Finding(subject="Prometheus", health=Health.OK, detail=f"{self._shown} answers")]
        if not selection.present:
            findings.append(
                Finding(
                    subject="frontends",
                    health=Health.FAILED,
                    detail="Prometheus has no series of any frontend",
                    remedy="let it scrape the frontends, or choose --metrics-preset to match them",
                )
            )
            return findings
        findings.append(_check_model(selection))
        answers = await self._ask(selection, _CHECK_WINDOW_S, time)
        findings.append(_check_scrapes(answers, time))
        findings += [_check_field(field, answers[field], matched.get(field)) for field in answers if field in matched]
        return findings


def _vector(response: httpx.Response) -> Sequence[Sample]:
    """The samples of an answer.

    Raises:
        QueryError: It is an error, or no instant vector.
    """
    try:
        content = response.json()
    except ValueError:
        raise QueryError(f"HTTP {response.status_code} with a body that is no JSON") from None
    if response.is_error or not isinstance(content, dict) or content.get("status") != "success":
        detail = content.get("error", "") if isinstance(content, dict) else ""
        raise QueryError(f"HTTP {response.status_code}: {detail or 'no success'}")
    try:
        return [Sample(labels=dict(one["metric"]), value=float(one["value"][1])) for one in content["data"]["result"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise QueryError(f"the answer is no instant vector: {error!r}") from error


def _scalar(samples: Sequence[Sample]) -> float | None:
    return samples[0].value if samples and math.isfinite(samples[0].value) else None


def _coverage(vectors: Mapping[str, Sequence[Sample]], time: float, interval: float) -> Coverage:
    return Coverage(
        start=time - interval,
        end=time,
        oldest=_scalar(vectors.get("oldest_scrape", ())),
        newest=_scalar(vectors.get("newest_scrape", ())),
        samples=int(_scalar(vectors.get("scrapes", ())) or 0),
    )


def _readings(
    vectors: Mapping[str, Sequence[Sample]], errors: Mapping[str, str], selection: Selection, coverage: Coverage
) -> Readings:
    """What the answers amount to, counters taken to the whole window if only a part of it was scraped."""
    values = {name: samples[0].value if samples else None for name, samples in vectors.items()}
    increases = {
        name: None if (value := values.get(name)) is None or coverage.gap else value / coverage.share
        for name in ("requests_started", "requests_completed")
    }
    if values.get("uncounted_arrivals"):
        increases["requests_started"] = None
    before = values.get("inflight_before")
    if before is None and coverage.from_start and "inflight_before" not in errors:
        # A server that was scraped when the window began, and had no such series, had no requests.
        before = 0.0
    return Readings(
        present=selection.present,
        increases=increases,
        means={name: values.get(name) for name in ("ttft_ms", "itl_ms", "isl", "osl", "request_duration_s")},
        gauges={name: values.get(name) for name in ("inflight", "queued")},
        inflight_before=before if coverage.from_start else None,
        buckets={
            name.removesuffix(" buckets"): _buckets(samples)
            for name, samples in vectors.items()
            if name.endswith(" buckets")
        },
        failed=set(errors),
    )


def _buckets(samples: Sequence[Sample]) -> list[Bucket]:
    return [Bucket(bound(sample.labels["le"]), sample.value) for sample in samples if "le" in sample.labels]


def _check_model(selection: Selection) -> Finding:
    if selection.model is None:
        return Finding(
            subject="model",
            health=Health.WARNING,
            detail="no series names a model yet: nothing has been served",
            remedy="send a request, or give --model-name",
        )
    place = f" in namespace {selection.namespace}" if selection.namespace else ""
    return Finding(subject="model", health=Health.OK, detail=f"{selection.model}{place}")


def _check_scrapes(answers: Mapping[str, Sequence[Sample] | QueryError], time: float) -> Finding:
    values = {name: answer for name, answer in answers.items() if not isinstance(answer, QueryError)}
    coverage = _coverage(values, time, _CHECK_WINDOW_S)
    if coverage.blindness:
        return Finding(
            subject="scrapes",
            health=Health.FAILED,
            detail=coverage.blindness,
            remedy="let Prometheus scrape the frontends, or choose --metrics-preset to match them",
        )
    age_s = time - (coverage.newest or time)
    return Finding(subject="scrapes", health=Health.OK, detail=f"the newest sample is {age_s:.0f} s old")


def _check_field(field: str, answer: Sequence[Sample] | QueryError, series: int | None) -> Finding:
    subject = f"query {field}"
    if isinstance(answer, QueryError):
        return Finding(subject=subject, health=Health.FAILED, detail=str(answer), remedy="see Prometheus' own log")
    if not series:
        return Finding(
            subject=subject,
            health=Health.WARNING,
            detail="no series",
            remedy="none if nothing was served yet or this version has no such metric; else check --metrics-preset",
        )
    return Finding(subject=subject, health=Health.OK, detail=f"{series} series")
