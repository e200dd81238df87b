"""What the metrics of a server are called."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from planner.sources.base import SourceError

PRESETS = ("dynamo", "vllm", "sglang")


class Mean(BaseModel):
    """A mean as two counters: the sum of the values and their number.

    Attributes:
        sum: Name of the counter of the sum.
        count: Name of the counter of the number.
        bucket: Name of the histogram's buckets; None if it is no histogram.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sum: str
    count: str
    bucket: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_histogram(cls, value: Any) -> Any:
        """A bare name is that of a histogram."""
        if isinstance(value, str):
            return {"sum": f"{value}_sum", "count": f"{value}_count", "bucket": f"{value}_bucket"}
        return value


class MetricsMapping(BaseModel):
    """The names of a server's metrics; times in seconds, lengths in tokens.

    Of counters and means, the first name whose series exist is used; gauges are added up.

    Attributes:
        model_label: Label with the model's name.
        namespace_label: Label that tells deployments apart; None if there is none.
        ignored_models: Values of the model label that are no models.
        arrivals: Counters of requests at their arrival.
        completions: Counters of requests at their end.
        inflight: Gauges of requests in the system.
        queued: Gauges of requests that wait.
        presence: Series that are there as soon as the server is, called or not.
        ttft: Time to first token.
        itl: Inter-token latency.
        isl: Input sequence length.
        osl: Output sequence length.
        duration: Duration of a request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_label: str
    namespace_label: str | None = None
    ignored_models: tuple[str, ...] = ()
    arrivals: tuple[str, ...] = ()
    completions: tuple[str, ...] = Field(min_length=1)
    inflight: tuple[str, ...] = ()
    queued: tuple[str, ...] = ()
    presence: tuple[str, ...] = ()
    ttft: tuple[Mean, ...] = Field(min_length=1)
    itl: tuple[Mean, ...] = Field(min_length=1)
    isl: tuple[Mean, ...] = Field(min_length=1)
    osl: tuple[Mean, ...] = Field(min_length=1)
    duration: tuple[Mean, ...] = ()

    def counters(self) -> dict[str, tuple[str, ...]]:
        """The names of counters, by field."""
        return {"requests_started": self.arrivals, "requests_completed": self.completions}

    def gauges(self) -> dict[str, tuple[str, ...]]:
        """The names of gauges, by field."""
        return {"inflight": self.inflight, "queued": self.queued}

    def means(self) -> dict[str, tuple[Mean, ...]]:
        """The means, by field."""
        return {
            "ttft_ms": self.ttft,
            "itl_ms": self.itl,
            "isl": self.isl,
            "osl": self.osl,
            "request_duration_s": self.duration,
        }

    def fields(self) -> dict[str, tuple[str, ...]]:
        """The names that show whether a field has series."""
        counts = {field: tuple(mean.count for mean in means) for field, means in self.means().items()}
        return {**self.counters(), **self.gauges(), **counts}

    def names(self) -> set[str]:
        """Every name there is."""
        means = [mean for of_field in self.means().values() for mean in of_field]
        from_means = {name for mean in means for name in (mean.sum, mean.count, mean.bucket) if name}
        return {*self.arrivals, *self.completions, *self.inflight, *self.queued, *self.presence, *from_means}

    def telling_names(self) -> Iterator[str]:
        """One name for each thing measured: enough to see which models there are and how fresh the data is."""
        yield from self.presence
        for names in self.fields().values():
            yield from names


def load_mapping(preset: str, file: Path | None = None) -> MetricsMapping:
    """The mapping of a YAML file, or else of a preset.

    Args:
        preset: One of PRESETS.
        file: A file of the same shape as the presets in ``planner/sources/presets``.

    Raises:
        SourceError: The file cannot be read or is not of that shape.
    """
    origin = str(file) if file else f"preset {preset}"
    try:
        text = (
            file.read_text(encoding="utf-8")
            if file
            else files("planner.sources").joinpath("presets", f"{preset}.yaml").read_text(encoding="utf-8")
        )
        return MetricsMapping.model_validate(yaml.safe_load(text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceError(f"metrics mapping {origin} cannot be read: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{_key(one['loc'])}: {one['msg']}" for one in error.errors())
        accepted = ", ".join(MetricsMapping.model_fields)
        raise SourceError(f"metrics mapping {origin}: {problems}. Accepted keys: {accepted}") from error


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "the file"
