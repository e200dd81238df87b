"""A decision in the making, and its reason in words."""

from __future__ import annotations

from dataclasses import dataclass

from planner.core.decision import Bound, LoadForecast, PoolExplanation
from planner.core.observation import Observation
from planner.core.sizing import Corrections, Requirement


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A decision in the making; pairs are prefill and decode.

    Attributes:
        observation: What it is decided on.
        forecast: The load expected in the next interval; None if nothing was ever observed.
        corrections: How slow engines are.
        previous: Workers asked for before; None where unknown.
        sized_for: The load that the workers are for; None where it was not sized.
        requirement: What that load needs; None where it was not sized.
        needs: What is needed, the minimum included and the budget not.
        kept: Workers that are not given up though fewer may do; None where it was not sized.
        targets: The workers decided on.
        bound: What fixed the targets, if not the load.
        cause: Why, if not for the load.
    """

    observation: Observation
    forecast: LoadForecast | None
    corrections: Corrections
    previous: tuple[int | None, int | None]
    sized_for: LoadForecast | None = None
    requirement: Requirement | None = None
    needs: tuple[int, int] = (0, 0)
    kept: tuple[int | None, int | None] = (None, None)
    targets: tuple[int, int] = (0, 0)
    bound: Bound | None = None
    cause: str = ""

    @property
    def unfounded(self) -> bool:
        """Whether neither the load nor what runs is known, so that nothing may be touched."""
        return self.bound is Bound.BLIND and None in self.previous

    def bound_of(self, index: int) -> Bound:
        """What fixed the target of a pool."""
        target, need = self.targets[index], self.needs[index]
        if target < need:
            return Bound.BUDGET
        if self.bound is not None:
            return self.bound
        if target > need:
            return Bound.PATIENCE
        assert self.requirement is not None  # noqa: S101 - a draft without a bound was sized
        required = (self.requirement.prefill, self.requirement.decode)[index]
        return Bound.MINIMUM if need > required else Bound.LOAD


def reason_of(draft: Draft, prefill: PoolExplanation, decode: PoolExplanation, *, aggregated: bool) -> str:
    """One sentence on what is expected, and what becomes of the pools."""
    if draft.unfounded:
        return f"{draft.cause}, and so are workers: nothing is touched."
    if draft.cause:
        cause = draft.cause
    else:
        load = draft.sized_for
        assert load is not None  # noqa: S101 - a draft without a cause was sized for a load
        cause = f"Expecting {load.request_rate_rps:.2f} req/s at ISL {load.isl:.0f}, OSL {load.osl:.0f}"
    if aggregated:
        return f"{cause}: {_movement('workers', decode, several=True)}."
    return f"{cause}: {_movement('prefill', prefill)}, {_movement('decode', decode)}."


def _movement(name: str, pool: PoolExplanation, *, several: bool = False) -> str:
    previous = "?" if pool.previous is None else pool.previous
    stays, goes = ("stay", "go") if several else ("stays", "goes")
    move = f"{stays} at {pool.target}" if pool.previous == pool.target else f"{goes} from {previous} to {pool.target}"
    needed = f", {pool.required} needed" if pool.required not in (None, pool.target) else ""
    return f"{name} {move} ({pool.bound_by}{needed})"
