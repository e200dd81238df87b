"""``measure`` against a stand-in engine whose profile is known."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from profiles.making.endpoint import Endpoint
from profiles.making.measure import JOURNAL, measure
from profiles.making.progress import MakingError
from profiles.making.request import MeasureRequest
from profiles.making.sweep import Precision
from profiles.provenance import Engine
from profiles.synthetic import itl_ms, ttft_ms

SMALL = {"lengths": (100, 4000), "prefill_points": 5, "context_points": 3, "batch_points": 4, "steps": 24}
TINY = {"lengths": (100, 800), "prefill_points": 3, "context_points": 2, "batch_points": 2, "steps": 16}
QUICK = Precision(wanted=0.1, least=2, most=2)


def request(engine, api="completions", **options):
    endpoint = Endpoint(url=engine.url, timeout_s=60, api=api)
    return MeasureRequest(**{"prefill": endpoint, "decode": endpoint, "most_sequences": 16, **SMALL, **options})


@pytest.fixture
def measured(virtually, stand_in, tmp_path):
    """Measures a stand-in in virtual time: ``measured({options of the stand-in}, {of the request})``."""

    def run(engine_options=(), options=(), *, fault=None, on_progress=lambda _: None, before=None):
        async def go():
            async with stand_in(**dict(engine_options)) as engine:
                wanted = request(engine, **dict(options))
                engine.fault = fault

                def told(progress):
                    if before:
                        before(engine, progress)
                    on_progress(progress)

                found = await measure(wanted, tmp_path, on_progress=told, cpu_s=lambda: 0.0)
                return found, engine

        return virtually(go())

    return run


def off(data, *, ttft=ttft_ms, itl=itl_ms):
    """Relative errors of a profile's TTFT and ITL."""
    columns = data.prefill.columns
    pairs = zip(columns["prefill_isl"], columns["prefill_ttft"], strict=True)
    of_ttft = np.array([abs(found / ttft(isl) - 1) for isl, found in pairs])
    context = data.decode.columns["y_context_length"]
    batch = data.decode.columns["x_kv_usage"] * data.decode.max_kv_tokens / context
    truth = np.array([itl(n, y) for n, y in zip(batch, context, strict=True)])
    return of_ttft, abs(data.decode.columns["z_itl"] / truth - 1)


def test_recovers_the_profile(measured):
    progress = []
    found, engine = measured(on_progress=progress.append)
    assert (found.failures, found.missing, len(found.entries)) == ((), 0, 17)
    of_ttft, of_itl = off(found.data)
    assert np.median(of_ttft) < 0.01
    assert np.median(of_itl) < 0.01
    assert max(*of_ttft, *of_itl) < 0.05
    assert found.data.decode.max_kv_tokens == 60_000
    assert found.data.provenance.model == "tiny"
    assert len(set(engine.prompts)) == len(engine.prompts), "a prompt that came twice could be cached"
    assert [one.done for one in progress] == sorted(one.done for one in progress)
    assert progress[-1].done == progress[-1].total == 17
    assert progress[-1].left_s == 0


@pytest.mark.parametrize(
    ("engine_options", "options"),
    [
        ({"tokens_per_chunk": 3}, {}),
        ({"tokens_per_chunk": 3, "continuous_usage": False}, {}),
        ({"continuous_usage": False}, {"api": "chat"}),
    ],
)
def test_recovers_it_however_tokens_are_streamed(measured, engine_options, options):
    found, _ = measured(engine_options, {**TINY, "steps": 30, **options})
    assert found.failures == ()
    of_ttft, of_itl = off(found.data)
    # A first piece of three tokens comes two steps late: that is what its reader waits for.
    assert np.median(of_ttft) < (0.01 if engine_options.get("tokens_per_chunk", 1) == 1 else 0.9)
    assert np.median(of_itl) < 0.04


def test_separate_engines_for_each_role(virtually, stand_in, tmp_path):
    async def go():
        async with stand_in(ttft=lambda isl: 3 * ttft_ms(isl)) as prefill, stand_in(max_kv_tokens=30_000) as decode:
            wanted = request(decode, **TINY, prefill_engine=Engine(gpus=2), decode_engine=Engine(gpus=4, tp=4))
            wanted = MeasureRequest(
                **{name: getattr(wanted, name) for name in wanted.__dataclass_fields__}
                | {"prefill": Endpoint(url=f"{prefill.url}/v1/")}
            )
            return await measure(wanted, tmp_path, cpu_s=lambda: 0.0)

    found = virtually(go())
    of_ttft, of_itl = off(found.data, ttft=lambda isl: 3 * ttft_ms(isl))
    assert np.median(of_ttft) < 0.01
    assert np.median(of_itl) < 0.02
    engines = found.data.engines()
    assert (engines.prefill.gpus, engines.decode.gpus, engines.decode.max_kv_tokens) == (2, 4, 30_000)


def test_an_engine_that_refuses_unknown_fields_is_measured_without(measured):
    found, _ = measured({}, TINY, fault="refuses extras")
    assert found.failures == ()
    assert np.median(off(found.data)[1]) < 0.04


def test_the_limit_of_sequences_is_found_out(measured):
    found, _ = measured({"max_num_seqs": 6}, {**TINY, "batch_points": 4})
    assert found.data.provenance.decode.max_num_seqs == 6
    assert any("at most 6 sequences at once" in note for note in found.notes)
    assert any(
        "beyond the 6 sequences" in failure.reason or "at most 6" in failure.reason for failure in found.failures
    )
    assert len(found.entries) > 3


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("error", "HTTP 500: .*CUDA out of memory"),
        ("no usage", "the stream had no usage"),
        ("counts no prompt", "usage counts 7 tokens for a prompt of 64 words and 7 for one of 512"),
        ("counts too few", "usage counts 1 tokens of output, the stream had 4 pieces"),
        ("ends early", "ended after 2 of 4 tokens: the server does not honour ignore_eos"),
        ("hangs", "nothing came for 60 s after"),
        ("breaks off", "pieces of the stream"),
        ("error in the stream", "the stream carried an error: .*engine died"),
    ],
)
def test_a_broken_server_is_refused_with_its_symptom(measured, tmp_path, fault, complaint):
    with pytest.raises(MakingError, match=complaint):
        measured({}, TINY, fault=fault)


def test_a_server_that_breaks_down_keeps_what_was_measured(measured, tmp_path):
    def breaks(engine, progress):
        engine.fault = "hangs" if progress.done >= 5 else None

    found, _ = measured({}, {**TINY, "batch_points": 3}, before=breaks)
    assert len(found.entries) == 5
    assert len(found.failures) == 3
    assert all("nothing came for 60 s" in failure.reason for failure in found.failures)
    assert any("given up after 3 failures in a row" in note for note in found.notes)
    assert found.missing == 1
    assert found.data is not None


def test_a_measurement_goes_on_where_it_broke_off(virtually, stand_in, tmp_path):
    async def go():
        async with stand_in() as engine:
            wanted = request(engine, **TINY)
            progress = []

            def interrupt(moment):
                progress.append(moment)
                if moment.done == 4:
                    raise asyncio.CancelledError

            with pytest.raises(asyncio.CancelledError):
                await measure(wanted, tmp_path, on_progress=interrupt, cpu_s=lambda: 0.0)
            before = engine.requests
            with (tmp_path / JOURNAL).open("a") as torn:
                torn.write('{"kind": "decode", "at": [')
            found = await measure(wanted, tmp_path, cpu_s=lambda: 0.0)
            assert engine.requests > before
            return found, progress

    found, _progress = virtually(go())
    assert (found.failures, found.missing, len(found.entries)) == ((), 0, 7)
    points = [tuple(json.loads(line)["at"]) for line in (tmp_path / JOURNAL).read_text().splitlines()[1:]]
    assert len(points) == len(set(points)) == 7


def test_a_time_limit_leaves_a_coarse_profile_of_the_whole_range(measured):
    found, _ = measured({}, {"time_limit_s": 4.0, "precision": QUICK})
    assert found.missing > 0
    assert any("time limit passed" in note for note in found.notes)
    contexts = found.data.decode.columns["y_context_length"]
    assert contexts.max() == 4000
    assert contexts.min() < 200


def test_another_measurement_in_the_same_folder_is_refused(virtually, stand_in, tmp_path):
    async def go():
        async with stand_in() as engine:
            await measure(request(engine, **TINY), tmp_path, cpu_s=lambda: 0.0)
            with pytest.raises(MakingError, match=r"steps 16 rather than 32.*--restart"):
                await measure(request(engine, **{**TINY, "steps": 32}), tmp_path)

    virtually(go())


def test_two_measurements_at_once_do_not_mix(virtually, stand_in, tmp_path):
    async def go():
        async with stand_in() as engine:
            both = [measure(request(engine, **TINY), tmp_path, cpu_s=lambda: 0.0) for _ in range(2)]
            return await asyncio.gather(*both, return_exceptions=True)

    outcomes = virtually(go())
    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, MakingError)]
    assert "another measurement writes there" in str(refused)
    (found,) = [outcome for outcome in outcomes if not isinstance(outcome, MakingError)]
    assert found.missing == 0


def test_passwords_in_addresses_are_kept_nowhere(virtually, stand_in, tmp_path):
    async def go():
        async with stand_in() as engine:
            endpoint = Endpoint(url=engine.url.replace("://", "://me:secret@"), api_key="hidden")
            wanted = MeasureRequest(prefill=endpoint, decode=endpoint, most_sequences=2, **TINY)
            assert "hidden" not in repr(wanted)
            return await measure(wanted, tmp_path, cpu_s=lambda: 0.0)

    found = virtually(go())
    assert "secret" not in json.dumps(found.data.provenance.as_dict())
    assert "secret" not in (tmp_path / JOURNAL).read_text()


def test_points_that_stay_unsure_are_said(virtually, stand_in, tmp_path):
    wobble = iter(range(1_000_000))

    async def go():
        async with stand_in(ttft=lambda isl: ttft_ms(isl) * (1 + next(wobble) % 2)) as engine:
            return await measure(request(engine, **TINY, precision=QUICK), tmp_path, cpu_s=lambda: 0.0)

    assert any("points are not as sure as 10.0%" in note for note in virtually(go()).notes)


def test_a_cache_of_unknown_size_must_be_told(measured):
    with pytest.raises(MakingError, match="give --max-kv-tokens"):
        measured({"tells_limits": False}, TINY)
    found, _ = measured({"tells_limits": False}, {**TINY, "max_kv_tokens": 20_000})
    assert found.data.decode.max_kv_tokens == 20_000


def test_nobody_there(virtually, tmp_path, free_port):
    nobody = Endpoint(url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(MakingError, match=r"cannot be measured: .*/v1/models: Connect"):
        virtually(measure(MeasureRequest(prefill=nobody, decode=nobody), tmp_path))


def test_a_model_that_is_not_served(virtually, stand_in, tmp_path):
    async def go():
        async with stand_in() as engine:
            wrong = Endpoint(url=engine.url, model="large")
            await measure(MeasureRequest(prefill=wrong, decode=wrong), tmp_path)

    with pytest.raises(MakingError, match="does not serve 'large'; it has tiny"):
        virtually(go())


def test_a_client_that_cannot_keep_up_says_so(virtually, stand_in, tmp_path):
    ticks = iter(range(1_000_000))

    async def go():
        async with stand_in() as engine:
            return await measure(request(engine, **TINY), tmp_path, cpu_s=lambda: 1000.0 * next(ticks))

    assert any("used a core to the full" in note for note in virtually(go()).notes)
