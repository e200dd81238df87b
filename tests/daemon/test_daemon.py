import asyncio
import dataclasses
import logging

import pytest

from connectors.base import ConnectorError, Outcome, WorkerCounts
from planner import Observation, Workers
from planner.core.decision import Action
from planner.report.reader import Filter
from planner.report.store import HistoryStore
from planner.settings import Settings


async def run(daemon):
    async with daemon:
        await asyncio.wait_for(daemon.run(), timeout=20)
    return [record.decision for record in daemon.history.latest()]


def sample(daemon, name, **labels):
    return daemon.metrics.registry.get_sample_value(name, labels)


async def test_decisions_are_handed_over_only_when_they_change_something(make_daemon, ledger):
    decisions = await run(make_daemon([60, 6000, 6000, 6000, 60]))
    assert [decision.action for decision in decisions] == [
        Action.HOLD,
        Action.SCALE,
        Action.HOLD,
        Action.HOLD,
        Action.SCALE,
    ]
    assert len(ledger.applied) == 2
    assert ledger.applied[-1] == (1, 1)


async def test_the_first_adjustment_is_at_once_and_the_cadence_does_not_drift(make_daemon, clock):
    start = clock.now()

    async def slow():
        begun.append(clock.now() - start)
        clock.time += 7.3
        return Observation(time=clock.now(), interval=60.0, requests_started=60)

    begun = []
    await run(make_daemon([slow] * 5))
    assert begun == [0, 60, 120, 180, 240]


async def test_adjustments_that_a_slow_one_ran_over_are_left_out_and_counted(make_daemon, clock):
    start = clock.now()

    async def very_slow():
        clock.time += 150
        return Observation(time=clock.now(), interval=60.0, requests_started=60)

    daemon = make_daemon([very_slow, 60, 60])
    await run(daemon)
    assert clock.now() - start == 240
    assert sample(daemon, "sla_planner_missed_ticks_total") == 2


async def test_an_exception_in_one_adjustment_ends_nothing(make_daemon, ledger):
    daemon = make_daemon([6000, RuntimeError("boom"), 6000, ValueError("bad"), 60], rounds=3)
    decisions = await run(daemon)
    assert len(decisions) == 3
    assert sample(daemon, "sla_planner_tick_failures_total") == 2
    assert ledger.applied[-1] == (1, 1)


async def test_a_connector_that_cannot_be_reached_is_tried_again(make_daemon, ledger):
    ledger.outcomes = [ConnectorError, ConnectorError]
    daemon = make_daemon([6000, 6000, 6000, 6000])
    decisions = await run(daemon)
    assert len(ledger.applied) == 3
    assert decisions[3].action is Action.HOLD
    assert sample(daemon, "sla_planner_connector_failures_total") == 2


async def test_a_decision_that_had_to_wait_is_handed_over_later_even_if_nothing_is_new(make_daemon, ledger):
    ledger.counts = WorkerCounts()
    ledger.outcomes = [Outcome.WAITING, Outcome.WAITING]
    decisions = await run(make_daemon([6000, 6000, 6000, 6000]))
    assert decisions[1].action is Action.HOLD, "it is what was decided before"
    assert len(ledger.applied) == 3
    assert len(set(ledger.applied)) == 1


async def test_workers_that_cannot_be_seen_do_not_stop_the_planner(make_daemon, ledger):
    ledger.counts = ConnectorError("no route")
    daemon = make_daemon([6000])
    (decision,) = await run(daemon)
    assert decision.action is Action.SCALE
    assert decision.previous_prefill is None


async def test_gpu_hours_count_the_workers_that_were_there(make_daemon, ledger):
    ledger.counts = WorkerCounts(prefill=Workers(2), decode=Workers(3))
    daemon = make_daemon([None] * 61, decode_engine_num_gpu=2)
    await run(daemon)
    assert sample(daemon, "planner:gpu_hours") == pytest.approx(2 + 3 * 2)


async def test_stop_ends_a_waiting_daemon_at_once(make_daemon, clock):
    async def forever(when):
        await asyncio.Event().wait()

    daemon = make_daemon([60])
    clock.sleep_until = forever
    async with daemon:
        running = asyncio.create_task(daemon.run())
        await asyncio.sleep(0.01)
        daemon.stop()
        await asyncio.wait_for(running, timeout=0.5)


async def test_stop_gives_an_adjustment_a_moment_and_then_cancels_it(make_daemon):
    cancelled = asyncio.Event()
    begun = asyncio.Event()

    async def hangs():
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    daemon = make_daemon([hangs])
    async with daemon:
        running = asyncio.create_task(daemon.run())
        await begun.wait()
        daemon.stop()
        await asyncio.wait_for(running, timeout=1.5)
    assert cancelled.is_set()


async def test_source_and_connector_are_closed_whatever_happens(make_daemon, ledger):
    daemon = make_daemon([60])
    with pytest.raises(KeyError, match="mine"):
        async with daemon:
            raise KeyError("mine")
    assert daemon.source.closed
    assert ledger.closed


async def test_a_part_that_cannot_be_closed_keeps_none_of_the_others_open(make_daemon, ledger):
    daemon = make_daemon([60])

    async def refuse():
        raise ConnectorError("stuck")

    ledger.close = refuse
    with pytest.raises(ConnectorError, match="stuck"):
        async with daemon:
            pass
    assert daemon.source.closed


async def test_a_start_that_fails_lets_go_of_what_was_taken(make_daemon, ledger):
    daemon = make_daemon([60])

    async def refuse():
        raise ConnectorError("never")

    ledger.start = refuse
    with pytest.raises(ConnectorError):
        async with daemon:
            pass
    assert daemon.source.closed


async def test_reload_takes_what_can_change_and_names_the_rest(make_daemon, unused_settings, caplog):
    wanted = Settings(**{**unused_settings, "min_endpoint": 3, "load_predictor": "kalman"})
    daemon = make_daemon([60, 60, 60], reload=lambda: wanted)
    daemon.request_reload()
    decisions = await run(daemon)
    assert decisions[0].prefill == 3
    assert daemon.settings.min_endpoint == 3
    assert daemon.settings.load_predictor == "constant"
    assert any(
        "need a restart" in record.message and "--load-predictor" in str(record.options)
        for record in caplog.records
        if hasattr(record, "options")
    )


@pytest.fixture
def told(caplog):
    """How the log tells of each adjustment."""
    caplog.set_level(logging.INFO, logger="planner")
    return lambda: [record.message.partition(")")[0] for record in caplog.records if "(prefill=" in record.message]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome.APPLIED, "Scaling"),
        (Outcome.WAITING, "Waiting to scale"),
        (Outcome.SKIPPED, "Would scale"),
        (Outcome.STANDBY, "Would scale"),
        (ConnectorError, "Could not scale"),
    ],
)
async def test_the_log_says_scaling_only_of_what_was_handed_over(make_daemon, ledger, told, outcome, said):
    ledger.outcomes = [outcome]
    decisions = await run(make_daemon([60, 60_000], max_gpu_budget=-1))
    target = decisions[-1]
    assert target.action == "scale"
    assert told() == [
        "No scaling needed (prefill=1, decode=1",
        f"{said} (prefill={target.prefill}, decode={target.decode}",
    ]


async def test_a_decision_that_has_waited_is_told_when_it_is_handed_over(make_daemon, ledger, told):
    ledger.outcomes = [Outcome.UNCHANGED, Outcome.WAITING, Outcome.WAITING, Outcome.APPLIED]
    ledger.counts = WorkerCounts(prefill=None, decode=None)
    decisions = await run(make_daemon([60, 60_000, 60_000, 60_000, 60_000], max_gpu_budget=-1))
    assert [decision.action for decision in decisions] == ["scale", "scale", "hold", "hold", "hold"]
    assert [line.partition(" (")[0] for line in told()] == [
        "Scaling",
        "Waiting to scale",
        "Waiting to scale",
        "Scaling",
        "No scaling needed",
    ]


async def test_what_is_out_of_reach_is_said_once_and_again_when_it_comes_back(make_daemon, caplog):
    async def long_prompts():
        return dataclasses.replace(await source.observe(60), isl=60_000.0 + 100 * len(caplog.records))

    story = [long_prompts, 60] * 4 + [None, long_prompts, 60, 0, 60, 60, 60, 60, long_prompts, 60, 60]
    daemon = make_daemon(story, rounds=13)
    source = daemon.source
    decisions = await run(daemon)
    said = [record.message for record in caplog.records if "is infeasible" in record.message]
    assert sum("is infeasible" in "".join(decision.explanation.warnings) for decision in decisions) > len(said) == 2


async def test_a_reload_of_bad_settings_changes_nothing(make_daemon):
    def reload():
        raise ValueError("--ttft: 'x'")

    daemon = make_daemon([60, 60], reload=reload)
    daemon.request_reload()
    assert len(await run(daemon)) == 2


async def test_a_new_interval_takes_effect(make_daemon, unused_settings, clock):
    start = clock.now()
    wanted = Settings(**{**unused_settings, "adjustment_interval": 10})
    daemon = make_daemon([60] * 4, reload=lambda: wanted)
    daemon.request_reload()
    await run(daemon)
    assert clock.now() - start == 30


async def test_health_tells_a_stuck_loop(make_daemon, clock):
    daemon = make_daemon([60])
    assert daemon.not_ready() == "no adjustment made yet"
    await run(daemon)
    assert daemon.not_ready() is None
    assert daemon.trouble() is None
    clock.time += 200
    assert daemon.trouble() == "no adjustment for 200 s"


class TestReactions:
    async def test_between_adjustments_it_looks_and_only_raises(self, make_daemon, clock, ledger):
        looks = []

        async def look(requests):
            looks.append(clock.now())
            return Observation(
                time=clock.now(), interval=10.0, requests_started=requests, isl=2000.0, osl=300.0, queued=requests
            )

        quiet, flood = (lambda: look(10.0)), (lambda: look(3000.0))
        begin = clock.now()
        daemon = make_daemon(
            [quiet, quiet, quiet, flood, quiet, quiet, quiet], rounds=2, sizing="slo", reaction_interval=10
        )
        await run(daemon)
        assert [moment - begin for moment in looks] == [0, 10, 20, 30, 40, 50, 60]
        assert ledger.applied[0][0] > 1
        assert sample(daemon, "sla_planner_reactions_total") == 1

    async def test_a_reaction_that_fails_is_no_end(self, make_daemon, ledger):
        daemon = make_daemon([60, RuntimeError("boom"), 60, 60], rounds=2, reaction_interval=20)
        await run(daemon)
        assert sample(daemon, "sla_planner_tick_failures_total") == 1

    async def test_the_published_rules_do_not_react(self, make_daemon):
        daemon = make_daemon([60, 60, 60])
        assert daemon.settings.reaction_interval_s == 0
        await run(daemon)
        assert len(daemon.history) == 3


async def test_after_a_restart_it_goes_on_from_its_history(make_daemon, ledger, tmp_path):
    def with_file(story, **options):
        return make_daemon(story, store=HistoryStore(tmp_path / "history.sqlite"), **options)

    first = await run(with_file([600, 6000, 6000]))
    decision = (await run(daemon := with_file([None])))[-1]
    assert decision.explanation.forecast.requests == first[-1].explanation.forecast.requests
    assert len(daemon.history) == 4, "the decisions from before are shown, too"
    fresh = (await run(with_file([None], history_warm_start=0)))[-1]
    assert fresh.explanation.forecast is None


async def test_it_is_not_ready_before_its_own_first_adjustment(make_daemon, tmp_path):
    await run(make_daemon([60], store=HistoryStore(tmp_path / "history.sqlite")))
    daemon = make_daemon([60], store=HistoryStore(tmp_path / "history.sqlite"))
    async with daemon:
        assert daemon.not_ready() == "no adjustment made yet"


async def test_reactions_are_in_the_history(make_daemon, ledger):
    daemon = make_daemon([60, 6000], sizing="slo")
    async with daemon:
        await daemon.tick()
        await daemon.react(5.0)
    assert [record.kind for record in daemon.history.latest()] == ["adjustment", "reaction"]


async def test_a_history_that_cannot_be_learnt_from_ends_nothing(make_daemon, tmp_path, monkeypatch):
    await run(make_daemon([60, 60], store=HistoryStore(tmp_path / "history.sqlite")))

    def explode(*_):
        raise ZeroDivisionError

    daemon = make_daemon([60], store=HistoryStore(tmp_path / "history.sqlite"))
    monkeypatch.setattr(daemon.planner, "recall", explode)
    assert len(await run(daemon)) == 3
    assert sample(daemon, "sla_planner_history_failures_total") == 1


async def test_settings_that_are_read_anew_are_in_the_history(make_daemon, unused_settings, tmp_path):
    wanted = Settings(**{**unused_settings, "ttft": 300})
    store = HistoryStore(tmp_path / "history.sqlite")
    async with make_daemon([60, 60, 60], rounds=3, store=store, reload=lambda: wanted) as daemon:
        await daemon.tick()
        daemon.request_reload()
        await daemon.run()
    assert [life.settings["ttft"] for life in store.runs()] == [500, 300]
    assert [len(store.records(only=Filter(run=life.id))) for life in store.runs()] == [1, 2]
