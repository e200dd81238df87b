"""The SLA planner: how many prefill and decode workers an LLM deployment needs, all the time.

from planner import Observation, Planner, Settings, Workers

planner = Planner(Settings(profile_results_dir="profiling_results", adjustment_interval=180))
decision = planner.step(Observation(time=180.0, interval=180.0, requests_started=240, isl=3000.0, osl=150.0))
print(decision.prefill, decision.decode, decision.explanation.reason)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.core.decision import Decision, Explanation
    from planner.core.observation import Observation, Workers
    from planner.daemon import PlannerDaemon
    from planner.planner import Planner
    from planner.settings import Settings

__all__ = ["Decision", "Explanation", "Observation", "Planner", "PlannerDaemon", "Settings", "Workers"]

_HOMES = {
    "Decision": "planner.core.decision",
    "Explanation": "planner.core.decision",
    "Observation": "planner.core.observation",
    "Planner": "planner.planner",
    "PlannerDaemon": "planner.daemon",
    "Settings": "planner.settings",
    "Workers": "planner.core.observation",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``--help`` does not wait for numpy."""
    from importlib import import_module  # noqa: PLC0415

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
