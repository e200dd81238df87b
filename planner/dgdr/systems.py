"""GPUs by the names they go by in a cluster."""

from __future__ import annotations

import re

# Of the boards that a product name may mean, the one that data centres have.
_SYSTEMS = (
    ("gb300", "gb300"),
    ("gb200", "gb200"),
    ("b300", "b300_sxm"),
    ("b200", "b200_sxm"),
    ("h200", "h200_sxm"),
    ("h100", "h100_sxm"),
    ("a100", "a100_sxm"),
    ("l40s", "l40s"),
)


def system_name(sku: str) -> str:
    """The system that a name means: ``NVIDIA-H100-80GB-HBM3``, a label of nodes, is ``h100_sxm``.

    What is no product name of NVIDIA's, or names a board that is not one of these, stays as it is.
    """
    lowered = sku.lower()
    if not re.match(r"nvidia[-_ ]", lowered) or "pcie" in lowered or "nvl" in lowered:
        return sku
    return next((system for product, system in _SYSTEMS if product in re.split(r"[-_ ]", lowered)), sku)
