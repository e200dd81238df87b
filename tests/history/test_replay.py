import dataclasses
import json
import re
from itertools import pairwise

import pytest

from planner import Planner, Settings, Workers
from planner.history.replay import replay
from planner.report.reader import HistoryReader
from profiles import sample_profile_dir


@pytest.fixture
def records(recorded):
    return HistoryReader(recorded).records()


def planner(**options):
    usual = {
        "profile_results_dir": str(sample_profile_dir()),
        "adjustment_interval": 60,
        "load_predictor": "kalman",
        "max_gpu_budget": 32,
    }
    return Planner(Settings(**{**usual, **options}))


def test_with_the_recorded_settings_the_recorded_decisions_come_out(records):
    assert {record.kind for record in records} == {"adjustment", "reaction"}
    replayed = replay(planner(), records)
    assert [one.decision for one in replayed] == [one.record.decision for one in replayed]
    assert len(replayed) == len(records)


def test_a_smaller_budget_is_never_exceeded(records):
    replayed = replay(planner(max_gpu_budget=6), records)
    assert all(one.decision.prefill + one.decision.decode <= 6 for one in replayed)
    assert any(one.differs for one in replayed)


def test_patience_looks_at_what_would_have_been_decided(records):
    patient = replay(planner(scale_down_window=7200), records)
    hasty = replay(planner(scale_down_window=0), records)

    def falls(replayed):
        targets = [one.decision.decode for one in replayed]
        return sum(later < earlier for earlier, later in pairwise(targets))

    assert falls(patient) < falls(hasty)
    previous = [(one.decision.prefill, one.decision.decode) for one in patient[:-1]]
    assert [(one.decision.previous_prefill, one.decision.previous_decode) for one in patient[1:]] == previous


def test_a_deployment_that_followed_nobody_stays_as_it_was(records):
    still = [
        dataclasses.replace(
            one, observation=dataclasses.replace(one.observation, prefill=Workers(40), decode=Workers(50))
        )
        for one in records
    ]
    replayed = replay(planner(max_gpu_budget=-1), still)
    assert {one.decision.previous_prefill for one in replayed} == {40}


def test_a_planner_that_does_not_react_leaves_reactions_out(records):
    replayed = replay(planner(reaction_interval=0), records)
    assert {one.record.kind for one in replayed} == {"adjustment"}


def test_the_command_says_nothing_differs_with_the_recorded_settings(command, recorded):
    code, out, _ = command("replay", "--history", recorded)
    assert code == 0
    assert "With the settings that were recorded." in out
    assert re.search(r"\n0 of \d{3} ", out)


def test_the_command_shows_what_differs(command, recorded, tmp_path):
    code, out, _ = command("replay", "--history", recorded, "--ttft", "200", "--max-gpu-budget", "8", "--output", "out")
    assert code == 0
    assert "--ttft 200.0 (was 500.0)" in out
    assert "--max-gpu-budget 8 (was 32)" in out
    result = json.loads((tmp_path / "out" / "replay.json").read_text())
    assert result["settings"] == {
        "ttft": {"recorded": 500.0, "replayed": 200.0},
        "max_gpu_budget": {"recorded": 32, "replayed": 8},
    }
    different = [one for one in result["decisions"] if one["differs"]]
    assert f"{len(different)} of {len(result['decisions'])} decisions differ" in out
    assert result["replayed"]["most_prefill"] + result["replayed"]["most_decode"] <= 16
    assert result["replayed"]["over_budget"] > result["recorded"]["over_budget"]
    assert (tmp_path / "out" / "replay.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--adjustment-interval", "30"), "every 60 s cannot be decided every 30 s"),
        (("--output", "/dev/null"), "--output /dev/null: /dev/null cannot be written: File exists"),
        (("--mode", "agg"), "recorded in mode disagg cannot be decided in mode agg"),
        (("--since", "2030-01-01"), "has no record of that time"),
        (("--max-gpu-budget", "1"), "--max-gpu-budget"),
        (("--profile-results-dir", "/nowhere"), "no prefill profile found"),
    ],
)
def test_mistakes_are_explained(command, recorded, arguments, told):
    code, _, err = command("replay", "--history", recorded, *arguments)
    assert code == 2
    assert told in err
