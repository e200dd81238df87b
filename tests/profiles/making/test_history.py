"""Fitting and correcting profiles by what was served."""

from __future__ import annotations

import math

import numpy as np
import pytest

from profiles import Provenance, data_of_points
from profiles.making.history import Served, fit_history
from profiles.making.progress import MakingError
from profiles.provenance import Engine
from profiles.synthetic import itl_ms, ttft_ms

TOKENS = 900_000


def history(*, ttft=ttft_ms, itl=itl_ms, noise=0.03, intervals=200, isl=(500, 6000), queues=True, seed=1):
    """A day of a deployment whose engines are known: load and lengths wander, TTFT waits in M/D/1 queues."""
    random = np.random.default_rng(seed)
    served = []
    for index in range(intervals):
        share = 0.5 + 0.45 * math.sin(index / intervals * 4 * math.pi)
        length = isl[0] + (isl[1] - isl[0]) * random.uniform() ** 2
        service_s = ttft(length) / 1000
        rate = 0.05 + share * 0.6 / service_s * 2
        busy = rate / 2 * service_s
        wait_s = service_s * busy / (2 * (1 - busy)) if queues else 0.0
        osl, workers = 300.0, 1 + int(rate / 30)
        step = 5.0
        for _ in range(60):
            step = itl(max(1.0, rate * osl * step / 1000 / workers), length + osl / 2)
        served.append(
            Served(
                requests=rate * 300,
                rate_rps=rate,
                isl=length,
                osl=osl,
                ttft_ms=(service_s + wait_s) * 1000 * random.lognormal(0, noise),
                itl_ms=step * random.lognormal(0, noise),
                prefill_workers=2,
                decode_workers=workers,
            )
        )
    return served


def base():
    return data_of_points(
        [(isl, ttft_ms(isl)) for isl in np.geomspace(100, 16_000, 12).round()],
        [
            (n, y, itl_ms(n, y))
            for y in np.geomspace(200, 16_000, 6).round()
            for n in (1, 4, 16, 64, 200)
            if n * y < TOKENS
        ],
        max_kv_tokens=TOKENS,
        provenance=Provenance(how="estimated", model="tiny", system="s", decode=Engine(gpus=2, max_num_seqs=300)),
    )


def test_the_wait_is_taken_out_of_ttft():
    service_s, rate = 0.2, 3.5
    busy = rate * service_s
    waited = service_s + service_s * busy / (2 * (1 - busy))
    one = Served(
        requests=1,
        rate_rps=rate,
        isl=1,
        osl=1,
        ttft_ms=waited * 1000,
        itl_ms=1,
        prefill_workers=1,
        decode_workers=1,
    )
    assert one.idle_ttft_ms == pytest.approx(200)
    assert one.utilisation == pytest.approx(busy)


def test_a_profile_is_corrected_where_and_as_far_as_it_was_off():
    served = history(ttft=lambda isl: 1.3 * ttft_ms(isl), itl=lambda n, y: 1.4 * itl_ms(n, y))
    fitted = fit_history(served, provenance=Provenance(decode=Engine(gpus=4)), base=base())
    assert fitted.ttft_ratio == pytest.approx(1.3, rel=0.03)
    assert fitted.itl_ratio == pytest.approx(1.4, rel=0.03)
    engines = fitted.data.engines()
    for isl in (100, 1000, 3000, 6000, 16_000):
        assert engines.prefill.ttft_ms(isl) == pytest.approx(1.3 * ttft_ms(isl), rel=0.06)
    for n, y in ((1, 1000), (16, 3000), (64, 3000), (200, 500)):
        assert engines.decode.itl_ms(n, y) == pytest.approx(1.4 * itl_ms(n, y), rel=0.06)
    known = fitted.data.provenance
    assert (known.how, known.model, known.decode.gpus, known.decode.max_num_seqs) == ("observed", "tiny", 4, 300)
    assert known.details["base"]["how"] == "estimated"


def test_the_correction_is_local():
    bent = history(ttft=lambda isl: ttft_ms(isl) * (1.0 if isl < 1500 else 1.5), noise=0.01, intervals=400)
    engines = fit_history(bent, provenance=Provenance(), base=base()).data.engines()
    assert engines.prefill.ttft_ms(700) < 1.2 * ttft_ms(700)
    assert engines.prefill.ttft_ms(4500) > 1.35 * ttft_ms(4500)


def test_without_a_base_a_profile_is_fitted_to_what_was_observed():
    served = history(intervals=300)
    fitted = fit_history(served, provenance=Provenance(), max_kv_tokens=TOKENS)
    engines = fitted.data.engines()
    errors = [abs(engines.prefill.ttft_ms(one.isl) / ttft_ms(one.isl) - 1) for one in served]
    assert np.median(errors) < 0.05
    errors = [
        abs(
            engines.decode.itl_ms(one.concurrency, one.context_length) / itl_ms(one.concurrency, one.context_length) - 1
        )
        for one in served
    ]
    assert np.median(errors) < 0.05
    assert fitted.data.provenance.details["observed"]["isl"][1] > 4000


def test_intervals_far_off_are_left_out():
    served = history()
    warming = [
        Served(**{name: getattr(one, name) for name in one.__dataclass_fields__} | {"ttft_ms": one.ttft_ms * 20})
        for one in served[:10]
    ]
    fitted = fit_history([*warming, *served], provenance=Provenance(), base=base())
    assert fitted.left_out >= 10
    assert fitted.ttft_ratio == pytest.approx(1.0, rel=0.05)


def test_lengths_and_batches_that_never_varied_are_said():
    alike = history(isl=(2000, 2001))
    fitted = fit_history(alike, provenance=Provenance(), max_kv_tokens=TOKENS)
    assert any("TTFT at other lengths is a guess" in note for note in fitted.notes)
    assert fitted.data.engines().prefill.ttft_ms(2000) == pytest.approx(ttft_ms(2000), rel=0.05)


def test_too_little_is_refused():
    with pytest.raises(MakingError, match=r"3 intervals with requests were found.*at least 5.*--history"):
        fit_history(history(intervals=3), provenance=Provenance(), max_kv_tokens=TOKENS)
    with pytest.raises(MakingError, match=r"--max-kv-tokens, or a profile to correct with --base"):
        fit_history(history(), provenance=Provenance())
