"""The examples, run as their readers run them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from profiles import sample_profile_dir

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_embedded_orchestrator_scales_up():
    command = [sys.executable, "-W", "error", EXAMPLES / "embedded_orchestrator.py", "--seconds", "9"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stderr
    workers = [int(number) for number in re.findall(r"'prefill': (\d+)", shown.stdout)]
    assert workers[0] == 1
    assert workers[-1] > 1
    assert "last: Expecting" in shown.stdout


def test_the_embedded_orchestrator_stays_short():
    assert len((EXAMPLES / "embedded_orchestrator.py").read_text().splitlines()) < 120


def test_the_library_is_used_as_its_page_shows(capsys):
    page = (EXAMPLES.parent / "docs" / "embedding.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code.replace('"profiling_results"', repr(str(sample_profile_dir()))), {})
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 5
    assert all("Expecting 20" in line for line in shown)
