"""Contestants and their arrivals."""

from planner import Settings
from planner.simulate.contest import Conditions, Entry, Load, compete
from planner.simulation.pattern import Pattern
from profiles import sample_profile_dir


def test_a_run_that_has_ended_has_seen_everything():
    load = Load(pattern=Pattern(kind="constant", rps=3.0, peak_rps=3.0, duration_s=250.0))
    entry = Entry(name="static", kind="static", settings=Settings(profile_results_dir=str(sample_profile_dir())))
    seen = []
    run = compete(entry, Conditions(load=load, initial=(1, 1)), seen.append)
    assert seen[-1] == run.score.requests
