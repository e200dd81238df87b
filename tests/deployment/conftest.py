"""What is shipped to deploy the planner, read as a cluster or a user would read it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "examples" / "kubernetes"
DGDS = sorted((KUBERNETES / "dgd").glob("*.yaml"))


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def load():
    """The documents of a file under examples/kubernetes."""

    def read(name):
        return list(yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")))

    return read


@pytest.fixture(params=DGDS, ids=lambda path: path.stem)
def dgd(request):
    """A deployment with the planner as a component."""
    return yaml.safe_load(request.param.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def helm():
    """Runs a real helm on the chart: ``helm("template", "name", "--set", ...)``."""
    ours = ROOT / ".venv" / "tools" / "helm"
    binary = str(ours) if ours.exists() else shutil.which("helm")
    if binary is None:
        message = "no helm; tests/install_helm.py installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)

    def run(command, *arguments, check=True):
        positional = [arguments[0]] if command == "template" else []
        rest = arguments[len(positional) :]
        shown = subprocess.run(
            [binary, command, *positional, str(KUBERNETES / "chart"), *rest],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or shown.returncode == 0, shown.stderr
        return shown

    return run


@pytest.fixture(scope="session")
def render(helm):
    """What the chart makes of values, by kind and name."""

    def documents(*values, namespace="ml"):
        shown = helm("template", "planner", "--namespace", namespace, "--set", "deployment.name=vllm-disagg", *values)
        return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(shown.stdout) if one}

    return documents
