"""Where a profile comes from: ``meta.json`` beside its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Self

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_TEXTS = ("model", "system", "backend", "backend_version", "how", "created")
_ENGINE_NUMBERS = ("gpus", "tp", "max_num_seqs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The engine of one role, as it was profiled; None is unknown.

    Attributes:
        gpus: GPUs of one engine.
        tp: Its tensor parallelism.
        max_num_seqs: Sequences it runs at once at most.
        details: Whatever else is noted about it.
    """

    gpus: int | None = None
    tp: int | None = None
    max_num_seqs: int | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    @classmethod
    def read(cls, section: Any) -> Self:
        """Of a section of ``meta.json``; what is no whole number above 0 is taken for unknown."""
        if not isinstance(section, dict):
            return cls()
        numbers = {key: value for key in _ENGINE_NUMBERS if (value := _number(section.get(key))) is not None}
        return cls(**numbers, details={key: value for key, value in section.items() if key not in _ENGINE_NUMBERS})

    def as_dict(self) -> dict[str, Any]:
        """As a section of ``meta.json``."""
        numbers = {key: value for key in _ENGINE_NUMBERS if (value := getattr(self, key)) is not None}
        return {**numbers, **self.details}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a profile is of, and how it was made; None is unknown.

    Attributes:
        how: ``estimated``, ``measured``, ``observed`` or any other words.
        created: When, in ISO 8601.
        model: The model.
        system: The GPUs.
        backend: The engine's software.
        backend_version: Its version.
        prefill: The prefill engine.
        decode: The decode engine.
        details: Whatever else is noted: versions of tools, targets, candidates, notes.
    """

    how: str | None = None
    created: str | None = None
    model: str | None = None
    system: str | None = None
    backend: str | None = None
    backend_version: str | None = None
    prefill: Engine = Engine()
    decode: Engine = Engine()
    details: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Of the content of ``meta.json``; of a value of another type than expected nothing is known."""
        texts = {key: value for key in _TEXTS if isinstance(value := content.get(key), str) and value}
        known = {*_TEXTS, "prefill", "decode"}
        return cls(
            **texts,
            prefill=Engine.read(content.get("prefill")),
            decode=Engine.read(content.get("decode")),
            details={key: value for key, value in content.items() if key not in known},
        )

    def as_dict(self) -> dict[str, Any]:
        """As the content of ``meta.json``."""
        texts = {key: value for key in _TEXTS if (value := getattr(self, key)) is not None}
        return {**texts, "prefill": self.prefill.as_dict(), "decode": self.decode.as_dict(), **self.details}

    def mismatches(self, *, model: str | None = None, backend: str | None = None) -> Iterator[str]:
        """Sentences about what a deployment has and the profile was not made with.

        Args:
            model: The model that is deployed, in any case, with or without its organisation; None if unknown.
            backend: The engine that is deployed; None if unknown.
        """
        if model and self.model and not same_model(model, self.model):
            yield f"the profile was made with model {self.model!r}, {model!r} is deployed: profile that one"
        if backend and self.backend and backend.lower() != self.backend.lower():
            yield f"the profile was made with backend {self.backend}, {backend} is deployed: profile that one"


def same_model(one: str, other: str) -> bool:
    """Whether two names mean the same model: ``Qwen/Qwen3-32B`` is ``qwen3-32b`` and ``/models/Qwen3-32B``."""
    return one.lower() == other.lower() or (
        ("/" in one) + ("/" in other) == 1
        and one.rstrip("/").rpartition("/")[2].lower() == other.rstrip("/").rpartition("/")[2].lower()
    )


def now() -> str:
    """The present time for ``created``."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def tool() -> str:
    """This program and its version, for ``details``."""
    return f"sla-planner {version('sla-planner')}"


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
