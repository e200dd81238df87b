"""The simulated deployment: by hand, against closed forms, and nothing lost."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.observation import Workers
from planner.simulation.agenda import Agenda
from planner.simulation.balance import Balance
from planner.simulation.deployment import Deployment
from planner.simulation.load import Traffic, day_curve, with_burst


class Engine:
    """Prefill takes 1 ms a token; a token takes 10 ms and 1 ms for each sequence in the batch."""

    max_kv_tokens = 1000
    max_num_seqs = None

    def ttft_ms(self, isl):
        return float(isl)

    def itl_ms(self, concurrency, context_length):
        return 10.0 + concurrency


def make(workers=(1, 1), startup_s=5.0, engine=None, **options):
    engine = engine or Engine()
    engines = SimpleNamespace(prefill=engine, decode=engine)
    return Deployment(engines, startup=lambda: startup_s, workers=workers, **options)


def capacious():
    engine = Engine()
    engine.max_kv_tokens = 10**9
    return engine


class TestByHand:
    def test_one_request(self):
        deployment = make()
        request = deployment.submit(1.0, isl=100, osl=11)
        deployment.advance(10.0)
        assert request.first_token_s == pytest.approx(1.1)
        assert request.completed_s == pytest.approx(1.1 + 10 * 0.011)
        assert request.ttft_ms == pytest.approx(100)
        assert request.itl_ms == pytest.approx(11)

    def test_prefill_is_first_come_first_served(self):
        deployment = make()
        first = deployment.submit(0.0, isl=100, osl=1)
        second = deployment.submit(0.01, isl=50, osl=1)
        assert deployment.queued == 1
        deployment.advance(1.0)
        assert first.ttft_ms == pytest.approx(100)
        assert second.ttft_ms == pytest.approx(100 + 50 - 10)

    def test_an_output_of_one_token_needs_no_decode_worker(self):
        deployment = make(workers=(1, 0))
        request = deployment.submit(0.0, isl=100, osl=1)
        deployment.advance(1.0)
        assert request.completed_s == request.first_token_s
        assert request.itl_ms is None

    def test_sequences_share_a_decode_worker(self):
        """Two sequences of 10 gaps: alone 11 ms a token, together 12 ms."""
        deployment = make(workers=(2, 1))
        requests = [deployment.submit(0.0, isl=100, osl=11) for _ in range(2)]
        deployment.advance(1.0)
        assert [request.completed_s for request in requests] == pytest.approx([0.1 + 10 * 0.012] * 2)

    def test_a_sequence_that_joins_late_slows_the_rest(self):
        """The first has done 5 gaps alone (55 ms) when the second joins; then both move at 12 ms."""
        deployment = make(workers=(2, 1))
        first = deployment.submit(0.0, isl=100, osl=11)
        second = deployment.submit(0.055, isl=100, osl=11)
        deployment.advance(1.0)
        assert first.completed_s == pytest.approx(0.1 + 5 * 0.011 + 5 * 0.012)
        assert second.completed_s == pytest.approx(0.155 + 5 * 0.012 + 5 * 0.011)

    def test_a_sequence_that_does_not_fit_waits(self):
        """Each holds 501 of 1000 tokens at first, so the second waits for the first."""
        deployment = make(workers=(2, 1))
        first = deployment.submit(0.0, isl=500, osl=100)
        second = deployment.submit(0.0, isl=500, osl=100)
        deployment.advance(0.6)
        assert deployment.queued == 1
        deployment.advance(10.0)
        assert second.completed_s == pytest.approx(first.completed_s + 99 * 0.011)

    def test_a_cache_that_fills_sends_back_who_came_last(self):
        """Two of 400 tokens fit; when each has 100 more the cache is full, and the second waits with what it has."""
        deployment = make(workers=(2, 1))
        first = deployment.submit(0.0, isl=400, osl=301)
        second = deployment.submit(0.0, isl=400, osl=301)
        deployment.advance(0.4 + 98 * 0.012)
        assert deployment.queued == 0
        deployment.advance(0.4 + 101 * 0.012)
        assert deployment.queued == 1
        deployment.advance(60.0)
        assert first.completed_s == pytest.approx(0.4 + 99 * 0.012 + 201 * 0.011, rel=0.01)
        assert second.completed_s == pytest.approx(first.completed_s + 201 * 0.011, rel=0.01)

    def test_a_sequence_larger_than_the_cache_runs_alone(self):
        deployment = make()
        request = deployment.submit(0.0, isl=5000, osl=10)
        deployment.advance(60.0)
        assert request.completed_s is not None

    def test_max_num_seqs(self):
        engine = Engine()
        engine.max_num_seqs = 1
        deployment = make(workers=(2, 1), engine=engine)
        requests = [deployment.submit(0.0, isl=100, osl=11) for _ in range(2)]
        deployment.advance(1.0)
        assert sorted(request.completed_s for request in requests) == pytest.approx([0.21, 0.32])

    def test_sequences_go_to_the_worker_with_the_fewest(self):
        deployment = make(workers=(4, 2))
        requests = [deployment.submit(0.0, isl=100, osl=11) for _ in range(4)]
        deployment.advance(1.0)
        assert [request.completed_s for request in requests] == pytest.approx([0.22] * 4)

    def test_contexts_grow_as_tokens_come(self):
        """ITL is a thousandth of the context: the sum over 100 to 199 tokens, within the classes' one percent."""
        engine = capacious()
        engine.itl_ms = lambda concurrency, context_length: context_length / 10
        request = make(engine=engine).submit(0.0, isl=100, osl=101)
        deployment = make(engine=engine)
        request = deployment.submit(0.0, isl=100, osl=101)
        deployment.advance(60.0)
        assert request.completed_s - request.first_token_s == pytest.approx(sum(range(101, 201)) / 1e4, rel=0.01)


class TestScaling:
    def test_workers_take_time_to_start(self):
        deployment = make()
        deployment.scale(prefill=3, decode=2)
        assert deployment.workers == (Workers(1, pending=2), Workers(1, pending=1))
        deployment.advance(4.9)
        assert deployment.workers == (Workers(1, pending=2), Workers(1, pending=1))
        deployment.advance(5.1)
        assert deployment.workers == (Workers(3), Workers(2))

    def test_pending_workers_go_first(self):
        deployment = make(workers=(2, 2))
        deployment.scale(prefill=5, decode=5)
        deployment.scale(prefill=2, decode=2)
        assert deployment.workers == (Workers(2), Workers(2))
        deployment.advance(60.0)
        assert deployment.workers == (Workers(2), Workers(2))

    def test_busy_workers_drain(self):
        deployment = make(workers=(2, 2))
        requests = [deployment.submit(0.0, isl=100, osl=11) for _ in range(2)]
        deployment.scale(prefill=0, decode=2)
        assert deployment.prefill.workers == Workers(0, draining=2)
        deployment.advance(0.15)
        assert deployment.prefill.workers == Workers(0)
        deployment.scale(prefill=0, decode=0)
        assert deployment.decode.workers == Workers(0, draining=2)
        deployment.advance(1.0)
        assert deployment.decode.workers == Workers(0)
        assert all(request.completed_s for request in requests)

    def test_a_worker_that_fails_gives_back_what_it_had(self):
        deployment = make(workers=(2, 2))
        request = deployment.submit(0.0, isl=100, osl=11)
        deployment.advance(0.05)
        assert deployment.prefill.fail()
        assert deployment.prefill.fail()
        assert not deployment.prefill.fail()
        assert (deployment.prefill.workers, deployment.queued) == (Workers(0), 1)
        deployment.scale(prefill=1, decode=2)
        deployment.advance(5.055)
        assert deployment.queued == 0
        deployment.advance(5.21)
        assert deployment.decode.fail()
        deployment.advance(60.0)
        assert request.completed_s == pytest.approx(5.05 + 0.1 + 10 * 0.011)

    @given(
        st.lists(
            st.tuples(
                *(st.floats(0, 0.5), st.integers(1, 400), st.integers(1, 60)),
                *(st.integers(0, 4), st.integers(0, 4), st.booleans(), st.booleans()),
            ),
            min_size=1,
            max_size=40,
        )
    )
    def test_every_request_is_served_once_whatever_is_scaled_or_fails(self, story):
        finished = []

        class Count:
            def arrived(self, request):
                pass

            def first_token(self, request):
                assert request.first_token_s >= request.arrival_s

            def completed(self, request):
                assert request.completed_s >= request.first_token_s
                finished.append(request)

        deployment = make(startup_s=0.2, observer=Count())
        time, requests = 0.0, []
        for pause, isl, osl, prefill, decode, prefill_fails, decode_fails in story:
            time += pause
            requests.append(deployment.submit(time, isl, osl))
            deployment.scale(prefill=prefill, decode=decode)
            if prefill_fails:
                deployment.prefill.fail()
            if decode_fails:
                deployment.decode.fail()
            assert deployment.inflight == len(requests) - len(finished)
        deployment.scale(prefill=2, decode=2)
        deployment.drain()
        assert sorted(map(id, finished)) == sorted(map(id, requests))
        assert deployment.inflight == deployment.queued == 0
        assert deployment.workers == (Workers(2), Workers(2))


def waits_ms(deployment, gaps, isl):
    time, requests = 0.0, []
    for gap, length in zip(gaps, isl, strict=True):
        time += gap
        requests.append(deployment.submit(time, isl=length, osl=1))
    deployment.drain()
    return np.array([request.ttft_ms - request.isl for request in requests])


@pytest.mark.parametrize("utilisation", [0.5, 0.7])
def test_waiting_is_that_of_an_m_d_1_queue(utilisation):
    """Mean wait of M/D/1: rho / (2 (1 - rho)) service times (Pollaczek and Khinchine)."""
    gaps = np.random.default_rng(1).exponential(0.1 / utilisation, 150_000)
    waits = waits_ms(make(), gaps, [100] * len(gaps))
    assert waits.mean() == pytest.approx(utilisation / (2 * (1 - utilisation)) * 100, rel=0.03)


def test_waiting_is_that_of_an_m_m_1_queue():
    """Mean wait of M/M/1: rho / (1 - rho) service times; a share 1 - rho does not wait."""
    generator = np.random.default_rng(3)
    gaps = generator.exponential(0.2, 400_000)
    isl = np.maximum(1, generator.exponential(100, len(gaps)).round()).astype(int)
    waits = waits_ms(make(), gaps, isl.tolist())
    assert waits.mean() == pytest.approx(100, rel=0.03)
    assert (waits > 1e-6).mean() == pytest.approx(0.5, abs=0.01)


def test_waiting_is_that_of_an_m_m_c_queue():
    """A share C(c, a) waits (Erlang C), on average C / (c - a) service times."""
    servers, load = 5, 3.0
    generator = np.random.default_rng(4)
    gaps = generator.exponential(0.1 / load, 400_000)
    isl = np.maximum(1, generator.exponential(100, len(gaps)).round()).astype(int)
    waits = waits_ms(make(workers=(servers, 0)), gaps, isl.tolist())
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    erlang_c = last / (sum(terms) + last)
    assert (waits > 1e-6).mean() == pytest.approx(erlang_c, rel=0.03)
    assert waits.mean() == pytest.approx(erlang_c / (servers - load) * 100, rel=0.03)


@pytest.mark.parametrize(("servers", "load"), [(2, 1.6), (8, 6.8)])
def test_waiting_is_that_of_an_m_d_c_queue(servers, load):
    """Whoever is served now has left one service later: N(t + D) = max(0, N(t) - c) + arrivals in D (Crommelin 1932).

    The equation has one distribution that it leaves as it is; Little's law turns its mean into a wait.
    """
    gaps = np.random.default_rng(6).exponential(0.1 / load, 200_000)
    waits = waits_ms(make(workers=(servers, 0)), gaps, [100] * len(gaps))
    size = 200
    arrivals = np.array([math.exp(k * math.log(load) - load - math.lgamma(k + 1)) for k in range(size)])
    numbers = np.full(size, 1 / size)
    for _ in range(2000):
        left = numbers[servers:].copy()
        left[0] += numbers[:servers].sum()
        numbers = np.convolve(left, arrivals)[:size]
        numbers /= numbers.sum()
    waiting = numbers @ np.arange(size) - load
    assert waits.mean() == pytest.approx(waiting / load * 100, rel=0.03)


def test_concurrency_is_that_of_a_processor_sharing_queue():
    """Poisson arrivals of rate l, outputs of 99 gaps on average, ITL 10 + n ms: mean n by the balance equations."""
    generator = np.random.default_rng(5)
    rate, gaps_mean = 5.0, 99.0
    deployment = make(workers=(1000, 1), engine=capacious())
    time, seen = 0.0, []
    for gap in generator.exponential(1 / rate, 60_000):
        time += gap
        deployment.advance(time)
        # Poisson arrivals see time averages; geometric outputs make the number in the batch a birth-death process.
        seen.append(deployment.decode.running)
        deployment.submit(time, isl=1, osl=1 + int(generator.geometric(1 / gaps_mean)))
    weight, total, mean = 1.0, 1.0, 0.0
    for n in range(1, 200):
        departures = n / (gaps_mean * (10 + n) / 1000)
        weight *= rate / departures
        total += weight
        mean += n * weight
    assert np.mean(seen) == pytest.approx(mean / total, rel=0.03)


class TestParts:
    def test_time_never_goes_back(self):
        agenda = Agenda(5.0)
        with pytest.raises(ValueError, match="never goes back"):
            agenda.advance(4.0)

    def test_things_of_one_instant_happen_in_the_order_of_planning(self):
        agenda, seen = Agenda(), []
        for number in range(5):
            agenda.plan(1.0, seen.append, number)
        assert agenda.next_s == 1.0
        agenda.advance(1.0)
        assert seen == list(range(5))

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=60))
    def test_the_least_loaded_is_found(self, moves):
        balance, loads = Balance(), {}
        for worker, load in moves:
            if worker in loads:
                balance.move(worker, loads[worker], load)
            else:
                balance.add(worker, load)
            loads[worker] = load
            assert loads[balance.least()] == min(loads.values())
            assert len(balance) == len(loads)


def test_traffic_has_the_rate_and_the_lengths_asked_for():
    rate = with_burst(day_curve(low_rps=2, high_rps=20, period_s=600), begin=600, length_s=60, factor=3)
    assert rate(0) == pytest.approx(2)
    assert rate(300) == pytest.approx(20)
    assert rate(600) == pytest.approx(6)
    traffic = Traffic(lambda _: 10.0, most_rps=30, isl=2000, osl=300, generator=np.random.default_rng(2))
    arrivals = []
    for arrival in traffic.arrivals(100.0):
        if arrival.time > 1100:
            break
        arrivals.append(arrival)
    assert len(arrivals) == pytest.approx(10_000, rel=0.03)
    assert np.mean([arrival.isl for arrival in arrivals]) == pytest.approx(2000, rel=0.03)
    assert np.mean([arrival.osl for arrival in arrivals]) == pytest.approx(300, rel=0.03)


def test_the_same_seed_gives_the_same_traffic():
    def first(seed):
        traffic = Traffic(lambda _: 5.0, most_rps=5, isl=100, osl=10, generator=np.random.default_rng(seed))
        arrivals = traffic.arrivals(0.0)
        return [next(arrivals) for _ in range(50)]

    assert first(3) == first(3)
    assert first(3) != first(4)
