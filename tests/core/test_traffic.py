"""What is learnt of how requests come: windows within an interval, and how they find workers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.decision import Band, LoadForecast
from planner.core.dispatch import Dispatch, Waits, share_beyond
from planner.core.observation import Observation
from planner.core.peakedness import Peakedness
from planner.core.traffic import Traffic
from planner.core.windows import Windows


def window(requests, length_s=10.0, isl=1000.0):
    return Observation(time=0.0, interval=length_s, requests_started=requests, isl=isl if requests else None)


def peak(counts, *, watched=None, second_moment=1.0):
    windows = Windows()
    for count in counts[: len(counts) - 1 if watched is None else watched]:
        windows = windows.add(window(count))
    return windows.peak(window(sum(counts), 10.0 * len(counts)), second_moment)


class TestWindows:
    def test_even_windows_have_no_peak(self):
        assert peak([200.0] * 6) == 1.0

    @pytest.mark.parametrize("requests", [2, 5, 50])
    def test_chance_is_no_peak(self, requests):
        generator = np.random.default_rng(1)
        found = [peak(generator.poisson(requests, 6).astype(float)) for _ in range(2000)]
        assert np.mean(found) < 1 + 0.11 / requests

    def test_requests_of_a_clump_meet_its_rate(self):
        # 600 of 680 requests come within one of six windows: nearly all meet 60/s, where the mean is 11.3/s.
        met = (600**2 + 5 * 16**2) / 680
        assert peak([16.0, 16.0, 600.0, 16.0, 16.0, 16.0]) == pytest.approx(met / (680 / 6), rel=0.005)

    def test_what_came_after_the_last_window_counts(self):
        assert peak([20.0, 20.0, 20.0, 20.0, 20.0, 400.0]) > 3

    def test_too_few_windows_say_nothing(self):
        assert peak([10.0, 500.0, 10.0, 10.0, 10.0, 10.0], watched=2) is None
        assert Windows().peak(window(100.0, 60.0), 1.0) is None

    def test_an_unknown_window_is_left_out(self):
        assert Windows().add(Observation(time=0.0, interval=10.0)) == Windows()

    @given(st.lists(st.floats(0, 1e6), min_size=2, max_size=12))
    def test_a_peak_is_never_below_the_mean_nor_above_the_busiest_window(self, counts):
        found = peak(counts)
        assert 1 <= found <= max(1.0, len(counts) * max(counts) / max(sum(counts), 1e-9)) * (1 + 1e-9)


class TestDispatch:
    def test_queues_of_their_own_are_longer(self):
        together, apart = (Waits(8, 30.0, 0.2, 1.0, blindness) for blindness in (0.0, 1.0))
        assert apart.mean_s > 3 * together.mean_s
        assert apart.beyond(0.3) > 3 * together.beyond(0.3)
        half = Waits(8, 30.0, 0.2, 1.0, 0.5)
        assert half.beyond(0.3) == pytest.approx((apart.beyond(0.3) + together.beyond(0.3)) / 2)

    def test_a_single_worker_is_found_by_all(self):
        assert Waits(1, 3.0, 0.2, 1.0, 1.0).mean_s == pytest.approx(Waits(1, 3.0, 0.2, 1.0, 0.0).mean_s)

    def test_blindness_is_learnt_from_how_many_are_late(self):
        dispatch = Dispatch()
        for _ in range(60):
            dispatch = dispatch.learn(0.12, together=0.02, apart=0.22)
        assert dispatch.blindness == pytest.approx(0.5, abs=0.01)

    def test_one_bad_interval_moves_it_little(self):
        assert Dispatch().learn(0.22, together=0.02, apart=0.22).blindness <= 0.05

    def test_where_both_are_alike_what_was_learnt_fades(self):
        assert 0.29 < Dispatch(0.3).learn(0.0, together=0.001, apart=0.002).blindness < 0.3

    def test_more_late_requests_than_blind_dispatch_makes_have_another_cause(self):
        assert Dispatch(0.3).learn(0.9, together=0.02, apart=0.22) == Dispatch(0.3)

    def test_share_beyond(self):
        quantiles = {0.5: 100.0, 0.9: 300.0, 0.99: 800.0}
        assert share_beyond(quantiles, 300.0) == pytest.approx(0.1)
        assert share_beyond(quantiles, 200.0) == pytest.approx(0.3)
        assert share_beyond(quantiles, 50.0) == pytest.approx(0.75)
        assert share_beyond(quantiles, 900.0) == pytest.approx(0.01 * 0.1**0.2)
        assert share_beyond(quantiles, 8000.0) < 1e-8, "nobody is late, and nobody is taken to be"

    @given(st.floats(0.1, 1e4), st.floats(0.1, 1e4), st.floats(0.1, 1e4), st.floats(0, 2e4))
    def test_a_share_is_a_share(self, a, b, c, value):
        low, middle, high = sorted((a, b, c))
        assert 0 <= share_beyond({0.5: low, 0.9: middle, 0.99: high}, value) <= 1


class TestMore:
    def test_what_came_on_top_may_be_what_was_feared(self):
        band = Band(mean=10.0, p10=8.0, p90=300.0, tail=50.0, most=400.0)
        assert band.raised(200.0) == Band(mean=210.0, p10=208.0, p90=300.0, tail=50.0, most=400.0)
        assert band.raised(900.0) == Band(mean=910.0, p10=908.0, p90=910.0, tail=50.0, most=910.0)

    @given(st.floats(0, 1e9), st.floats(0, 1), st.floats(0, 10), st.floats(0, 100), st.floats(0, 1e9))
    def test_more_uncertainty_widens_a_band_on_all_sides(self, mean, below, above, most, deviation):
        band = Band(mean=mean, p10=mean * (1 - below), p90=mean * (1 + above), most=mean * most)
        wider, rounding = band.widened(deviation), 1 + 1e-9
        assert wider.mean == band.mean
        assert 0 <= wider.p10 <= band.p10 * rounding
        assert wider.p90 * rounding >= band.p90
        assert wider.most * rounding >= max(band.most, band.mean)

    def test_no_more_uncertainty_leaves_a_band_as_it_is(self):
        band = Band(mean=10.0, p10=8.0, p90=15.0, tail=2.0, most=20.0)
        assert band.widened(0.0) == band
        fell = Band(mean=10.0, p10=8.0, p90=15.0, most=4.0)
        assert fell.widened(0.0).most <= fell.mean, "its 0.9 quantile is still what limits it"

    def test_a_load_is_raised_in_requests_and_in_both_kinds_of_tokens(self):
        load = LoadForecast(requests=10.0, requests_p10=8.0, requests_p90=12.0, isl=100.0, osl=10.0, interval=60.0)
        more = load.raised(5.0, prefill=20.0, decode=0.0)
        assert (more.requests, more.prefill_requests.mean, more.decode_requests.mean) == (15.0, 30.0, 10.0)


def look(time, queued, requests=200.0):
    return Observation(time=10.0 * time, interval=10.0, requests_started=requests, isl=1000.0, queued=queued)


class TestPeakedness:
    def learnt(self, queued):
        found = Peakedness()
        for time, requests in enumerate(queued):
            found = found.learn(look(time, float(requests)))
        return found.at_least

    def test_independent_requests_have_none(self):
        found = [self.learnt(np.random.default_rng(seed).poisson(6, 200)) for seed in range(50)]
        assert np.mean(found) == pytest.approx(1.0, abs=0.15)

    def test_requests_that_come_together_are_many_at_times_and_few_at_others(self):
        found = [self.learnt(5 * np.random.default_rng(seed).poisson(2, 200)) for seed in range(50)]
        assert np.mean(found) == pytest.approx(5.0, abs=0.8)

    def test_a_load_that_rises_does_not_come_together(self):
        generator = np.random.default_rng(1)
        assert self.learnt(generator.poisson(np.linspace(5, 50, 200))) < 1.6

    @given(st.lists(st.tuples(st.none() | st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6)), max_size=30))
    def test_whatever_is_seen_it_is_a_ratio(self, looks):
        found = Peakedness()
        for queued, requests, ttft_ms in looks:
            found = found.learn(
                Observation(time=0.0, interval=10.0, requests_started=requests, ttft_ms=ttft_ms, queued=queued)
            )
            assert found.value is None or 0 <= found.value <= 1e7
            assert found.last == queued

    def test_unknown_is_not_even(self):
        assert Peakedness().at_least is None
        assert Peakedness().learn(look(0, 3.0)).learn(look(1, None)).learn(look(2, 3.0)).at_least is None


class TestSurges:
    def learnt(self, swing, queued=6.0):
        traffic, generator, time = Traffic(), np.random.default_rng(1), 0
        for _ in range(60):
            tokens = requests = 0.0
            for index in range(6):
                rate = 200 * max(0.0, 1 + swing * generator.normal())
                seen = look(
                    time, None if queued is None else float(generator.poisson(queued)), float(generator.poisson(rate))
                )
                time, requests, tokens = time + 1, requests + seen.requests_started, tokens + 1
                if index < 5:
                    traffic.glimpse(seen)
            whole = Observation(
                time=10.0 * time, interval=60.0, requests_started=requests, isl=1000.0, queued=seen.queued
            )
            traffic.learn(whole, None)
        return traffic.surges_tps

    def test_windows_that_differ_by_more_than_chance_are_surges(self):
        """The variance of the rate is its mean times this: 20 000 tokens/s that swing by 30 %."""
        assert self.learnt(0.3) / 20_000 == pytest.approx(0.09, rel=0.4)

    def test_chance_is_no_surge(self):
        assert self.learnt(0.0) / 20_000 < 0.002
