import itertools

from hypothesis import given
from hypothesis import strategies as st

from planner.core.stabilisation import ScaleDownWindow


def settle_all(window_s, needs, step_s=60.0, previous=None):
    window, settled = ScaleDownWindow(), []
    for index, need in enumerate(needs):
        previous = window.settle(index * step_s, window_s, need, previous)
        settled.append(previous)
    return settled


def test_up_at_once_down_after_the_window():
    assert settle_all(120, [2, 5, 2, 2, 2, 2]) == [2, 5, 5, 5, 2, 2]


def test_down_to_the_highest_need_of_the_window():
    assert settle_all(120, [5, 4, 3, 1, 1, 1]) == [5, 5, 5, 4, 3, 1]


def test_no_window_follows_the_need():
    assert settle_all(0, [5, 1, 4, 2]) == [5, 1, 4, 2]


def test_a_planner_that_just_started_takes_nothing_away():
    assert settle_all(120, [1, 1, 1], previous=6) == [6, 6, 1]


def test_patience_adds_nothing():
    window = ScaleDownWindow()
    for index in range(11):
        window.settle(index * 60.0, 600, 8, 8)
    assert window.settle(660, 600, 2, 4) == 4


def changes(settled):
    return sum(one != other for one, other in itertools.pairwise(settled))


def test_a_pool_that_swings_on_noise_is_held_at_the_top_of_its_swing():
    needs = [7 if index % 5 == 0 else 6 for index in range(120)]
    assert changes(settle_all(120, needs)) <= 10


def test_a_reaction_may_be_what_asks_back():
    window = ScaleDownWindow()
    for index, need in enumerate([7, 6, 6, 6]):
        settled = window.settle(60.0 * index, 120, need, 7)
    assert settled == 6
    window.remember(210, 7)
    window.ask_back(210, 120)
    held = [window.settle(60.0 * index, 120, 6, 7) for index in range(4, 11)]
    assert held == [7, 7, 7, 7, 7, 7, 6]


def test_a_load_that_falls_is_followed_whatever_was_asked_back():
    needs = [6, 7, 6, 6, 6, 7, *range(20, 5, -1)]
    assert settle_all(120, needs)[-1] == 8


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.sampled_from([0, 60, 130, 300]))
def test_never_below_the_need(needs, window_s):
    assert all(settled >= need for settled, need in zip(settle_all(window_s, needs), needs, strict=True))


@given(st.lists(st.sampled_from([1, 2]), min_size=10, max_size=60))
def test_noise_at_the_edge_of_a_worker_does_not_flap(needs):
    """Whatever the noise, a pool goes down at most once in a window."""
    settled = settle_all(300, needs)
    downs = [index for index in range(1, len(settled)) if settled[index] < settled[index - 1]]
    assert all(later - earlier >= 5 for earlier, later in itertools.pairwise(downs))
