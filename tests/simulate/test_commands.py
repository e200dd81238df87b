"""``simulate`` and ``forecast`` as their users run them."""

import json
import re
import subprocess
import sys

import pytest

from profiles import sample_profile_dir

COMMON = ("--profile-results-dir", sample_profile_dir(), "--adjustment-interval", 60)
SHORT = (*COMMON, "--pattern", "step", "--rps", 3, "--duration", 1200, "--isl", 2000, "--osl", 100, "--ttft", 500)


def run(*arguments):
    command = [sys.executable, "-W", "error", "-m", "planner", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_contest_prints_a_table_and_leaves_a_report(tmp_path):
    shown = run(
        *("simulate", *SHORT, "--itl", 20, "--compare", "p99=slo-percentile=99,scale-down-window=300"),
        *("--baseline", "clairvoyant", "--baseline", "hpa", "--baseline", "static:4,2", "--output", tmp_path),
    )
    assert shown.returncode == 0, shown.stderr
    for name in ("planner", "p99", "clairvoyant", "hpa", "static 4,2"):
        assert re.search(rf"│{re.escape(name)} ", shown.stdout)
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page), "it needs nothing else"
    assert len(list(tmp_path.glob("*.png"))) == 6, "one of all, and one each"
    content = json.loads((tmp_path / "simulation.json").read_text())
    assert content["planner"]["score"]["requests"] > 3000
    assert content["planner"]["points"][3]["reason"]
    assert (tmp_path / "planner.png").read_bytes().startswith(b"\x89PNG")


def test_a_budget_that_holds_the_planner_back_is_noted(tmp_path):
    shown = run("simulate", *SHORT, "--max-gpu-budget", 2, "--peak-rps", 30, "--output", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"Note: planner needed more than --max-gpu-budget 2 holds in \d+ of 19\s+intervals", shown.stdout)


def test_the_same_command_gives_the_same_figures(tmp_path):
    runs = [run("simulate", *SHORT, "--seed", 4, "--output", tmp_path / str(number)) for number in range(2)]
    assert runs[0].returncode == 0, runs[0].stderr
    first, second = ((tmp_path / str(number) / "simulation.json").read_bytes() for number in range(2))
    assert first == second


def test_the_smallest_static_pool_is_found(tmp_path):
    shown = run("simulate", *SHORT, "--baseline", "static", "--output", tmp_path)
    assert shown.returncode == 0, shown.stderr
    (name,) = [name for name in json.loads((tmp_path / "simulation.json").read_text()) if name.startswith("static ")]
    assert re.fullmatch(r"static \d+\+\d+", name)


def test_an_aggregated_deployment_has_one_pool(tmp_path):
    shown = run(
        *("simulate", *SHORT, "--itl", 20, "--mode", "agg", "--baseline", "clairvoyant", "--baseline", "hpa"),
        *("--baseline", "static", "--baseline", "static:4", "--compare", "rules=sizing=throughput"),
        *("--compare", "apart=mode=disagg", "--output", tmp_path),
    )
    assert shown.returncode == 0, shown.stderr
    content = json.loads((tmp_path / "simulation.json").read_text())
    smallest = next(name for name in content if re.fullmatch(r"static \d+", name) and name != "static 4")
    assert set(content) == {"planner", "rules", "apart", "clairvoyant", "hpa", "static 4", smallest}
    for name, run_ in content.items():
        pools = [point["target"] for point in run_["points"]]
        assert all((prefill == 0) == (name != "apart") for prefill, _ in pools)
    assert content["planner"]["score"]["within_both"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--mode", "agg", "--baseline", "static:4,2"], "expected static:N with --mode agg"),
        (["--mode", "agg", "--initial-prefill", "1"], "--initial-prefill has no meaning with --mode agg"),
        (["--compare", "nonsense"], "expected NAME=flag=value"),
        (["--compare", "a=colour=red"], "'colour' is no option"),
        (["--compare", "a=ttft=fast"], "--ttft: 'fast' (--compare a=ttft=fast) is not accepted"),
        (["--baseline", "magic"], "accepted are published, hpa, clairvoyant, static, static:P,D"),
        (["--baseline", "static:4"], "expected static:P,D"),
        (["--trace", "/nowhere.jsonl"], "cannot be read"),
        (["--rps", "-1"], "-1 is not above 0"),
        (["--pattern", "zigzag"], "invalid choice: 'zigzag'"),
        (["--start", "1e9", "--pattern", "ramp", "--duration", "0.0001"], "nothing arrives"),
    ],
)
def test_bad_input_is_named(tmp_path, arguments, complaint):
    refused = run("simulate", *COMMON, "--output", tmp_path, *arguments)
    assert refused.returncode == 2
    assert complaint in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.fixture
def trace(tmp_path):
    file = tmp_path / "trace.csv"
    rows = [f"{600 * n},{10 + 5 * (n % 12)},{1000 + n % 7},{200}" for n in range(120)]
    file.write_text("timestamp_s,request_rate,isl,osl\n" + "\n".join(rows) + "\n")
    return file


def test_a_backtest_prints_a_table_and_leaves_a_plot(trace, tmp_path):
    shown = run(
        *("forecast", "--adjustment-interval", 600, "--trace", trace, "--predictors", "auto,constant,kalman"),
        *("--horizons", "1,2", "--output", tmp_path / "out"),
    )
    assert shown.returncode == 0, shown.stderr
    assert len(re.findall(r"requests +│ +(auto|constant|kalman)", shown.stdout)) == 3
    assert "WAPE +2" in shown.stdout
    assert (tmp_path / "out" / "forecast.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--predictors", "magic"], "'magic' is unknown; accepted are auto, constant"),
        (["--horizons", "0"], "expected whole numbers from 1 to 100"),
        (["--adjustment-interval", 60], "600 s long, from which no intervals of 60 s can be made"),
        (["--adjustment-interval", 900], "give --adjustment-interval 1200"),
    ],
)
def test_a_backtest_names_bad_input(trace, arguments, complaint):
    refused = run("forecast", "--trace", trace, *arguments)
    assert refused.returncode == 2, refused.stdout
    assert complaint in refused.stderr


def test_a_backtest_needs_a_trace():
    refused = run("forecast")
    assert refused.returncode == 2
    assert "--trace" in refused.stderr
