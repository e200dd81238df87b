"""One pool for both phases: by hand, against closed forms, and nothing lost."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.observation import Workers
from planner.simulation.aggregated import AggregatedDeployment


class Engine:
    """A prompt takes 1 ms a token; a step takes 10 ms and 1 ms for each sequence in the batch."""

    max_num_seqs = None

    def __init__(self, max_kv_tokens=10**9):
        self.max_kv_tokens = max_kv_tokens

    def ttft_ms(self, isl):
        return float(isl)

    def itl_ms(self, concurrency, context_length):
        return 10.0 + concurrency


def make(workers=1, startup_s=5.0, step_tokens=100, engine=None):
    engine = engine or Engine()
    engines = SimpleNamespace(prefill=engine, decode=engine)
    return AggregatedDeployment(engines, startup=lambda: startup_s, step_tokens=step_tokens, workers=workers)


class TestByHand:
    def test_one_request_is_prefilled_and_decoded_by_the_same_worker(self):
        deployment = make()
        request = deployment.submit(1.0, isl=100, osl=11)
        deployment.advance(10.0)
        assert request.first_token_s == pytest.approx(1.1)
        assert request.completed_s == pytest.approx(1.1 + 10 * 0.011)

    def test_a_prompt_slows_the_batch_and_the_batch_the_prompt(self):
        """A prompt of three chunks takes three steps of 100 ms and 11 ms; the sequence beside it gets three tokens."""
        deployment = make()
        first = deployment.submit(0.0, isl=100, osl=11)
        second = deployment.submit(0.1, isl=300, osl=1)
        deployment.advance(10.0)
        assert second.first_token_s == pytest.approx(0.1 + 3 * (0.1 + 0.011))
        assert first.completed_s == pytest.approx(0.1 + 3 * (0.1 + 0.011) + 7 * 0.011)

    def test_a_whole_prompt_in_one_step_stops_the_batch_for_as_long(self):
        deployment = make(step_tokens=300)
        first = deployment.submit(0.0, isl=300, osl=11)
        second = deployment.submit(0.3, isl=300, osl=1)
        deployment.advance(10.0)
        assert second.first_token_s == pytest.approx(0.3 + 0.3 + 0.011)
        assert first.completed_s == pytest.approx(0.3 + 0.3 + 10 * 0.011)

    def test_prompts_are_first_come_first_served(self):
        deployment = make()
        first = deployment.submit(0.0, isl=100, osl=1)
        second = deployment.submit(0.01, isl=50, osl=1)
        assert deployment.queued == 1
        deployment.advance(1.0)
        assert first.ttft_ms == pytest.approx(100)
        assert second.ttft_ms == pytest.approx(100 + 50 - 10)

    def test_a_request_goes_to_the_worker_with_the_fewest_sequences(self):
        deployment = make(workers=2)
        first = deployment.submit(0.0, isl=100, osl=101)
        second = deployment.submit(0.2, isl=100, osl=11)
        deployment.advance(10.0)
        assert first.completed_s == pytest.approx(0.1 + 100 * 0.011), "nobody came to its worker"
        assert second.completed_s == pytest.approx(0.3 + 10 * 0.011)

    def test_a_prompt_waits_for_room_in_the_cache(self):
        deployment = make(engine=Engine(max_kv_tokens=1000))
        first = deployment.submit(0.0, isl=600, osl=11)
        second = deployment.submit(0.0, isl=600, osl=1)
        deployment.advance(0.65)
        assert deployment.queued == 1
        deployment.advance(10.0)
        assert first.completed_s == pytest.approx(0.6 + 10 * 0.011)
        assert second.first_token_s == pytest.approx(first.completed_s + 0.6)

    def test_a_sequence_sent_back_is_prefilled_again(self):
        """Two of 400 tokens fill the cache after 100 more each; the later one begins anew when there is room."""
        deployment = make(engine=Engine(max_kv_tokens=1000), step_tokens=1000)
        first = deployment.submit(0.0, isl=400, osl=301)
        second = deployment.submit(0.0, isl=400, osl=301)
        deployment.drain()
        assert deployment.inflight == 0
        assert second.ttft_ms == pytest.approx(811, rel=0.02), "its first token came before it was sent back"
        left = second.completed_s - first.completed_s
        assert left > 0.4 + 100 * 0.011, "a prompt and a part of its output remained"

    def test_scaling_down_loses_nothing_and_the_worker_leaves_when_done(self):
        deployment = make(workers=2)
        requests = [deployment.submit(0.0, isl=100, osl=101) for _ in range(4)]
        deployment.scale(prefill=0, decode=1)
        assert deployment.workers == (Workers(0), Workers(1, draining=1))
        deployment.drain()
        assert deployment.workers == (Workers(0), Workers(1))
        assert all(request.completed_s is not None for request in requests)

    def test_a_worker_that_fails_gives_everything_back(self):
        deployment = make(workers=2)
        requests = [deployment.submit(0.001 * number, isl=100, osl=51) for number in range(6)]
        deployment.advance(0.35)
        assert deployment.pools[0].fail()
        deployment.drain()
        assert deployment.workers[1] == Workers(1)
        assert all(request.completed_s is not None for request in requests)

    def test_prefill_workers_are_refused(self):
        with pytest.raises(ValueError, match="prefill is 1; an aggregated deployment has no prefill workers"):
            make().scale(prefill=1, decode=1)


@pytest.mark.parametrize("utilisation", [0.5, 0.8])
def test_prompts_alone_wait_as_in_an_m_d_1_queue(utilisation):
    """Mean wait: u / (2 (1 - u)) of a service."""
    generator = np.random.default_rng(7)
    deployment, time = make(), 0.0
    requests = []
    for gap in generator.exponential(0.1 / utilisation, 60_000):
        time += gap
        requests.append(deployment.submit(time, isl=100, osl=1))
    deployment.drain()
    waits = np.array([request.ttft_ms for request in requests]) - 100
    assert waits.mean() == pytest.approx(100 * utilisation / (2 * (1 - utilisation)), rel=0.03)


def test_prompts_slow_tokens_by_the_share_of_time_they_take_and_wait_as_in_an_m_d_1_queue():
    """With steps of 10 ms whatever the batch: ITL 10 / (1 - 0.4), and prompts that take 100 ms and two steps."""
    engine = Engine()
    engine.itl_ms = lambda concurrency, context_length: 10.0
    generator = np.random.default_rng(3)
    deployment, time = make(step_tokens=50, engine=engine), 0.0
    requests = []
    for gap in generator.exponential(1 / 4.0, 30_000):
        time += gap
        requests.append(deployment.submit(time, isl=100, osl=1001))
    deployment.drain()
    steady = requests[1000:]
    assert np.mean([request.itl_ms for request in steady]) == pytest.approx(10 / 0.6, rel=0.02)
    wait_ms = 120 * 0.48 / (2 * (1 - 0.48))
    assert np.mean([request.ttft_ms for request in steady]) == pytest.approx(120 + wait_ms, rel=0.03)


@given(
    data=st.data(),
    shapes=st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 700), st.integers(1, 60)), min_size=1, max_size=40),
)
def test_every_request_is_served_once_whatever_is_scaled_or_fails(data, shapes):
    ended: list[object] = []

    class Watcher:
        def arrived(self, request):
            pass

        def first_token(self, request):
            assert request.completed_s is None

        def completed(self, request):
            ended.append(request)

    engine = Engine(max_kv_tokens=1000)
    engines = SimpleNamespace(prefill=engine, decode=engine)
    deployment = AggregatedDeployment(
        engines, startup=lambda: 0.3, step_tokens=128, workers=data.draw(st.integers(1, 3)), observer=Watcher()
    )
    time, requests = 0.0, []
    for gap, isl, osl in shapes:
        time += gap
        requests.append(deployment.submit(time, isl, osl))
        match data.draw(st.sampled_from(["go on", "scale", "fail"])):
            case "scale":
                deployment.scale(prefill=0, decode=data.draw(st.integers(0, 4)))
            case "fail":
                deployment.pools[0].fail()
    deployment.scale(prefill=0, decode=2)
    deployment.drain()
    assert deployment.inflight == 0
    assert deployment.queued == 0
    assert sorted(map(id, ended)) == sorted(map(id, requests))
    assert all(math.isfinite(request.completed_s) for request in requests)
    assert deployment.workers == (Workers(0), Workers(2))
    assert deployment.pools[0].running == 0
