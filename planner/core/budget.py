"""The hard cap on GPUs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds whatever the load.

    Attributes:
        min_endpoint: Workers that each pool keeps.
        max_gpus: GPUs that all workers together may use; None for no cap.
        prefill_gpus: GPUs of one prefill worker.
        decode_gpus: GPUs of one decode worker.
        aggregated: Whether there is a single pool, which counts as decode, so that no prefill workers are kept.
    """

    min_endpoint: int
    max_gpus: int | None
    prefill_gpus: int
    decode_gpus: int
    aggregated: bool = False

    @property
    def least(self) -> tuple[int, int]:
        """Prefill and decode workers that are kept."""
        return (0 if self.aggregated else self.min_endpoint), self.min_endpoint

    def gpus(self, prefill: int, decode: int) -> int:
        """GPUs that so many workers use."""
        return prefill * self.prefill_gpus + decode * self.decode_gpus

    def raise_to_minimum(self, prefill: int, decode: int) -> tuple[int, int]:
        """The workers, at least the minimum of each pool."""
        return max(prefill, self.least[0]), max(decode, self.least[1])

    def cut_to_budget(self, prefill: int, decode: int) -> tuple[int, int]:
        """The workers, in the same proportion as far as whole workers allow, within the cap.

        Both pools keep their minimum, and neither gets more than asked for. GPUs that rounding leaves over go to
        prefill first: a request without its first token is not served at all.

        Args:
            prefill: Prefill workers asked for, at least the minimum.
            decode: Decode workers asked for, at least the minimum.
        """
        if self.max_gpus is None or self.gpus(prefill, decode) <= self.max_gpus:
            return prefill, decode
        if self.aggregated:
            return 0, min(decode, self.max_gpus // self.decode_gpus)
        share = self.max_gpus / self.gpus(prefill, decode)
        most_prefill = (self.max_gpus - self.min_endpoint * self.decode_gpus) // self.prefill_gpus
        fitting_prefill = min(most_prefill, max(self.min_endpoint, int(prefill * share)))
        fitting_decode = min(decode, (self.max_gpus - fitting_prefill * self.prefill_gpus) // self.decode_gpus)
        left_over = (self.max_gpus - self.gpus(fitting_prefill, fitting_decode)) // self.prefill_gpus
        return min(prefill, fitting_prefill + left_over), fitting_decode

    def holds(self, prefill: int, decode: int) -> bool:
        """Whether so many workers are within the cap."""
        return self.max_gpus is None or self.gpus(prefill, decode) <= self.max_gpus

    def fill_up(self, fitting: tuple[int, int], wishes: tuple[int, int]) -> tuple[int, int]:
        """What fits of wishes besides workers that fit.

        Args:
            fitting: Prefill and decode workers within the cap.
            wishes: Prefill and decode workers that would be kept, at least ``fitting``.
        """
        if self.max_gpus is None:
            return wishes
        prefill, decode = fitting
        prefill += min(wishes[0] - prefill, (self.max_gpus - self.gpus(prefill, decode)) // self.prefill_gpus)
        decode += min(wishes[1] - decode, (self.max_gpus - self.gpus(prefill, decode)) // self.decode_gpus)
        return prefill, decode
