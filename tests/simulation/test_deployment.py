import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.observation import Workers
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


def make(workers=(1, 1), startup_s=5.0, engine=None):
    engine = engine or Engine()
    return Deployment(engine, engine, startup_s=startup_s, workers=workers)


class TestByHand:
    def test_one_request(self):
        deployment = make()
        request = deployment.submit(1.0, isl=100, osl=11)
        deployment.advance(10.0)
        assert request.first_token == pytest.approx(1.1)
        assert request.finished == pytest.approx(1.1 + 10 * 0.011)
        assert request.itl_s == pytest.approx(0.011)

    def test_prefill_is_first_come_first_served(self):
        deployment = make()
        first = deployment.submit(0.0, isl=100, osl=1)
        second = deployment.submit(0.01, isl=50, osl=1)
        assert deployment.queued == 1
        deployment.advance(1.0)
        assert first.ttft_s == pytest.approx(0.1)
        assert second.ttft_s == pytest.approx(0.1 + 0.05 - 0.01)

    def test_sequences_share_a_decode_worker(self):
        """Two sequences of 10 gaps: alone 11 ms a token, together 12 ms."""
        deployment = make(workers=(2, 1))
        first = deployment.submit(0.0, isl=100, osl=11)
        second = deployment.submit(0.0, isl=100, osl=11)
        deployment.advance(1.0)
        assert first.finished == pytest.approx(0.1 + 10 * 0.012)
        assert second.finished == pytest.approx(0.1 + 10 * 0.012)

    def test_a_sequence_that_joins_late_slows_the_rest(self):
        """The first has done 5 gaps alone (55 ms) when the second joins; then both move at 12 ms."""
        deployment = make(workers=(2, 1))
        first = deployment.submit(0.0, isl=100, osl=11)
        second = deployment.submit(0.055, isl=100, osl=11)
        deployment.advance(1.0)
        assert first.finished == pytest.approx(0.1 + 5 * 0.011 + 5 * 0.012)
        assert second.finished == pytest.approx(0.155 + 5 * 0.012 + 5 * 0.011)

    def test_kv_capacity_makes_sequences_wait(self):
        """Each holds 600 of 1000 tokens, so the second waits for the first."""
        deployment = make(workers=(2, 1))
        first = deployment.submit(0.0, isl=500, osl=100)
        second = deployment.submit(0.0, isl=500, osl=100)
        deployment.advance(0.6)
        assert deployment.queued == 1
        deployment.advance(10.0)
        assert second.finished == pytest.approx(first.finished + 99 * 0.011)

    def test_a_sequence_larger_than_the_cache_runs_alone(self):
        deployment = make()
        request = deployment.submit(0.0, isl=5000, osl=10)
        deployment.advance(60.0)
        assert request.finished is not None

    def test_max_num_seqs(self):
        engine = Engine()
        engine.max_num_seqs = 1
        deployment = make(workers=(2, 1), engine=engine)
        requests = [deployment.submit(0.0, isl=100, osl=11) for _ in range(2)]
        deployment.advance(1.0)
        assert sorted(request.finished for request in requests) == pytest.approx([0.21, 0.32])


class TestScaling:
    def test_workers_take_time_to_start(self):
        deployment = make()
        deployment.scale(prefill=3, decode=2)
        assert deployment.prefill.workers() == Workers(1, pending=2)
        deployment.advance(4.9)
        assert deployment.decode.workers() == Workers(1, pending=1)
        deployment.advance(5.1)
        assert deployment.prefill.workers() == Workers(3)
        assert deployment.decode.workers() == Workers(2)

    def test_pending_workers_go_first(self):
        deployment = make(workers=(2, 2))
        deployment.scale(prefill=5, decode=5)
        deployment.scale(prefill=2, decode=2)
        assert deployment.prefill.workers() == Workers(2)
        deployment.advance(60.0)
        assert deployment.decode.workers() == Workers(2)

    def test_busy_workers_drain(self):
        deployment = make(workers=(2, 2))
        requests = [deployment.submit(0.0, isl=100, osl=11) for _ in range(2)]
        deployment.scale(prefill=0, decode=2)
        assert deployment.prefill.workers() == Workers(0, draining=2)
        deployment.advance(0.15)
        assert deployment.prefill.workers() == Workers(0)
        deployment.scale(prefill=0, decode=0)
        assert deployment.decode.workers() == Workers(0, draining=2)
        deployment.advance(1.0)
        assert deployment.decode.workers() == Workers(0)
        assert all(request.finished for request in requests)

    @given(
        st.lists(
            st.tuples(st.floats(0, 0.5), st.integers(1, 400), st.integers(1, 60), st.integers(0, 4), st.integers(0, 4)),
            min_size=1,
            max_size=40,
        )
    )
    def test_every_request_is_served_once_whatever_is_scaled(self, story):
        finished = []

        class Count:
            def arrived(self, request):
                pass

            def first_token(self, request):
                assert request.first_token >= request.arrived

            def finished(self, request):
                assert request.finished >= request.first_token
                finished.append(request)

        engine = Engine()
        deployment = Deployment(engine, engine, startup_s=0.2, watcher=Count())
        time, requests = 0.0, []
        for pause, isl, osl, prefill, decode in story:
            time += pause
            requests.append(deployment.submit(time, isl, osl))
            deployment.scale(prefill=prefill, decode=decode)
            assert deployment.inflight == len(requests) - len(finished)
        deployment.scale(prefill=2, decode=2)
        deployment.advance(time + 1000)
        assert sorted(map(id, finished)) == sorted(map(id, requests))
        assert deployment.inflight == deployment.queued == 0
        assert deployment.prefill.workers() == Workers(2)
        assert deployment.decode.workers() == Workers(2)


@pytest.mark.parametrize("utilisation", [0.5, 0.7])
def test_waiting_is_that_of_an_m_d_1_queue(utilisation):
    """Mean wait of M/D/1: rho / (2 (1 - rho)) service times (Pollaczek and Khinchine)."""
    generator = np.random.default_rng(1)
    deployment = make()
    service_s, time, waits = 0.1, 0.0, []
    requests = []
    for gap in generator.exponential(service_s / utilisation, 150_000):
        time += gap
        requests.append(deployment.submit(time, isl=100, osl=1))
    deployment.advance(time + 60)
    waits = [request.ttft_s - service_s for request in requests]
    assert np.mean(waits) == pytest.approx(utilisation / (2 * (1 - utilisation)) * service_s, rel=0.03)


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
