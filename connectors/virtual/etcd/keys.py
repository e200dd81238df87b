"""The keys of a virtual deployment in etcd, and what they say.

The first four are those of NVIDIA Dynamo's planner, values in decimal; whoever speaks its format reads and writes
them. What that format has no place for stands beside them, under keys of our own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from connectors.virtual.etcd.gateway import Entry
from connectors.virtual.state import UNSET, VirtualDecision, VirtualState
from planner.core.observation import Workers

# Whatever reading a value that somebody else wrote may end with.
_NOT_UNDERSTOOD = (ValueError, ArithmeticError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


class Keys:
    """The keys of one namespace.

    Attributes:
        prefill: Prefill workers of the newest decision; on the planner's lease.
        decode: Decode workers of it; on the planner's lease.
        decision_id: Its number; on the planner's lease.
        scaled_decision_id: The newest decision that was carried out; on the lease of whoever did.
        workers: What really runs, as reported; on the lease of whoever reported.
        memory: What the planner keeps over a long absence; on no lease.
        leader: Which planner decides; on its lease.
        first: The range of them all, from here
        end: up to here.
    """

    def __init__(self, namespace: str) -> None:
        self.prefill = f"v1/{namespace}/planner/num_prefill_workers"
        self.decode = f"v1/{namespace}/planner/num_decode_workers"
        self.decision_id = f"v1/{namespace}/planner/decision_id"
        self.scaled_decision_id = f"v1/{namespace}/planner/scaled_decision_id"
        # Sorted next to Dynamo's, so that one watch covers both, but outside its prefix: its clients watch that.
        self.workers = f"v1/{namespace}/planner-sla/workers"
        self.memory = f"v1/{namespace}/planner-sla/memory"
        self.leader = f"v1/{namespace}/planner-sla/leader"
        self.first = f"v1/{namespace}/planner-sla/"
        self.end = f"v1/{namespace}/planner0"
        self.decided = (self.prefill, self.decode, self.decision_id)
        self.all = (*self.decided, self.scaled_decision_id, self.workers, self.memory, self.leader)

    def decision(self, entries: Mapping[str, Entry]) -> VirtualDecision:
        """The decision that stands; all -1 unless every part of it is there."""
        values = [_number(entries.get(key)) for key in self.decided]
        return VirtualDecision() if UNSET in values else VirtualDecision(*values)

    def scaled(self, entries: Mapping[str, Entry]) -> int:
        """The newest decision that was carried out; -1 if there is none."""
        return _number(entries.get(self.scaled_decision_id))

    def reported(self, entries: Mapping[str, Entry]) -> tuple[Workers | None, Workers | None]:
        """The workers of both pools as reported; None for a pool that never was, or whose reporter is gone."""
        entry = entries.get(self.workers)
        try:
            pools = json.loads(entry.value) if entry else {}
            return _workers(pools.get("prefill")), _workers(pools.get("decode"))
        except _NOT_UNDERSTOOD:
            return None, None

    def remembered(self, entries: Mapping[str, Entry]) -> VirtualState:
        """What a planner kept for its successor."""
        entry = entries.get(self.memory)
        try:
            return VirtualState.from_dict(json.loads(entry.value)) if entry else VirtualState()
        except _NOT_UNDERSTOOD:
            return VirtualState()

    def write_decision(self, decision: VirtualDecision, lease: int) -> dict[str, tuple[str, int]]:
        """The three keys of a decision, to be written as one step."""
        numbers = (*decision.targets, decision.decision_id)
        return {key: (str(number), lease) for key, number in zip(self.decided, numbers, strict=True)}

    def write_memory(self, state: VirtualState) -> dict[str, tuple[str, int]]:
        """What is kept for a successor; what runs is not, it will have changed."""
        scaled = min(state.scaled_decision_id, state.decision.decision_id)
        kept = replace(state, scaled_decision_id=scaled, prefill=None, decode=None)
        return {self.memory: (json.dumps(kept.to_dict()), 0)}

    def write_workers(self, state: VirtualState, lease: int) -> dict[str, tuple[str, int]]:
        """What runs, as reported."""
        pools: dict[str, Any] = {"prefill": state.prefill, "decode": state.decode}
        body = {name: asdict(workers) if workers else None for name, workers in pools.items()}
        return {self.workers: (json.dumps(body), lease)}


def _workers(pool: dict[str, Any] | None) -> Workers | None:
    return Workers(**{name: int(count) for name, count in pool.items()}) if pool else None


def _number(entry: Entry | None) -> int:
    """A number of 0 or more; -1 for anything else."""
    text = entry.value.strip() if entry else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else UNSET
