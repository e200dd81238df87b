"""Whatever people write: it leads to a deployment or to a sentence that says what is wrong, never to a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import copy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.dgdr.generate import from_profile
from planner.dgdr.issues import DgdrError, RequestError
from planner.dgdr.request import Request
from profiles import read_data, sample_profile_dir
from tests.dgdr.render.conftest import ALPHA, BETA, DGDS, REQUESTS, alpha, beta, load

PROFILE = read_data(sample_profile_dir())
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-5, 10**9), st.floats(), st.text(max_size=8))
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def places(value, above=()):
    """Paths of everything in a manifest."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*above, key)
        yield from places(one, (*above, key))


@st.composite
def spoilt(draw, manifests):
    """A manifest in which one thing is something else."""
    body = copy.deepcopy(draw(st.sampled_from(manifests)))
    *above, last = draw(st.sampled_from(list(places(body))))
    place = body
    for key in above:
        place = place[key]
    place[last] = draw(ANYTHING)
    return body


@FEW
@given(spoilt([ALPHA, BETA, *(load(path)[0] for path in REQUESTS)]))
def test_requests(manifest):
    with contextlib.suppress(RequestError):
        request = Request.parse(manifest)
        assert request.sla.ttft_ms > 0
        assert request.sla.isl >= 1
        assert request.backend in {"auto", "vllm", "sglang", "trtllm"}


@FEW
@given(spoilt([load(DGDS / "vllm-v1alpha1.yaml")[0], load(DGDS / "vllm-v1beta1.yaml")[0]]))
def test_bases(base):
    with contextlib.suppress(DgdrError):
        asyncio.run(from_profile(alpha(), PROFILE, base))


@FEW
@given(ANYTHING)
def test_what_is_laid_over(spec):
    with contextlib.suppress(DgdrError):
        asyncio.run(from_profile(beta(overrides={"dgd": {"spec": spec}}), PROFILE))
