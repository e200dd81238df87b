"""The election: never two leaders, always one again, and what a single planner does step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from connectors.election import ElectionTimes, Elector, lease_seconds, uptime

RUNS = 1000
STORM_S = 150.0
CALM_S = 60.0


def storm(world, make_planner, times, **options):
    """Three planners, and everything that goes wrong in production, at random, for a while; then calm."""
    chance = world.random
    names = iter(f"planner-{number}" for number in range(10_000))

    def start():
        drift, skew = chance.uniform(-0.03, 0.03), chance.choice([0, 3600, -86400, chance.uniform(-60, 60)])
        return make_planner(world, next(names), times, drift=drift, skew_s=skew, **options)

    def replace_one():
        alive = [one for one in world.planners if one.alive]
        if len(alive) >= 2:
            chance.choice([chance.choice(alive).kill, chance.choice(alive).stop])()
        if len(alive) <= 3:
            start()

    def trouble():
        if world.time > STORM_S:
            return
        victim = chance.choice([one for one in world.planners if one.alive] or [start()])
        chance.choices(
            [
                lambda: victim.freeze(chance.choice([0.5, 5, 11, 14.9, 15.1, 40]) * chance.uniform(0.8, 1.2)),
                lambda: victim.cut_off(chance.uniform(1, 40)),
                replace_one,
                lambda: setattr(world.server, "lease", None),
                lambda: setattr(victim, "skew_s", victim.skew_s + chance.uniform(-7200, 7200)),
            ],
            weights=[4, 4, 2, 0.5, 1],
        )[0]()
        world.after(chance.expovariate(1 / 6.0), trouble)

    def calm_down():
        world.network.slow = world.network.lost = world.network.refused = 0.0
        for one in world.planners:
            one.frozen_until = one.cut_off_until = world.time

    for _ in range(3):
        start()
    world.after(chance.uniform(0, 20), trouble)
    world.at(STORM_S, calm_down)
    return start


def test_a_thousand_storms_never_see_two_leaders_and_always_end_with_one(make_world, make_planner, times):
    writes = 0
    for seed in range(RUNS):
        world = make_world(seed)
        storm(world, make_planner, times)
        world.run(until=STORM_S + CALM_S)
        assert world.leader() is not None, f"seed {seed}: nobody leads after {CALM_S:.0f} s of calm"
        writes += sum(one.writes for one in world.planners)
    assert writes > 20 * RUNS, "somebody must have scaled, or nothing was shown"


class CountsFromTheAnswer(Elector):
    """As careless as one may be: the renewal counts from its answer, and the whole duration is used."""

    async def _write(self):
        await super()._write()
        if self._renewed_at is not None:
            self._renewed_at = self._monotonic() + self._times.duration_s - self._times.deadline_s


class TrustsClocks(Elector):
    """Compares the time in the lease with its own clock, as one must not."""

    def _may_write(self):
        lease = self._lease
        return super()._may_write() or self._now() - lease.renewed.timestamp() > lease.duration_s


class TakesWhatIsGone(Elector):
    """Takes a lease that was deleted at once."""

    def _claim(self):
        return replace(super()._claim(), holder=self.identity)


@pytest.mark.parametrize("careless", [CountsFromTheAnswer, TrustsClocks, TakesWhatIsGone])
def test_the_storms_would_show_a_careless_election(make_world, make_planner, times, careless):
    def storms():
        for seed in range(200):
            world = make_world(seed)
            storm(world, make_planner, times, elector=careless)
            world.run(until=STORM_S)

    with pytest.raises(AssertionError, match="lead"):
        storms()


def test_the_first_planner_leads_once_nobody_else_can(make_world, make_planner, times, calm):
    world = make_world(1, calm)
    one = make_planner(world, "a", times)
    world.run(until=14.0)
    assert not one.elector.leading, "a lease that is missing may have been deleted under its leader"
    assert one.elector.write_within_s == 0
    world.run(until=19.0)
    assert one.elector.leading
    assert world.server.lease.holder == one.elector.leader == "a"
    assert world.server.lease.transitions == 1
    assert 0 < one.elector.write_within_s <= times.write_end_s < times.duration_s


def test_times_in_the_lease_are_utc(make_world, make_planner, times, calm):
    world = make_world(1, calm)
    make_planner(world, "a", times)
    world.run(until=30.0)
    lease = world.server.lease
    assert lease.acquired.tzinfo is UTC
    assert (
        datetime.fromtimestamp(1.8e9, UTC) < lease.acquired < lease.renewed <= datetime.fromtimestamp(1.8e9 + 30, UTC)
    )


def test_a_released_lease_is_taken_soon(make_world, make_planner, times, calm):
    world = make_world(1, calm)
    one = make_planner(world, "a", times)
    world.run(until=20.0)
    other = make_planner(world, "b", times)
    world.run(until=40.0)
    assert one.elector.leading
    one.stop()
    assert not one.elector.leading, "it stops before it releases"
    world.run(until=41.0)
    assert not one.alive
    world.run(until=44.0)
    assert other.elector.leading
    assert (world.server.lease.holder, world.server.lease.transitions) == ("b", 2)


def test_a_killed_leader_is_followed_after_the_duration(make_world, make_planner, times, calm):
    world = make_world(1, calm)
    one = make_planner(world, "a", times)
    world.run(until=20.0)
    other = make_planner(world, "b", times)
    world.run(until=40.0)
    one.kill()
    world.run(until=40.0 + times.duration_s - times.retry_s * 1.3)
    assert not other.elector.leading
    world.run(until=40.0 + times.duration_s + times.retry_s * 1.3)
    assert other.elector.leading


def test_a_leader_that_is_cut_off_stops_before_its_lease_can_be_taken(make_world, make_planner, times, calm):
    world = make_world(1, calm)
    one = make_planner(world, "a", times)
    world.run(until=30.0)
    one.cut_off(60)
    world.run(until=30.0 + times.deadline_s)
    assert not one.elector.leading
    assert one.alive
    world.run(until=95.0)
    assert one.elector.leading, "nobody else was there: the same planner goes on"
    assert world.server.lease.transitions == 1


def test_a_hung_request_is_given_up_in_time_for_another(times):
    assert 3 * times.request_s <= times.deadline_s


def test_a_leader_alone_makes_its_deleted_lease_anew_and_goes_on(make_world, make_planner, times, calm):
    world = make_world(1, calm)
    one = make_planner(world, "a", times)
    world.run(until=40.0)
    world.server.lease = None
    world.run(until=43.0)
    assert one.elector.leading
    assert world.server.lease.holder == "a"


def test_a_deleted_lease_is_not_taken_while_its_holder_may_scale(make_world, make_planner, times, calm):
    world = make_world(1, calm)
    make_planner(world, "a", times)
    world.run(until=20.0)
    make_planner(world, "b", times)
    world.run(until=40.0)
    world.server.lease = None  # whoever finds out first makes it anew
    world.run(until=60.0)
    assert world.leader() is not None


def test_a_lease_whose_holder_was_edited_is_respected_at_once(make_world, make_planner, make_lease, times, calm):
    world = make_world(1, calm)
    one = make_planner(world, "a", times)
    world.run(until=20.0)
    world.server.lease = make_lease(holder="by hand", version="edited")
    world.run(until=23.5)
    assert not one.elector.leading
    world.run(until=60.0)
    assert one.elector.leading, "nobody renewed it"


def test_longer_leases_of_others_are_respected(make_world, make_planner, make_lease, times, calm):
    world = make_world(1, calm)
    world.server.lease = make_lease(duration_s=60, version="1")
    one = make_planner(world, "a", times)
    world.run(until=59.0)
    assert not one.elector.leading
    world.run(until=65.0)
    assert one.elector.leading


def test_a_stop_cut_off_in_the_middle_of_a_renewal_still_releases(make_world, make_planner, times, calm):
    world = make_world(1, calm)
    one = make_planner(world, "a", times)
    world.run(until=20.0)
    answer_s, one.travel_s = 0.2, lambda: 0.2
    while world.server.lease.renewed.timestamp() < 1.8e9 + 20.5:
        world.run(until=world.time + 0.01)
    world.run(until=world.time + answer_s / 2)
    one.stop()
    world.run(until=world.time + 5)
    assert not one.alive
    assert world.server.lease.holder is None


@pytest.mark.parametrize(("duration", "deadline", "retry"), [(10, 10, 2), (15, 2, 2), (15, 10, 0), (5, 10, 2)])
def test_times_that_are_not_safe_are_refused(duration, deadline, retry):
    with pytest.raises(ValueError, match="each shorter than the one before"):
        ElectionTimes(duration_s=duration, deadline_s=deadline, retry_s=retry)


def test_a_duration_is_never_stated_shorter_than_it_is():
    assert [lease_seconds(value) for value in (0.2, 1, 1.01, 15)] == [1, 1, 2, 15]


def test_uptime_goes_forward():
    assert uptime() <= uptime()
