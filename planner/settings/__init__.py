"""The settings: every option of the planner with its default, unit, bounds and help, a group a file."""

from planner.settings.decision import NO_BUDGET
from planner.settings.deployment import DeploymentOptions
from planner.settings.election import ElectionOptions
from planner.settings.engine import EngineOptions
from planner.settings.kubernetes import ClusterOptions, KubernetesOptions
from planner.settings.misspelling import misspelt, nearest
from planner.settings.options import OptionGroup, extra, flag
from planner.settings.profile import ProfileOptions
from planner.settings.reload import Reload
from planner.settings.report import ReportOptions
from planner.settings.settings import GROUPS, Found, Settings, environment_names, from_environment
from planner.settings.source import SourceOptions
from planner.settings.targets import TargetOptions
from planner.settings.validation import ConfigurationError, validate
from planner.settings.virtual import VirtualOptions

__all__ = [
    "GROUPS",
    "NO_BUDGET",
    "ClusterOptions",
    "ConfigurationError",
    "DeploymentOptions",
    "ElectionOptions",
    "EngineOptions",
    "Found",
    "KubernetesOptions",
    "OptionGroup",
    "ProfileOptions",
    "Reload",
    "ReportOptions",
    "Settings",
    "SourceOptions",
    "TargetOptions",
    "VirtualOptions",
    "environment_names",
    "extra",
    "flag",
    "from_environment",
    "misspelt",
    "nearest",
    "validate",
]
