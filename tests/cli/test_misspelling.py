"""Names that set nothing, and those that may have been meant."""

import pytest

from planner.checkup import check_environment
from planner.finding import Health
from planner.settings import misspelt


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("PLANNER_TFTT", "PLANNER_TTFT"),
        ("PLANNER_MAX_GPUS_BUDGET", "PLANNER_MAX_GPU_BUDGET"),
        ("PLANNER_PROMETHEUS_ENDPOINT", "PROMETHEUS_ENDPOINT"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_one_that_may_be_meant(variable, near):
    assert list(misspelt({variable: "1", "PLANNER_TTFT": "5"})) == [(variable, near)]
    (finding,) = check_environment({variable: "1"})
    assert (finding.health, finding.detail) == (Health.WARNING, f"{variable} sets no option")
    assert finding.remedy == f"did you mean {near}?"


def test_variables_of_others_are_let_alone():
    links = ("PLANNER_SERVICE_HOST", "PLANNER_SERVICE_PORT_METRICS", "PLANNER_PORT", "PLANNER_PORT_9085_TCP_PROTO")
    assert not list(misspelt(dict.fromkeys((*links, "PLANNER_HOME", "PLANNER_IMAGE", "TTFT", "DYN_NAMESPACES"), "x")))
