"""``python -m planner profile convert``."""

from __future__ import annotations

from planner.cli import Invocation
from planner.profile.reading import explaining, named_data
from profiles import write_data


@explaining
def convert(invocation: Invocation) -> int:
    """Write the profile in another layout."""
    extras = invocation.extras
    files = write_data(
        named_data(invocation),
        extras.output,
        extras.to,
        name=extras.config_map_name,
        namespace=extras.config_map_namespace,
    )
    for file in files:
        print(f"wrote {file}")  # noqa: T201
    if extras.to == "configmap":
        print(f"apply it with: kubectl apply -f {files[0]}")  # noqa: T201
    return 0
