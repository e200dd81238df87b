"""The daemon: a planner that adjusts real workers to a real load, again and again, whatever fails."""

from planner.daemon.daemon import PlannerDaemon

__all__ = ["PlannerDaemon"]
