"""What was picked for a request, and why: as a table to read, and as annotations that stay with the deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from planner.dgdr.engines import Parallelism
from planner.dgdr.terms import Sla
from planner.profile.tables import Sheet
from profiles.making.estimate import Candidate

CHOICE, REASON = "planner.dynamo/choice", "planner.dynamo/reason"
"""Annotations of a generated deployment: every figure for programs, and why for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """The engine of one role.

    Attributes:
        role: ``prefill`` or ``decode``.
        parallelism: How it is spread over its GPUs.
        latency_ms: TTFT of the expected input on the idle engine, or ITL at ``concurrency``, milliseconds.
        target_ms: What that is to be at most.
        concurrency: Sequences that it decodes at once within the target; 1 for prefill.
        throughput_per_gpu: Input or output tokens per second and GPU.
        max_kv_tokens: Tokens that its KV cache holds; None if that is not known.
    """

    role: str
    parallelism: Parallelism
    latency_ms: float
    target_ms: float
    concurrency: int
    throughput_per_gpu: float
    max_kv_tokens: int | None = None

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.latency_ms <= self.target_ms

    def as_dict(self) -> dict[str, Any]:
        """For the annotation."""
        return {
            **asdict(self.parallelism),
            "latencyMs": round(self.latency_ms, 2),
            "targetMs": self.target_ms,
            "concurrency": self.concurrency,
            "tokensPerSecondPerGpu": round(self.throughput_per_gpu, 1),
            **({"maxKvTokens": self.max_kv_tokens} if self.max_kv_tokens else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was picked, and why.

    Attributes:
        model: The model.
        backend: The engine's software.
        system: The GPUs; None if the profile does not say.
        how: Where the figures are from, such as ``estimated with aiconfigurator-core 0.12.0``.
        sla: What is to be met.
        prefill: The engine of the prefill workers.
        decode: The engine of the decode workers.
        reason: Why these, in a sentence.
        candidates: Every engine looked at, by backend.
        refused: Why others do not run, by backend and what they are.
        notes: What is worth knowing, a sentence each.
    """

    model: str
    backend: str
    system: str | None
    how: str
    sla: Sla
    prefill: Picked
    decode: Picked
    reason: str
    candidates: Mapping[str, Sequence[Candidate]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def annotations(self) -> dict[str, str]:
        """What is kept with the deployment: the reason for people, all figures for programs."""
        content = {
            "model": self.model,
            "backend": self.backend,
            **({"system": self.system} if self.system else {}),
            "how": self.how,
            "sla": {
                "isl": self.sla.isl,
                "osl": self.sla.osl,
                "ttftMs": self.sla.ttft_ms,
                "itlMs": self.sla.itl_ms,
            },
            "prefill": self.prefill.as_dict(),
            "decode": self.decode.as_dict(),
            "candidates": [_as_dict(backend, one) for backend, found in self.candidates.items() for one in found],
            "refused": dict(self.refused),
            "notes": list(self.notes),
        }
        return {REASON: self.reason, CHOICE: json.dumps(content, separators=(",", ":"), sort_keys=True)}

    def sheets(self) -> tuple[Sheet, ...]:
        """What is printed."""
        rows = [
            (one.role, str(one.parallelism), str(one.parallelism.gpus), _latency(one), _capacity(one))
            for one in (self.prefill, self.decode)
        ]
        headings = ("role", "engine", "GPUs", "expected", "throughput")
        chosen = Sheet(f"{self.model} with {self.backend} on {self.system or 'unknown GPUs'}", headings, rows)
        return (chosen, *([self._candidates()] if self.candidates else []))

    def _candidates(self) -> Sheet:
        several = len(self.candidates) > 1
        headings = (
            *(["backend"] if several else []),
            "role",
            "TP",
            "latency",
            "sequences",
            "tokens/s/GPU",
            "target",
            "",
        )
        return Sheet("Engines looked at", headings, list(self._rows(several=several)))

    def _rows(self, *, several: bool) -> Iterator[tuple[str, ...]]:
        for backend, found in self.candidates.items():
            for role in (self.prefill, self.decode):
                for one in found:
                    if one.role != role.role:
                        continue
                    chosen = backend == self.backend and one.tp == role.parallelism.tp
                    yield (
                        *([backend] if several else []),
                        one.role,
                        str(one.tp),
                        f"{'TTFT' if one.role == 'prefill' else 'ITL'} {one.latency_ms:.1f} ms",
                        str(one.batch),
                        f"{one.throughput_per_gpu:.0f}",
                        "met" if one.feasible else "missed",
                        "chosen" if chosen else "",
                    )


def _latency(one: Picked) -> str:
    if one.role == "prefill":
        return f"TTFT {one.latency_ms:.0f} of {one.target_ms:g} ms, idle"
    return f"ITL {one.latency_ms:.1f} of {one.target_ms:g} ms, {one.concurrency} sequences"


def _capacity(one: Picked) -> str:
    kind = "input" if one.role == "prefill" else "output"
    return f"{one.throughput_per_gpu:.0f} {kind} tokens/s/GPU"


def _as_dict(backend: str, one: Candidate) -> dict[str, Any]:
    """A candidate for the annotation, in the words of ``Picked.as_dict``."""
    return {
        "backend": backend,
        "role": one.role,
        "tp": one.tp,
        "latencyMs": round(one.latency_ms, 2),
        "concurrency": one.batch,
        "tokensPerSecondPerGpu": round(one.throughput_per_gpu, 1),
        "maxKvTokens": one.max_kv_tokens,
        "met": one.feasible,
    }
