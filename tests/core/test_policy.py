import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import Decision, Observation, Planner, Settings, Workers
from planner.core.decision import Action, Bound


def make_planner(profile, **options):
    defaults = {"adjustment_interval": 60, "load_predictor": "constant", "max_gpu_budget": 32, "sizing": "throughput"}
    defaults["scale_down_window"] = 0
    return Planner(Settings(**{**defaults, **options}), profile=profile)


def seen(index, requests, **fields):
    lengths = {"isl": 2000.0, "osl": 300.0} if requests else {}
    return Observation(time=60.0 * index, interval=60.0, requests_started=requests, **{**lengths, **fields})


def test_load_up_and_down(profile):
    planner = make_planner(profile)
    low = planner.step(seen(1, 60, prefill=Workers(1), decode=Workers(1)))
    assert (low.action, low.prefill, low.decode) == (Action.HOLD, 1, 1)
    high = planner.step(seen(2, 6000, prefill=Workers(1), decode=Workers(1)))
    assert high.action is Action.SCALE
    assert high.prefill > 1
    assert high.decode > 1
    assert high.explanation.prefill.bound_by is Bound.LOAD
    there = {"prefill": Workers(high.prefill), "decode": Workers(high.decode)}
    assert planner.step(seen(3, 6000, **there)).action is Action.HOLD
    down = planner.step(seen(4, 60, **there))
    assert (down.action, down.prefill, down.decode) == (Action.SCALE, 1, 1)
    assert down.previous_prefill == high.prefill


def test_blind_holds_whatever_was_there(profile):
    planner = make_planner(profile)
    planner.step(seen(1, 6000, prefill=Workers(7), decode=Workers(9)))
    for index in range(2, 12):
        decision = planner.step(seen(index, None, prefill=Workers(7), decode=Workers(9)))
        assert (decision.action, decision.prefill, decision.decode) == (Action.HOLD, 7, 9)
        assert decision.explanation.prefill.bound_by is Bound.BLIND
        assert "unknown" in decision.explanation.reason


def test_blind_with_unknown_workers_touches_nothing(profile):
    decision = make_planner(profile).step(seen(1, None))
    assert decision.action is Action.HOLD
    assert decision.explanation.forecast is None
    assert decision.explanation.reason == "The load is unknown, and so are workers: nothing is touched."


def test_idle_goes_to_the_minimum_once_confirmed(profile):
    planner = make_planner(profile, scale_down_window=3600, min_endpoint=2, idle_intervals=2)
    there = {"prefill": Workers(5), "decode": Workers(6)}
    planner.step(seen(1, 6000, **there))
    first = planner.step(seen(2, 0, **there))
    assert (first.action, first.prefill, first.decode) == (Action.HOLD, 5, 6)
    assert first.explanation.prefill.bound_by is Bound.PATIENCE
    second = planner.step(seen(3, 0, **there))
    assert (second.action, second.prefill, second.decode) == (Action.SCALE, 2, 2)
    assert second.explanation.prefill.bound_by is Bound.IDLE


def test_patience_keeps_workers_for_the_window(profile):
    planner = make_planner(profile, scale_down_window=None)
    high = planner.step(seen(1, 6000, prefill=Workers(1), decode=Workers(1)))
    there = {"prefill": Workers(high.prefill), "decode": Workers(high.decode)}
    for index in (2, 3):
        kept = planner.step(seen(index, 60, **there))
        assert (kept.action, kept.explanation.prefill.bound_by) == (Action.HOLD, Bound.PATIENCE)
    assert planner.step(seen(4, 60, **there)).prefill == 1


def test_a_pending_worker_whose_need_has_gone_is_given_back(profile):
    planner = make_planner(profile)
    planner.step(seen(1, 6000, prefill=Workers(1), decode=Workers(1)))
    decision = planner.step(seen(2, 60, prefill=Workers(1, pending=3), decode=Workers(1, pending=3)))
    assert (decision.action, decision.prefill, decision.decode) == (Action.SCALE, 1, 1)


def test_pending_workers_count_as_coming(profile):
    planner = make_planner(profile)
    wanted = planner.step(seen(1, 6000, prefill=Workers(1), decode=Workers(1)))
    coming = {
        "prefill": Workers(1, pending=wanted.prefill - 1),
        "decode": Workers(1, pending=wanted.decode - 1),
    }
    assert planner.step(seen(2, 6000, **coming)).action is Action.HOLD


def test_latencies_of_a_warming_pool_teach_nothing(profile):
    planner = make_planner(profile)
    slow = {"ttft_ms": 9000.0, "itl_ms": 400.0, "request_duration_s": 60.0}
    planner.step(seen(1, 60, prefill=Workers(1), decode=Workers(1)))
    for index, workers in enumerate([Workers(1, pending=1), Workers(2), Workers(2, pending=1), Workers(3)], start=2):
        decision = planner.step(seen(index, 60, prefill=workers, decode=workers, **slow))
        assert decision.explanation.prefill.correction_factor == 1
        assert decision.explanation.decode.correction_factor == 1


def test_a_steady_pool_teaches_its_correction(profile):
    planner = make_planner(profile)
    for index in range(1, 15):
        observation = seen(index, 600, prefill=Workers(2), decode=Workers(2), itl_ms=20.0, request_duration_s=6.0)
        expected_ms = planner.step(observation).explanation.decode.expected_ms
        slower = dataclasses.replace(observation, itl_ms=expected_ms * 1.4)
        decision = planner.step(dataclasses.replace(slower, time=observation.time + 30))
    assert decision.explanation.decode.correction_factor > 1.05


@pytest.mark.parametrize("factor", [1.5, 0.7])
def test_no_correction_learns_nothing(profile, factor):
    planner = make_planner(profile, no_correction=True)
    for index in range(1, 8):
        decision = planner.step(
            seen(index, 600, prefill=Workers(2), decode=Workers(2), ttft_ms=100.0 * factor, itl_ms=20.0 * factor)
        )
    assert decision.explanation.decode.correction_factor == 1
    assert decision.explanation.prefill.correction_factor == 1


def test_the_budget_takes_patience_before_need(profile):
    """A pool held up by patience gives way to one that must grow."""
    planner = make_planner(profile, scale_down_window=3600, max_gpu_budget=10)
    planner.step(seen(1, 60, prefill=Workers(1), decode=Workers(9)))
    decision = planner.step(seen(2, 6000, isl=4000.0, osl=10.0, prefill=Workers(1), decode=Workers(9)))
    assert decision.prefill > 1
    assert decision.prefill + decision.decode <= 10


def steady(planner, workers, intervals=20, rate_rps=20.0):
    """Lets a planner watch a load for a while; the time after."""
    for index in range(1, intervals + 1):
        planner.step(seen(index, 60 * rate_rps, prefill=workers, decode=workers, queued=0.0))
    return 60.0 * intervals


def moment(time, rate_rps, workers, **fields):
    lengths = {"isl": 2000.0, "osl": 300.0}
    return Observation(
        time=time, interval=10.0, requests_started=10 * rate_rps, prefill=workers, decode=workers, **lengths, **fields
    )


@pytest.mark.parametrize("silent", [2, 4, 8])
def test_load_that_returns_is_not_multiplied_by_what_silence_was_uncertain_of(profile, silent):
    planner = make_planner(profile, sizing="slo", load_predictor="auto", max_gpu_budget=-1)
    end = steady(planner, Workers(3))
    usual = planner.react(moment(end + 10, 20.0, Workers(3)))
    for index in range(1, silent + 1):
        planner.step(seen(21 + index, 0, prefill=Workers(1), decode=Workers(1), inflight=0.0))
    back = planner.react(moment(end + 60 * silent + 70, 20.0, Workers(1), queued=60.0))
    assert max(back.prefill, back.decode) <= 3 * max(usual.prefill, usual.decode)


def test_an_adjustment_does_not_give_back_what_a_reaction_has_just_asked_for(profile):
    planner = make_planner(profile, sizing="slo", load_predictor="auto", max_gpu_budget=-1, scale_down_window=None)
    end = steady(planner, Workers(3))
    jump = planner.react(moment(end + 50, 200.0, Workers(3), queued=300.0))
    assert jump.prefill > 3
    there = Workers(3, pending=jump.prefill - 3)
    after = planner.step(seen(21, 60 * 50.0, prefill=there, decode=there, queued=900.0))
    assert after.prefill >= jump.prefill


def test_a_reaction_that_the_budget_holds_leaves_no_trace(profile):
    """It is not recorded, so that a replay would not know of it."""
    planner = make_planner(profile, sizing="slo", load_predictor="auto", max_gpu_budget=6, scale_down_window=None)
    end = steady(planner, Workers(3), rate_rps=5.0)
    held = planner.react(moment(end + 10, 200.0, Workers(3), queued=300.0))
    assert (held.action, held.explanation.prefill.kept, held.explanation.decode.kept) == (Action.HOLD, None, None)
    for index in range(21, 30):
        after = planner.step(seen(index, 300, prefill=Workers(3), decode=Workers(3), queued=0.0))
    assert after.prefill < 3


def test_a_reaction_shares_the_budget_as_an_adjustment_does(profile):
    planner = make_planner(profile, sizing="slo", load_predictor="auto", max_gpu_budget=12)
    end = steady(planner, Workers(3), rate_rps=10.0)
    jump = planner.react(moment(end + 10, 300.0, Workers(3), queued=100.0))
    assert jump.prefill + jump.decode == 12
    assert jump.prefill > 3
    assert jump.decode > 3


def test_workers_are_not_moved_about_where_the_budget_serves_nobody_well(profile):
    planner = make_planner(profile, sizing="slo", load_predictor="auto", max_gpu_budget=6)
    workers, found = (Workers(3), Workers(3)), []
    for index in range(1, 60):
        rate = 60 * 60 * (1 + 0.02 * (-1) ** index)
        decision = planner.step(seen(index, rate, prefill=workers[0], decode=workers[1], queued=2000.0 + 50 * index))
        workers = Workers(decision.prefill), Workers(decision.decode)
        found.append((decision.prefill, decision.decode))
    assert sum(one != other for one, other in itertools.pairwise(found[20:])) <= 2


def test_inputs_of_no_length_are_no_burst(profile):
    planner = make_planner(profile, sizing="slo")
    for index in range(1, 4):
        nothing = Observation(time=10.0 * index, interval=10.0, requests_started=20.0, isl=0.0, prefill=Workers(1))
        assert planner.react(nothing).prefill >= 1


def test_reasons_after_a_reaction_name_what_holds(profile):
    planner = make_planner(profile, sizing="slo", load_predictor="auto", max_gpu_budget=-1)
    end = steady(planner, Workers(12))
    held = planner.react(moment(end + 10, 20.0, Workers(12), queued=0.0))
    assert (held.prefill, held.explanation.prefill.bound_by) == (12, Bound.PATIENCE)
    nothing = Observation(time=end + 20, interval=10.0, requests_started=0.0, prefill=Workers(12), decode=Workers(12))
    assert planner.react(nothing).explanation.reason.startswith("Nothing arrives now")


def test_a_clock_that_is_set_back_does_not_stop_it(profile):
    planner = make_planner(profile, sizing="slo", worker_startup=30, adjustment_interval=30, max_gpu_budget=-1)
    asked = planner.step(seen(1, 6000, prefill=Workers(1), decode=Workers(1)))
    there = Workers(asked.prefill), Workers(asked.decode)
    pending = Workers(1, asked.prefill - 1), Workers(1, asked.decode - 1)
    planner.step(seen(2, 6000, prefill=pending[0], decode=pending[1]))
    for index in (0, 1, 2):
        again = planner.step(seen(index, 6000, prefill=there[0], decode=there[1]))
        assert again.prefill >= 1


def test_late_requests_in_steady_pools_are_answered(profile):
    """Requests that are dealt out blindly wait though others are free: only how many are late shows it."""
    settled = {}
    for late_ms in (300.0, 900.0):
        planner = make_planner(profile, sizing="slo", load_predictor="auto", ttft=500, max_gpu_budget=-1)
        workers = Workers(9), Workers(9)
        for index in range(1, 60):
            quantiles = {0.5: 150.0, 0.9: 0.8 * late_ms, 0.95: late_ms, 0.99: 1.5 * late_ms}
            observation = seen(
                index,
                4800,
                prefill=workers[0],
                decode=workers[1],
                ttft_ms=190.0,
                itl_ms=12.0,
                ttft_quantiles_ms=quantiles,
                queued=0.0,
            )
            settled[late_ms] = planner.step(observation)
    assert settled[300.0].explanation.blindness < 0.1
    assert settled[900.0].explanation.blindness > 0.3
    assert settled[900.0].explanation.prefill.required > settled[300.0].explanation.prefill.required


@pytest.mark.parametrize("queued", [0.0, None])
def test_sequences_that_wait_for_the_first_decode_worker_are_no_reason_for_more(profile, queued):
    planner = make_planner(profile, sizing="slo")
    load = {"requests_started": 40, "isl": 2000.0, "prefill": Workers(2), "decode": Workers(0, pending=1)}
    for index, inflight in enumerate([200.0, 800.0, 3000.0], start=1):
        reaction = planner.react(
            Observation(time=10.0 * index, interval=10, inflight=inflight, queued=queued, ttft_ms=90.0, **load)
        )
        assert reaction.decode == 1


def test_requests_that_wait_for_prefill_do_not_decode(profile):
    decided = {}
    for queued in (900.0, None):
        planner = make_planner(profile, sizing="slo", max_gpu_budget=-1)
        backlog = {"inflight": 1000.0, "queued": queued, "ttft_ms": 90_000.0, "itl_ms": 10.0}
        decided[queued] = planner.step(seen(1, 600, prefill=Workers(1), decode=Workers(1), **backlog)).decode
    assert decided[None] == decided[900.0]


def test_workers_that_nobody_sees_are_not_said_to_be_pending(profile):
    planner = make_planner(profile, scale_down_window=None)
    for index in range(1, 40):
        decision = planner.step(seen(index, 60 if index < 3 else 6000))
        assert decision.explanation.warnings == ()


def test_react_only_raises(profile):
    planner = make_planner(profile)
    there = {"prefill": Workers(3), "decode": Workers(3)}
    planner.step(seen(1, 1500, **there))
    calm = planner.react(Observation(time=70, interval=10, requests_started=1, isl=2000.0, osl=300.0, **there))
    assert (calm.action, calm.prefill, calm.decode) == (Action.HOLD, 3, 3)
    burst = planner.react(Observation(time=80, interval=10, requests_started=2000, isl=2000.0, osl=300.0, **there))
    assert burst.action is Action.SCALE
    assert burst.prefill > 3
    assert burst.prefill + burst.decode <= 32
    blind = planner.react(Observation(time=90, interval=10, **there))
    assert blind.action is Action.HOLD


def test_a_decision_survives_json(profile):
    decision = make_planner(profile).step(seen(1, 6000, prefill=Workers(1), decode=None))
    assert Decision.from_dict(json.loads(decision.to_json())) == decision


def test_the_reason_names_load_and_movement(profile):
    decision = make_planner(profile).step(seen(1, 6000, prefill=Workers(1), decode=Workers(1)))
    reason = decision.explanation.reason
    assert "100.00 req/s at ISL 2000, OSL 300" in reason
    assert f"prefill goes from 1 to {decision.prefill}" in reason


counts = st.one_of(
    st.none(), st.builds(Workers, st.integers(0, 60), pending=st.integers(0, 20), draining=st.integers(0, 5))
)
unknown_or = lambda numbers: st.one_of(st.none(), numbers)  # noqa: E731
observations = st.fixed_dictionaries(
    {
        "requests_started": unknown_or(st.floats(0, 1e6)),
        "isl": unknown_or(st.floats(0, 1e6)),
        "osl": unknown_or(st.floats(0, 1e5)),
        "ttft_ms": unknown_or(st.floats(0, 1e7)),
        "itl_ms": unknown_or(st.floats(0, 1e5)),
        "request_duration_s": unknown_or(st.floats(0, 1e4)),
        "inflight": unknown_or(st.floats(0, 1e5)),
        "prefill": counts,
        "decode": counts,
    }
)


@given(
    st.lists(observations, min_size=1, max_size=8),
    st.sampled_from(["constant", "kalman", "auto"]),
    st.sampled_from(["slo", "throughput"]),
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(1, 8),
    st.integers(0, 40),
)
def test_whatever_is_observed_budget_and_minimum_hold(
    profile, story, predictor, sizing, min_endpoint, prefill_gpus, decode_gpus, spare
):
    budget = min_endpoint * (prefill_gpus + decode_gpus) + spare
    planner = make_planner(
        profile,
        load_predictor=predictor,
        sizing=sizing,
        min_endpoint=min_endpoint,
        prefill_engine_num_gpu=prefill_gpus,
        decode_engine_num_gpu=decode_gpus,
        max_gpu_budget=budget,
        scale_down_window=None,
    )
    for index, fields in enumerate(story, start=1):
        observation = Observation(time=60.0 * index, interval=60.0, **fields)
        for decision in (planner.step(observation), planner.react(observation)):
            assert decision.prefill >= min_endpoint
            assert decision.decode >= min_endpoint
            assert decision.prefill * prefill_gpus + decision.decode * decode_gpus <= budget
            assert Decision.from_dict(json.loads(decision.to_json())) == decision


def test_the_same_story_gives_the_same_decisions(profile):
    story = [seen(index, 100.0 * index, prefill=Workers(2), decode=Workers(2)) for index in range(1, 20)]
    first, second = make_planner(profile, load_predictor="kalman"), make_planner(profile, load_predictor="kalman")
    assert [first.step(one) for one in story] == [second.step(one) for one in story]
