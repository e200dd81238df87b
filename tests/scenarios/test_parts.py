"""Every part of the planner is there for something: a load on which it does well with it, and badly without."""

from __future__ import annotations

import pytest
from ablations import ABLATIONS
from stories import STORIES

from planner.simulate.contest import compete


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.part.replace(" ", "-"))
def test_without_a_part_a_load_is_not_coped_with(story):
    conditions = story.conditions()
    scores = {entry.name: compete(entry, conditions).score for entry in story.entries()}
    assert story.copes(scores["with"]), scores["with"]
    assert not story.copes(scores["without"]), scores["without"]


def test_there_is_a_story_of_every_part_that_is_taken_out():
    # How lengths are spread shows where many inputs are near to the target, as on recorded traces.
    assert {story.part for story in STORIES} == set(ABLATIONS) - {"spread of lengths"}
