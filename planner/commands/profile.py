"""The commands below ``profile`` and their flags."""

from __future__ import annotations

from pathlib import Path

from planner.commands.values import Group, add_output


def add_show_flags(group: Group) -> None:
    """Declare those of ``show``."""
    _add_folder(group)
    add_output(group, "profile-output", "the plots and the page")


def add_check_flags(group: Group) -> None:
    """Declare those of ``check``."""
    _add_folder(group)
    group.add_argument("--strict", action="store_true", default=False, help="Let warnings fail, too.")


def add_diff_flags(group: Group) -> None:
    """Declare those of ``diff``."""
    group.add_argument("first", metavar="PROFILE", type=str, help="Folder of the profile to compare with.")
    group.add_argument("second", metavar="OTHER", type=str, help="Folder of the profile to compare.")
    group.add_argument(
        "--output", type=Path, metavar="DIR", default=None, help="Folder for a plot of both. (default: none is drawn)"
    )


def add_convert_flags(group: Group) -> None:
    """Declare those of ``convert``."""
    _add_folder(group)
    group.add_argument(
        "--to",
        choices=("npz", "json", "pre-swept", "configmap"),
        required=True,
        help="Layout to write: npz or json as Dynamo's profiler writes them, pre-swept with one row, or a ConfigMap "
        "for kubectl apply.",
    )
    add_output(group, "profile-output", "what is written")
    group.add_argument(
        "--config-map-name",
        metavar="NAME",
        default="planner-profile-data",
        help="Name of the ConfigMap. (default: planner-profile-data)",
    )
    group.add_argument(
        "--config-map-namespace",
        metavar="NAME",
        default=None,
        help="Its Kubernetes namespace. (default: that of whoever applies it)",
    )


def _add_folder(group: Group) -> None:
    group.add_argument(
        "folder",
        metavar="PROFILE",
        nargs="?",
        type=str,
        default=None,
        help="Folder of the profile. (default: --profile-results-dir)",
    )
