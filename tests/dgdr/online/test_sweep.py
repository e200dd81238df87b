"""Which engines are measured, and which are chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.dgdr.online.sweep import candidates, chosen
from planner.dgdr.terms import Hardware, Sla
from profiles import data_of_points
from profiles.provenance import Engine, Provenance

SLA = Sla(isl=2000, osl=200, ttft_ms=400, itl_ms=20)


def engine(gpus, *, ttft_ms, itl_ms):
    """An engine whose TTFT is as given at the ISL of the SLA, and whose ITL does not depend on the batch."""
    one = Engine(gpus=gpus, tp=gpus)
    return data_of_points(
        [(1000, ttft_ms / 2), (2000, ttft_ms), (4000, 2 * ttft_ms)],
        [(batch, context, itl_ms) for context in (1000, 2100, 4000) for batch in (1, 4, 8)],
        max_kv_tokens=40_000,
        provenance=Provenance(how="measured", prefill=one, decode=one),
    )


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (Hardware(), ()),
        (Hardware(gpus_per_node=8), ()),
        (Hardware(least_per_engine=1, most_per_engine=8), (1, 2, 4, 8)),
        (Hardware(least_per_engine=2, most_per_engine=6), (2, 4)),
        (Hardware(least_per_engine=4, gpus_per_node=8), (4, 8)),
        (Hardware(least_per_engine=3, most_per_engine=3), (3,)),
        (Hardware(most_per_engine=2), (1, 2)),
    ],
)
def test_sizes_are_powers_of_two_within_what_is_allowed(hardware, expected):
    assert candidates(hardware) == expected


@pytest.mark.parametrize(
    ("measured", "prefill", "decode"),
    [
        # Equally fast: the smaller one serves more for each GPU.
        ({1: (300, 10), 2: (300, 10)}, 1, 1),
        # The larger one alone meets the target, of one role or of both.
        ({1: (500, 10), 2: (300, 9)}, 2, 1),
        ({1: (500, 30), 2: (300, 10)}, 2, 2),
        # More than twice as fast: it serves more for each GPU as well.
        ({1: (390, 10), 2: (100, 10)}, 2, 1),
        # None meets it: the fastest.
        ({1: (900, 50), 2: (800, 40), 4: (700, 45)}, 4, 2),
    ],
)
def test_each_role_gets_the_engine_that_serves_most_within_its_target(measured, prefill, decode):
    found = chosen({gpus: engine(gpus, ttft_ms=ttft, itl_ms=itl) for gpus, (ttft, itl) in measured.items()}, SLA)
    assert (found.provenance.prefill.gpus, found.provenance.decode.gpus) == (prefill, decode)
    engines = found.engines()
    assert engines.prefill.ttft_ms(2000) == pytest.approx(measured[prefill][0])
    assert engines.decode.itl_ms(4, 2100) == pytest.approx(measured[decode][1], rel=0.01)
    assert [one["gpus"] for one in found.provenance.details["candidates"]] == sorted(measured)


def test_whether_targets_are_met_is_noted():
    sla = replace(SLA, ttft_ms=200)
    found = chosen({1: engine(1, ttft_ms=300, itl_ms=10)}, sla)
    assert found.provenance.details["candidates"] == [{"gpus": 1, "meets_ttft": False, "meets_itl": True}]
