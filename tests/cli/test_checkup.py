"""What ``check`` makes of what is deployed."""

import pytest

from planner import Observation
from planner.checkup import check_up
from planner.finding import Finding, Health
from planner.settings import Settings
from profiles import sample_profile_dir
from tests.stubs import PlainConnector, PlainSource


class Deployed(PlainConnector):
    """A deployment of other engines and another model than those of the profile."""

    engine_gpus = (1, 4)
    model_name = "other"

    async def check(self):
        return [Finding(subject="deployment", health=Health.OK, detail="there")]


class Quiet(PlainSource):
    async def observe(self, interval):
        return Observation(time=0.0, interval=interval)


@pytest.fixture
def told(monkeypatch):
    """What is found that is not well."""
    monkeypatch.setattr("planner.checkup.make_source", lambda *_: Quiet())
    monkeypatch.setattr("planner.checkup.make_connector", lambda *_: Deployed())

    async def check(**options):
        settings = Settings(profile_results_dir=str(sample_profile_dir()), **options)
        return [(one.subject, one.health, one.detail) for one in await check_up(settings) if one.health != Health.OK]

    return check


async def test_engines_that_are_not_those_of_the_profile_are_told(told):
    assert await told() == [
        (
            "engines",
            Health.WARNING,
            "a deployed decode worker has 4 GPUs, but the planner reckons with 4 and the profile is of 1",
        ),
        (
            "engines",
            Health.WARNING,
            "the profile was made with model 'synthetic-8b', 'other' is deployed: profile that one",
        ),
    ]


async def test_engines_that_the_budget_cannot_hold_are_told(told):
    ((subject, health, detail),) = await told(max_gpu_budget=4)
    assert (subject, health) == ("GPU budget", Health.FAILED)
    assert "1 + 4 GPUs an engine take 5 GPUs" in detail


@pytest.fixture
def told_of_trace(told, monkeypatch, tmp_path):
    """What is found of a trace to warm up with, where all else is well."""
    monkeypatch.setattr("planner.checkup.make_connector", lambda *_: PlainConnector())

    async def check(text):
        path = tmp_path / "trace.jsonl"
        path.write_text(text)
        return await told(load_predictor_warmup_trace=path)

    return check


async def test_a_past_that_cannot_be_had_is_told(told_of_trace):
    assert await told_of_trace('{"timestamp": 0, "input_length": 10, "output_length": 1}\n') == []
    ((subject, health, detail),) = await told_of_trace("")
    assert (subject, health) == ("warm-up trace", Health.FAILED)
    assert "holds no request" in detail


async def test_lines_of_the_past_that_are_left_out_are_told(told_of_trace):
    ((subject, health, detail),) = await told_of_trace('{"timestamp": 0, "input_length": 10, "output_length": 1}\nx\n')
    assert (subject, health) == ("warm-up trace", Health.WARNING)
    assert "1 line" in detail
