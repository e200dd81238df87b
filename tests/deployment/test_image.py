"""The image: what can be known of it without building it, which needs a container runtime."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml


@pytest.fixture(scope="module")
def dockerfile(root):
    text = (root / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def context(root, dockerfile, tmp_path_factory):
    """What the first stage copies, as far as .dockerignore lets it through."""
    rules = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules, "everything is left out that is not named"
    folder = tmp_path_factory.mktemp("context")
    for instruction, rest in dockerfile:
        if instruction == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            for source in sources:
                assert any(fnmatch(source, rule) for rule in let_through), f".dockerignore hides {source}"
                copy(root / source, folder / (source if target == "./" else target))
    return folder


def copy(source: Path, target: Path):
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    else:
        shutil.copy(source, target)


def test_it_follows_the_rules_of_the_trade(root):
    binary = Path(sys.executable).with_name("hadolint")
    if not binary.exists():
        pytest.skip("no hadolint on this platform")
    shown = subprocess.run([binary, root / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stdout


def test_what_it_copies_is_a_whole_planner(context, tmp_path):
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    built = subprocess.run(
        [*install, "--target", target, context], capture_output=True, text=True, timeout=120, check=False
    )
    assert built.returncode == 0, built.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "planner", "--environment", "virtual", "--print-config"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target), "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    for data in ("planner/sources/presets/dynamo.yaml", "connectors/virtual/openapi.yaml", "profiles/sample/meta.json"):
        assert (target / data).exists(), f"{data} is not in the image"


def test_it_installs_exactly_what_is_locked(dockerfile):
    installs = [rest for instruction, rest in dockerfile if instruction == "RUN" and "pip install" in rest]
    assert installs[0] == 'pip install -r "${LOCK}"'
    assert ["ARG", "LOCK=requirements.lock"] in dockerfile
    assert all("--no-deps" in rest for rest in installs[1:])


def test_it_runs_without_rights_as_a_user_by_number(dockerfile):
    users = [rest for instruction, rest in dockerfile if instruction == "USER"]
    assert users
    assert users[-1].partition(":")[0].isdigit(), "runAsNonRoot can only check numbers"
    assert users[-1].partition(":")[0] != "0"


def test_its_python_is_the_one_that_the_lock_file_was_made_with(root, dockerfile):
    version = next(rest.partition("=")[2] for instruction, rest in dockerfile if instruction == "ARG")
    for lock in ("requirements.lock", "requirements-aic.lock"):
        assert f"with Python {version}" in (root / lock).read_text(encoding="utf-8")


def test_the_two_images_differ_by_ai_configurator_alone(root):
    def pins(name):
        lines = (root / name).read_text(encoding="utf-8").splitlines()
        return {line for line in lines if re.match(r"[a-z0-9]", line)}

    assert pins("requirements.lock") < pins("requirements-aic.lock")
    assert any(pin.startswith("aiconfigurator-core==") for pin in pins("requirements-aic.lock"))


def test_its_health_check_asks_the_port_that_it_opens(dockerfile):
    values = dict(dockerfile)
    assert "PLANNER_PROMETHEUS_PORT=9085" in values["ENV"]
    assert values["EXPOSE"] == "9085"
    assert "/healthz" in values["HEALTHCHECK"]


def test_manifests_and_image_have_the_version_of_the_project(root, load):
    version = re.search(r'^version = "(.+)"', (root / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    chart = load("chart/Chart.yaml")[0]
    assert (chart["version"], chart["appVersion"]) == (version, version)
    for path in (root / "examples" / "kubernetes").rglob("*.yaml"):
        for tag in re.findall(r"image: \S+/sla-planner:(\S+)", path.read_text(encoding="utf-8")):
            assert tag == version, path
    assert yaml.safe_load((root / "examples/kubernetes/chart/values.yaml").read_text())["image"]["tag"] == ""
