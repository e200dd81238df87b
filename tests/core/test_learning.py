"""What is learnt of lengths, bursts and start-up times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.burstiness import Burstiness
from planner.core.lengths import LengthShape
from planner.core.observation import Observation, Workers
from planner.core.startup import StartupTimes


class TestLengths:
    def test_shares_and_mean_are_kept(self):
        for shape in (LengthShape(), LengthShape().learn({0.5: 800, 0.9: 3000, 0.95: 6000, 0.99: 9000}, 1500.0)):
            spread = shape.spread()
            assert sum(share for share, _ in spread) == pytest.approx(1)
            assert sum(share * ratio for share, ratio in spread) == pytest.approx(1)

    def test_the_second_moment_of_log_normal_lengths_is_found(self):
        lengths = np.random.default_rng(1).lognormal(0, 0.8, 200_000)
        shape = LengthShape()
        for _ in range(20):
            shape = shape.learn({p: float(np.quantile(lengths, p)) for p in (0.5, 0.9, 0.95, 0.99)}, lengths.mean())
        assert shape.second_moment() == pytest.approx((lengths**2).mean() / lengths.mean() ** 2, rel=0.15)

    def test_without_quantiles_nothing_is_learnt(self):
        shape = LengthShape().learn({0.5: 900, 0.9: 1100}, 1000.0)
        assert shape.learn(None, 5.0) is shape
        assert shape.learn({0.5: 1.0}, None) is shape


class TestBurstiness:
    def play(self, counts, isl=None, window_s=10.0):
        learnt = Burstiness()
        for index, count in enumerate(counts):
            seen = Observation(
                time=float(index), interval=window_s, requests_started=float(count), isl=isl[index] if isl else 1000.0
            )
            learnt = learnt.learn(seen, 1.0)
        return learnt.value

    def test_poisson_arrivals_are_not_bursty(self):
        assert self.play(np.random.default_rng(1).poisson(200, 500)) < 1.6

    def test_chance_makes_poisson_arrivals_no_burstier_than_they_are(self):
        generator = np.random.default_rng(2)
        learnt = [self.play(generator.poisson(200, 120)) for _ in range(60)]
        assert np.mean(learnt) == pytest.approx(1.0, abs=0.06)

    def test_queues_never_count_on_even_arrivals(self):
        assert Burstiness(0.4).in_queues == Burstiness(0.4).at_least == 1.0

    def test_bursts_after_even_arrivals_are_seen_as_soon_as_after_others(self):
        bursts = list(10 * np.random.default_rng(1).poisson(20, 40))
        assert self.play([200] * 100 + bursts) > 0.8 * self.play(bursts)

    def test_arrivals_in_batches_are(self):
        assert self.play(10 * np.random.default_rng(1).poisson(20, 500)) == pytest.approx(10, rel=0.4)

    def test_so_are_inputs_that_are_long_together(self):
        generator = np.random.default_rng(2)
        isl = np.where(generator.random(500) < 0.3, 4000.0, 800.0).tolist()
        assert self.play(generator.poisson(200, 500), isl) > 10

    def test_a_steady_rise_is_no_burst(self):
        assert self.play(np.linspace(100, 1000, 300)) < 1.6

    def test_long_windows_and_gaps_say_nothing(self):
        assert self.play([10, 5000] * 20, window_s=60.0) == 1.0
        assert Burstiness().learn(Observation(time=0.0, interval=10.0), 1.0) == Burstiness()


class TestStartup:
    def test_until_something_is_measured_the_prior_counts(self):
        assert StartupTimes(75.0).p90_s == 75.0

    def test_the_time_from_asking_to_serving(self):
        times = StartupTimes(75.0)
        times.see(Workers(1), 0.0)
        times.ask(1, 3, 0.0)
        times.see(Workers(1, pending=2), 60.0)
        times.see(Workers(2, pending=1), 120.0)
        times.see(Workers(3), 180.0)
        assert times.p90_s == 180.0
        assert times.oldest_s is None

    def test_pending_workers_that_are_given_back_are_forgotten(self):
        times = StartupTimes(75.0)
        times.ask(1, 3, 0.0)
        times.see(Workers(1, pending=2), 10.0)
        times.see(Workers(1), 20.0)
        assert times.oldest_s is None
        times.see(Workers(2), 30.0)
        assert times.p90_s == 75.0, "it was started by somebody else"

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 8)), max_size=40))
    def test_whatever_happens_it_stays_sane(self, story):
        times = StartupTimes(60.0)
        for index, (ready, pending, target) in enumerate(story):
            times.see(Workers(ready, pending=pending), 10.0 * index)
            times.ask(ready + pending, target, 10.0 * index)
            assert 0 <= times.p90_s <= 10.0 * len(story) + 60
