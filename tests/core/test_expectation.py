import pytest

from planner import Observation, Workers
from planner.core.expectation import decode_concurrency, expected_itl_ms, expected_ttft_ms


def seen(**fields):
    return Observation(
        **{"time": 60.0, "interval": 60.0, "requests_started": 600, "isl": 1000.0, "osl": 200.0, **fields}
    )


def test_concurrency_by_littles_law_from_the_duration():
    observation = seen(requests_completed=600, request_duration_s=5.0, ttft_ms=1000.0, decode=Workers(4))
    assert decode_concurrency(observation) == pytest.approx(10 * 4.0 / 4)


def test_concurrency_from_osl_and_itl_where_no_duration_is_reported():
    assert decode_concurrency(seen(itl_ms=20.0, decode=Workers(2))) == pytest.approx(10 * 4.0 / 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"itl_ms": 20.0},
        {"itl_ms": 20.0, "decode": Workers(0, pending=2)},
        {"decode": Workers(2)},
        {"itl_ms": 20.0, "decode": Workers(2), "requests_started": 0},
        {"itl_ms": 20.0, "decode": Workers(2), "requests_started": None},
    ],
)
def test_what_cannot_be_known_is_unknown(fields, profile):
    assert decode_concurrency(seen(**fields)) is None
    assert expected_itl_ms(profile, seen(**fields)) is None


def test_expected_latencies_come_from_the_profile_at_the_observed_load(profile):
    observation = seen(itl_ms=20.0, decode=Workers(2))
    assert expected_ttft_ms(profile, observation) == profile.prefill.ttft_ms(1000.0)
    assert expected_itl_ms(profile, observation) == profile.decode.itl_ms(20.0, 1100.0)
    assert expected_itl_ms(profile, observation, 1.5) == profile.decode.itl_ms(20.0, 1150.0)
    assert expected_ttft_ms(profile, seen(isl=None)) is None
