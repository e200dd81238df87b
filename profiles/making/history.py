"""Fitting a profile to what a deployment served, or correcting one by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from profiles.data import ProfileData, data_of_points
from profiles.engine import EngineProfile
from profiles.itl_fit import ItlFit
from profiles.making.grid import geometric
from profiles.making.progress import MakingError
from profiles.prefill import PrefillProfile
from profiles.provenance import Provenance, now, tool

Vector = NDArray[np.float64]

# Beyond this utilisation most of TTFT is waiting, and what is left of it is mostly error.
_BUSIEST = 0.7
_LEAST_INTERVALS = 5
# Observations this far away, as a factor in length or batch, count by 0.6.
_NEAR = math.log(1.5)
# So many requests' worth of belief in the median ratio wherever nothing was observed.
_PRIOR_SHARE = 0.05
# Standard deviations off the others, and the least such distance, as a logarithm, that is odd at all.
_OUTLIER, _NOISE = 4.0, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a deployment served in one interval; None is unknown.

    Attributes:
        requests: Requests that it completed.
        rate_rps: Requests that arrived, per second.
        isl: Mean input, tokens.
        osl: Mean output, tokens.
        ttft_ms: Mean time to first token, milliseconds.
        itl_ms: Mean inter-token latency, milliseconds.
        prefill_workers: Prefill engines that served.
        decode_workers: Decode engines that served.
    """

    requests: float
    rate_rps: float
    isl: float
    osl: float
    ttft_ms: float
    itl_ms: float
    prefill_workers: float
    decode_workers: float

    @property
    def idle_ttft_ms(self) -> float:
        """TTFT without the wait, milliseconds.

        The mean response time W of a queue with Poisson arrivals at rate r and a constant service time S is
        S + r S^2 / (2 (1 - r S)) (Pollaczek-Khinchine); solved for S.
        """
        load = self.rate_rps / self.prefill_workers * self.ttft_ms / 1000
        return self.ttft_ms * (1 + load - math.sqrt(1 + load * load)) / load if load > 1e-9 else self.ttft_ms

    @property
    def utilisation(self) -> float:
        """Share of the time in which a prefill engine is busy."""
        return self.rate_rps / self.prefill_workers * self.idle_ttft_ms / 1000

    @property
    def concurrency(self) -> float:
        """Sequences that a decode engine had on average, at least 1 (Little's law)."""
        return max(1.0, self.rate_rps * self.osl * self.itl_ms / 1000 / self.decode_workers)

    @property
    def context_length(self) -> float:
        """Mean context length while decoding, tokens."""
        return self.isl + self.osl / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A profile made of what was served.

    Attributes:
        data: The profile.
        intervals: Intervals it was fitted to.
        left_out: Intervals that told nothing of TTFT because queues were long, or that were far off the others.
        ttft_error: Median relative error of the fitted TTFT over the intervals.
        itl_error: Median relative error of the fitted ITL over the intervals.
        ttft_ratio: Observed over base TTFT, median; None without a base.
        itl_ratio: Observed over base ITL, median; None without a base.
        notes: What to keep in mind.
    """

    data: ProfileData
    intervals: int
    left_out: int
    ttft_error: float
    itl_error: float
    ttft_ratio: float | None
    itl_ratio: float | None
    notes: Sequence[str]


def fit_history(
    served: Sequence[Served],
    *,
    provenance: Provenance,
    base: ProfileData | None = None,
    max_kv_tokens: int | None = None,
) -> Fitted:
    """Correct a profile by what was served, or fit one where there is none.

    With a base its shape is kept: each of its points is scaled by observed over expected latency, near ones counting
    most, and by their median where nothing was observed. Without one, the monotone models of TTFT and ITL are fitted to
    the observations, and the profile covers no more than they do.

    Args:
        served: What was served, interval by interval.
        provenance: What the profile is of.
        base: The profile to correct.
        max_kv_tokens: Tokens that the KV cache of a decode engine holds; the base's if left out.

    Raises:
        MakingError: Too little was served to tell anything, or the size of the KV cache is unknown.
    """
    tokens = max_kv_tokens or (base.decode.max_kv_tokens if base else None)
    if tokens is None:
        raise MakingError("give --max-kv-tokens, or a profile to correct with --base: metrics do not tell the KV cache")
    calm = [one for one in served if one.utilisation <= _BUSIEST]
    if len(calm) < _LEAST_INTERVALS:
        raise MakingError(
            f"{len(served)} intervals with requests were found, {len(calm)} of them without long queues; at least "
            f"{_LEAST_INTERVALS} are needed: look further back with --history, or give --prefill-workers as they were"
        )
    engines = base.engines() if base else None
    prefill = _Prefill(calm, engines)
    decode = _Decode(served, engines, tokens)
    details = {
        "tool": tool(),
        "intervals": len(prefill.ratios),
        "observed": {**prefill.covered, **decode.covered},
        **({"base": base.provenance.as_dict()} if base else {}),
    }
    known = provenance if base is None else _filled(provenance, base.provenance)
    return Fitted(
        data=data_of_points(
            prefill.points(base),
            decode.points(base),
            max_kv_tokens=tokens,
            provenance=replace(known, how="observed", created=now(), details=details),
        ),
        intervals=len(prefill.ratios),
        left_out=len(served) - len(prefill.ratios),
        ttft_error=prefill.error,
        itl_error=decode.error,
        ttft_ratio=prefill.median if base else None,
        itl_ratio=decode.median if base else None,
        notes=(*prefill.notes(), *decode.notes()),
    )


def _filled(known: Provenance, base: Provenance) -> Provenance:
    """What is known, and where it is not, what the base knew."""
    texts = {
        name: getattr(known, name) or getattr(base, name) for name in ("model", "system", "backend", "backend_version")
    }
    engines = {}
    for role in ("prefill", "decode"):
        mine, others = getattr(known, role), getattr(base, role)
        engines[role] = replace(
            others, **{key: getattr(mine, key) or getattr(others, key) for key in ("gpus", "tp", "max_num_seqs")}
        )
    return replace(known, **texts, **engines)


class _Correction:
    """Observed over expected latency, as a function of where it was observed."""

    def __init__(self, at: Vector, ratios: Vector, weights: Vector) -> None:
        """Leave out what is far off the others, such as intervals in which workers warmed up.

        Args:
            at: Where: logarithms, shape (n, dimensions).
            ratios: Observed over expected, shape (n,).
            weights: Requests in each interval, shape (n,).
        """
        logs = np.log(ratios)
        self.kept = np.ones(len(logs), dtype=bool)
        for _ in range(2):
            self._at, self._logs, self._weights = at[self.kept], logs[self.kept], weights[self.kept]
            self.median = float(np.exp(np.median(self._logs)))
            self._prior = _PRIOR_SHARE * float(self._weights.sum())
            off = np.abs(logs - np.log([self(*where) for where in at]))
            self.kept = off <= max(_OUTLIER * 1.4826 * float(np.median(off)), _NOISE)

    def __call__(self, *where: float) -> float:
        """The factor at a place: nearby observations, drawn towards the median where there are few."""
        distance = np.sum((self._at - np.array(where)) ** 2, axis=1) / (2 * _NEAR**2)
        near = self._weights * np.exp(-distance)
        total = near.sum() + self._prior
        return float(np.exp((near @ self._logs + self._prior * math.log(self.median)) / total))


class _Prefill:
    """TTFT by input length."""

    def __init__(self, served: Sequence[Served], engines: EngineProfile | None) -> None:
        self._isl = np.array([one.isl for one in served])
        self._ttft = np.array([one.idle_ttft_ms for one in served])
        weights = np.array([one.requests * (1 - one.utilisation) ** 2 for one in served])
        fitted = engines.prefill if engines else _fitted_prefill(self._isl, self._ttft, weights)
        expected = np.array([fitted.ttft_ms(isl) for isl in self._isl])
        correction = _Correction(np.log(self._isl)[:, None], self._ttft / expected, weights)
        kept = correction.kept
        self.ratios = (self._ttft / expected)[kept]
        self.median = correction.median
        self._corrected: Callable[[float], float] = lambda isl: fitted.ttft_ms(isl) * correction(math.log(isl))
        self._range = float(self._isl[kept].min()), float(self._isl[kept].max())
        again = np.array([self._corrected(isl) for isl in self._isl[kept]])
        self.error = float(np.median(np.abs(again / self._ttft[kept] - 1)))
        self.covered = {"isl": [round(length) for length in self._range]}

    def points(self, base: ProfileData | None) -> list[tuple[float, float]]:
        """The points of the profile: those of the base, or over what was observed and half as much around it."""
        if base is not None:
            lengths = np.unique(base.prefill.columns["prefill_isl"]).tolist()
        else:
            lengths = [float(isl) for isl in geometric(self._range[0] / 1.5, self._range[1] * 1.5, 8)]
        return [(isl, self._corrected(isl)) for isl in lengths]

    def notes(self) -> list[str]:
        """What to keep in mind."""
        least, most = self._range
        if most < 1.3 * least:
            return [f"mean inputs were all about {(least + most) / 2:.0f} tokens: TTFT at other lengths is a guess"]
        return []


def _fitted_prefill(isl: Vector, ttft_ms: Vector, weights: Vector) -> PrefillProfile:
    """The monotone model of TTFT through means of neighbouring lengths; so much a token if all lengths are alike."""
    order = np.argsort(isl)
    groups = [group for group in np.array_split(order, min(8, max(1, len(isl) // 3))) if len(group)]
    lengths = np.array([np.average(isl[group], weights=weights[group]) for group in groups])
    latencies = np.array([np.average(ttft_ms[group], weights=weights[group]) for group in groups])
    if len(lengths) < 2 or lengths[-1] < 1.3 * lengths[0]:
        middle, latency = float(np.mean(lengths)), float(np.mean(latencies))
        lengths, latencies = np.array([middle / 2, middle * 2]), np.array([latency / 2, latency * 2])
    unique, index = np.unique(lengths, return_index=True)
    return PrefillProfile(unique, np.maximum.accumulate(latencies[index]), gpus=1)


class _Decode:
    """ITL by concurrency and context length."""

    def __init__(self, served: Sequence[Served], engines: EngineProfile | None, max_kv_tokens: int) -> None:
        self._tokens = max_kv_tokens
        self._batch = np.array([one.concurrency for one in served])
        self._context = np.array([one.context_length for one in served])
        self._itl = np.array([one.itl_ms for one in served])
        weights = np.array([one.requests * one.osl for one in served])
        fitted: Callable[[float, float], float]
        if engines:
            fitted = engines.decode.itl_ms
        else:
            fitted = ItlFit(self._batch, self._context, self._itl, weights / weights.mean())
        expected = np.array([fitted(n, y) for n, y in zip(self._batch, self._context, strict=True)])
        where = np.log(np.stack([self._batch, self._context], axis=1))
        correction = _Correction(where, self._itl / expected, weights)
        kept = correction.kept
        self.median = correction.median
        self._corrected: Callable[[float, float], float] = lambda n, y: (
            fitted(n, y) * correction(math.log(n), math.log(y))
        )
        self._batches = float(self._batch[kept].min()), float(self._batch[kept].max())
        self._contexts = float(self._context[kept].min()), float(self._context[kept].max())
        again = np.array([self._corrected(n, y) for n, y in zip(self._batch[kept], self._context[kept], strict=True)])
        self.error = float(np.median(np.abs(again / self._itl[kept] - 1)))
        self.covered = {
            "concurrency": [round(number, 1) for number in self._batches],
            "context_length": [round(length) for length in self._contexts],
        }

    def points(self, base: ProfileData | None) -> list[tuple[float, float, float]]:
        """The points of the profile: those of the base, or over what was observed."""
        if base is not None:
            batch, context = base.decode.concurrency.tolist(), base.decode.columns["y_context_length"].tolist()
            pairs = [(max(1.0, n), y) for n, y in zip(batch, context, strict=True)]
        else:
            contexts = geometric(*self._contexts, 4)
            most = 1.25 * self._batches[1]
            pairs = [
                (float(n), float(y)) for y in contexts for n in geometric(1, max(2.0, min(most, self._tokens / y)), 8)
            ]
        return [(n, y, self._corrected(n, y)) for n, y in pairs if n * y <= self._tokens]

    def notes(self) -> list[str]:
        """What to keep in mind."""
        least, most = self._batches
        if most < 1.5 * least:
            return [
                f"decode engines always had about {(least + most) / 2:.0f} sequences: ITL of other batches is a guess"
            ]
        return [f"decode engines had {least:.0f} to {most:.0f} sequences; beyond that ITL is extrapolated"]
