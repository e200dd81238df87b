from hypothesis import given
from hypothesis import strategies as st

from planner.core.budget import Limits


@st.composite
def limits_and_needs(draw):
    prefill_gpus = draw(st.integers(1, 16))
    decode_gpus = draw(st.integers(1, 16))
    min_endpoint = draw(st.integers(0, 5))
    least = min_endpoint * (prefill_gpus + decode_gpus)
    max_gpus = draw(st.one_of(st.none(), st.integers(least, least + 500)))
    limits = Limits(min_endpoint=min_endpoint, max_gpus=max_gpus, prefill_gpus=prefill_gpus, decode_gpus=decode_gpus)
    needs = draw(st.tuples(st.integers(0, 1000), st.integers(0, 1000)))
    return limits, limits.raise_to_minimum(*needs)


@given(limits_and_needs())
def test_budget_and_minimum_always_hold(case):
    limits, needs = case
    prefill, decode = limits.cut_to_budget(*needs)
    assert limits.min_endpoint <= prefill <= needs[0]
    assert limits.min_endpoint <= decode <= needs[1]
    assert limits.max_gpus is None or limits.gpus(prefill, decode) <= limits.max_gpus


@given(limits_and_needs())
def test_what_fits_is_left_alone(case):
    limits, needs = case
    if limits.max_gpus is None or limits.gpus(*needs) <= limits.max_gpus:
        assert limits.cut_to_budget(*needs) == needs


@given(limits_and_needs())
def test_no_worker_that_is_needed_and_fits_is_left_out(case):
    limits, needs = case
    if limits.max_gpus is None:
        return
    prefill, decode = limits.cut_to_budget(*needs)
    spare = limits.max_gpus - limits.gpus(prefill, decode)
    assert prefill == needs[0] or spare < limits.prefill_gpus
    assert decode == needs[1] or spare < limits.decode_gpus


@given(limits_and_needs(), st.integers(0, 50), st.integers(0, 50))
def test_wishes_never_take_from_needs_nor_break_the_budget(case, more_prefill, more_decode):
    limits, needs = case
    wishes = needs[0] + more_prefill, needs[1] + more_decode
    fitted = limits.cut_to_budget(*needs)
    prefill, decode = limits.fill_up(fitted, wishes)
    assert fitted[0] <= prefill <= wishes[0]
    assert fitted[1] <= decode <= wishes[1]
    assert limits.max_gpus is None or limits.gpus(prefill, decode) <= limits.max_gpus


def test_a_budget_not_divisible_by_the_engine_size_is_still_a_cap():
    limits = Limits(min_endpoint=1, max_gpus=15, prefill_gpus=2, decode_gpus=4)
    prefill, decode = limits.cut_to_budget(6, 6)
    assert (prefill, decode) == (3, 2)
    assert limits.gpus(prefill, decode) == 14


def test_both_pools_shrink_in_proportion():
    limits = Limits(min_endpoint=1, max_gpus=12, prefill_gpus=1, decode_gpus=1)
    assert limits.cut_to_budget(8, 16) == (4, 8)


def test_the_minimum_of_the_other_pool_is_never_eaten():
    limits = Limits(min_endpoint=1, max_gpus=8, prefill_gpus=1, decode_gpus=4)
    assert limits.cut_to_budget(100, 1) == (4, 1)
