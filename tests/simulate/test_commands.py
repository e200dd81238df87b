"""``simulate`` and ``forecast`` as their users run them."""

import asyncio
import base64
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from planner.__main__ import main
from profiles import sample_profile_dir
from tests.waiting import until

COMMON = ("--profile-results-dir", sample_profile_dir(), "--adjustment-interval", 60)
SHORT = (*COMMON, "--pattern", "step", "--rps", 3, "--duration", 1200, "--isl", 2000, "--osl", 100, "--ttft", 500)


def run(*arguments):
    command = [sys.executable, "-W", "error", "-m", "planner", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def complaint_about(capsys):
    """What is said of arguments that are refused; in this process, as no other one is started."""

    def refuse(*arguments):
        try:
            code = main([*map(str, arguments)])
        except SystemExit as ended:
            code = ended.code
        shown = capsys.readouterr()
        assert (code, shown.out) == (2, "")
        return shown.err

    return refuse


def test_a_pipe_cannot_be_read_twice(tmp_path, complaint_about):
    os.mkfifo(tmp_path / "pipe")
    for command in ("simulate", "forecast"):
        complaint = complaint_about(command, *COMMON, "--trace", tmp_path / "pipe", "--output", tmp_path)
        assert "is no file but a pipe or device" in complaint


@pytest.fixture
def trace(tmp_path):
    file = tmp_path / "trace.csv"
    rows = [f"{600 * n},{10 + 5 * (n % 12)},{1000 + n % 7},{200}" for n in range(120)]
    file.write_text("timestamp_s,request_rate,isl,osl\n" + "\n".join(rows) + "\n")
    return file


def test_a_contest_prints_a_table_and_leaves_a_report(tmp_path):
    shown = run(
        *("simulate", *SHORT, "--itl", 20, "--compare", "p99=slo-percentile=99,scale-down-window=300"),
        *("--baseline", "clairvoyant", "--baseline", "hpa", "--baseline", "static:4,2", "--output", tmp_path),
    )
    assert shown.returncode == 0, shown.stderr
    for name in ("planner", "p99", "clairvoyant", "hpa", "static 4+2"):
        assert re.search(rf"│{re.escape(name)} ", shown.stdout)
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page), "it needs nothing else"
    assert len(list(tmp_path.glob("*.png"))) == 6, "one of all, and one each"
    content = json.loads((tmp_path / "simulation.json").read_text())
    assert content["load"]["requests"] == content["runs"]["planner"]["score"]["requests"] > 3000
    assert content["runs"]["planner"]["points"][3]["reason"]
    assert len(content["runs"]["planner"]["points"]) == 19
    assert all(0 <= point["share_within_both"] <= 1 for point in content["runs"]["planner"]["points"])
    assert content["runs"]["planner"]["score"]["ttft_ms"]["p95"] > 0
    assert content["runs"]["p99"]["settings"]["slo_percentile"] == 99
    documented = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
    for key in (*content, *content["load"], *content["conditions"], *content["runs"]["p99"]["score"]):
        assert f"`{key}" in documented, key
    assert (tmp_path / "planner.png").read_bytes().startswith(b"\x89PNG")


def test_runs_whose_names_make_one_file_name_leave_a_picture_each(tmp_path):
    names = ("a/b", "A-b", "overview")
    shown = run(
        *("simulate", *COMMON, "--duration", 200, "--output", tmp_path),
        *(word for name in names for word in ("--compare", f"{name}=slo-percentile=90")),
    )
    assert shown.returncode == 0, shown.stderr
    assert len(list(tmp_path.glob("*.png"))) == 5, "one of all, and one each"


def test_a_variant_with_targets_of_its_own_is_said_to_be_scored_by_them(tmp_path):
    shown = run("simulate", *COMMON, "--duration", 200, "--compare", "slow=ttft=900", "--output", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Note: slow is scored by its own targets, TTFT 900 ms and ITL 50 ms." in shown.stdout


def test_one_predictor_of_the_published_rules_can_be_chosen(tmp_path):
    shown = run("simulate", *COMMON, "--duration", 200, "--baseline", "published:kalman", "--output", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert list(json.loads((tmp_path / "simulation.json").read_text())["runs"]) == ["planner", "published, kalman"]


@pytest.mark.parametrize(
    ("command", "files"),
    [
        (("simulate", *COMMON, "--duration", 200), {"planner.png", "report.html", "simulation.json"}),
        (("forecast", "--adjustment-interval", 600, "--predictors", "constant"), {"forecast.png", "forecast.json"}),
    ],
)
def test_who_reads_no_more_than_a_line_has_all_files(tmp_path, trace, command, files):
    given = [*command, *(("--trace", trace) if command[0] == "forecast" else ()), "--output", tmp_path / "out"]
    line = [sys.executable, "-m", "planner", *map(str, given)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as shown:
        shown.stdout.close()
    assert {file.name for file in (tmp_path / "out").iterdir()} == files


@pytest.mark.parametrize(("least", "code"), [(1, 0), (99.99, 1)])
def test_a_pipeline_can_ask_for_a_share(tmp_path, least, code):
    steep = ("--pattern", "step", "--rps", 3, "--peak-rps", 40, "--period", 300, "--duration", 400)
    shown = run("simulate", *COMMON, *steep, "--fail-below", least, "--output", tmp_path)
    assert shown.returncode == code, shown.stderr
    assert ("are within both targets, fewer than --fail-below 99.99 asks for" in shown.stderr) == bool(code)
    assert (tmp_path / "simulation.json").exists()


def test_reactions_are_told(tmp_path):
    jump = ("--pattern", "step", "--rps", 3, "--peak-rps", 40, "--period", 610, "--duration", 800)
    shown = run("simulate", *COMMON, *jump, "--max-gpu-budget", -1, "--output", tmp_path)
    assert shown.returncode == 0, shown.stderr
    first, *_ = json.loads((tmp_path / "simulation.json").read_text())["runs"]["planner"]["reactions"]
    assert 610 < first["time_s"] < 660
    assert first["target"]["prefill"] > 1
    assert first["reason"]
    recording = re.search(r'id="recording">([^<]+)<', (tmp_path / "report.html").read_text())[1]
    records = json.loads(gzip.decompress(base64.b64decode(recording)))["runs"][0]["records"]
    assert "reaction" in {record["kind"] for record in records}
    assert records == sorted(records, key=lambda record: record["decision"]["time"])


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
    content = json.loads((tmp_path / "simulation.json").read_text())
    (name,) = [name for name in content["runs"] if name.startswith("static ")]
    prefill, decode = map(int, re.fullmatch(r"static (\d+)\+(\d+)", name).groups())
    tried = {(one["prefill"], one["decode"]): one["share_within_both"] for one in content["static_sizes_tried"]}
    assert tried[prefill, decode] >= 0.95
    assert f"static {prefill}+{decode} is the smallest of {len(tried)} pools tried" in shown.stdout


def test_a_target_that_no_static_pool_attains_is_said(tmp_path):
    shown = run(
        "simulate", *SHORT, "--worker-mtbf", 1, "--slo-percentile", 99, "--baseline", "static", "--output", tmp_path
    )
    assert shown.returncode == 0, shown.stderr
    assert "Note: no static pool attains 99.0%" in shown.stdout
    assert list(json.loads((tmp_path / "simulation.json").read_text())["runs"]) == ["planner"]


def test_lines_that_are_no_requests_are_counted_and_named(tmp_path):
    trace = tmp_path / "trace.jsonl"
    lines = [f'{{"timestamp": {500 * n}, "input_length": 900, "output_length": 30}}' for n in range(400)]
    lines[7] = "{"
    trace.write_text("\n".join(lines))
    quick = ("--adjustment-interval", 10, "--predictors", "constant")
    for command, options in (("simulate", COMMON), ("forecast", quick)):
        shown = run(command, *options, "--trace", trace, "--output", tmp_path)
        assert shown.returncode == 0, shown.stderr
        complaint = "1 line is no request and was left out: 8"
        assert complaint in " ".join((shown.stdout + shown.stderr).split())
        name = {"simulate": "simulation"}.get(command, command)
        content = json.loads((tmp_path / f"{name}.json").read_text())
        assert (content.get("load") or content)["bad_line_numbers"] == [8]


@pytest.mark.parametrize("command", ["simulate", "forecast"])
@pytest.mark.parametrize("after_s", [0.05, 2.0])
def test_ctrl_c_ends_it_at_once_with_what_there_is(tmp_path, trace, command, after_s):
    arguments = {
        "simulate": (*COMMON, "--rps", 50, "--duration", 10_000, "--baseline", "hpa"),
        "forecast": ("--adjustment-interval", 600, "--trace", trace, "--predictors", "constant,prophet"),
    }
    # Whoever is started in the background ignores Ctrl-C, and so do those it starts.
    listening = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('planner', run_name='__main__', alter_sys=True)"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", listening, command, *map(str, arguments[command]), "--output", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert started.stderr is not None
    started.stderr.readline()  # what arrives is known, and work begins
    time.sleep(after_s)
    os.killpg(started.pid, signal.SIGINT)
    stdout, stderr = started.communicate(timeout=30)
    assert started.returncode == 130
    assert "Traceback" not in stdout + stderr
    assert "stopped" in (stdout + stderr).lower()


@pytest.fixture
def running(tmp_path):
    """A simulation in the midst of its work."""
    arguments = ("simulate", *COMMON, "--rps", 50, "--duration", 10_000, "--baseline", "hpa", "--output", tmp_path)
    started = subprocess.Popen(
        [sys.executable, "-m", "planner", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stderr is not None
    started.stderr.readline()  # what arrives is known, and work begins
    yield started
    started.kill()
    started.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_nothing_goes_on_when_it_is_ended(running, number):
    seen = psutil.Process(running.pid)
    await until(lambda: len(seen.children()) >= 2)
    await asyncio.sleep(1.0)
    working = seen.children()
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=30)
    await until(
        lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in working),
        passing_over=[psutil.NoSuchProcess],
    )
    if number == signal.SIGTERM:
        assert running.returncode == 130
        assert stderr == "python -m planner simulate: stopped before any run had ended\n"
        assert not stdout


@pytest.mark.parametrize("command", ["simulate", "forecast"])
def test_output_that_cannot_be_written_is_refused_before_the_work(tmp_path, trace, command, complaint_about):
    (tmp_path / "file").write_text("")
    complaint = complaint_about(
        command,
        "--trace",
        trace,
        "--adjustment-interval",
        600,
        "--output",
        tmp_path / "file" / "folder",
        *(("--profile-results-dir", sample_profile_dir()) if command == "simulate" else ()),
    )
    assert f"--output {tmp_path / 'file' / 'folder'}" in complaint
    assert "cannot be written" in complaint
    assert "requests in" not in complaint


def test_everyone_keeps_to_the_budget(tmp_path):
    shown = run(
        *("simulate", *SHORT, "--peak-rps", 40, "--max-gpu-budget", 4, "--initial-prefill", 2, "--initial-decode", 1),
        *("--baseline", "clairvoyant", "--baseline", "hpa", "--output", tmp_path),
    )
    assert shown.returncode == 0, shown.stderr
    runs = json.loads((tmp_path / "simulation.json").read_text())["runs"]
    for name in ("planner", "clairvoyant", "hpa"):
        targets = [(point["target"]["prefill"], point["target"]["decode"]) for point in runs[name]["points"]]
        assert max(prefill + decode for prefill, decode in targets) == 4, name
        assert min(min(target) for target in targets) >= 1


def test_an_aggregated_deployment_has_one_pool(tmp_path):
    shown = run(
        *("simulate", *SHORT, "--duration", 400, "--itl", 20, "--mode", "agg", "--baseline", "clairvoyant"),
        *("--baseline", "hpa", "--baseline", "static", "--baseline", "static:4"),
        *("--compare", "rules=sizing=throughput"),
        *("--compare", "apart=mode=disagg", "--output", tmp_path),
    )
    assert shown.returncode == 0, shown.stderr
    content = json.loads((tmp_path / "simulation.json").read_text())
    content = content["runs"]
    smallest = next(name for name in content if re.fullmatch(r"static \d+", name) and name != "static 4")
    assert set(content) == {"planner", "rules", "apart", "clairvoyant", "hpa", "static 4", smallest}
    for name, run_ in content.items():
        assert all((point["target"]["prefill"] == 0) == (name != "apart") for point in run_["points"])
    assert content["planner"]["score"]["share_within_both"] > 0.9


def test_a_share_of_none_that_could_be_served_is_too_few(tmp_path):
    shown = run("simulate", *SHORT, "--ttft", 5, "--fail-below", 1, "--output", tmp_path)
    assert shown.returncode == 1
    assert "no request could be served within both targets, fewer than --fail-below 1 asks for" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--mode", "agg", "--baseline", "static:4,2"], "expected static:N with --mode agg"),
        (["--mode", "agg", "--initial-prefill", "1"], "--initial-prefill has no meaning with --mode agg"),
        (["--compare", "nothing="], "expected NAME=flag=value"),
        (["--duration", "inf"], "inf is not finite"),
        (["--missing-reads", "1.5"], "1.5 is not at most 1"),
        (["--seed", "-1"], "'-1' is not a whole number of 0 or more"),
        (["--initial-prefill", 9, "--initial-decode", 2], "take 11 GPUs, more than --max-gpu-budget 8 holds"),
        (["--compare", "nonsense"], "expected NAME=flag=value"),
        (["--compare", "a=colour=red"], "'colour' is no option; expected NAME=flag=value"),
        (["--compare", "a=slo-percentil=99"], "'slo-percentil' is no option; did you mean slo-percentile?"),
        (["--compare", "slo-percentile=99"], "'99' is no option; expected NAME=flag=value,flag=value, such as p99="),
        (["--compare", "a=ttft=fast"], "--ttft: 'fast' (--compare a=ttft=fast) is not accepted"),
        (["--baseline", "magic"], "published:prophet, hpa, clairvoyant, static, static:P,D"),
        (["--baseline", "published:magic"], "accepted are published, published:constant"),
        (["--baseline", "hpa:3"], "'hpa:3' is unknown"),
        (["--rps", "1e12"], "1e12 is not at most 1e+06"),
        (["--baseline", "static:4"], "expected static:P,D"),
        (["--trace", "/nowhere.jsonl"], "cannot be read"),
        (["--rps", "-1"], "-1 is not above 0"),
        (["--pattern", "zigzag"], "invalid choice: 'zigzag'"),
        (["--trace", "trace.jsonl", "--rps", "3"], "--rps is of a made-up load; leave it out, or --trace"),
        (["--trace", "."], "cannot be read"),
        (["--pattern", "ramp", "--duration", "0.0001"], "nothing arrives"),
    ],
)
def test_bad_input_is_named(tmp_path, arguments, complaint, complaint_about):
    assert complaint in complaint_about("simulate", *COMMON, "--output", tmp_path, *arguments)


def test_a_backtest_prints_a_table_and_leaves_a_plot(trace, tmp_path):
    shown = run(
        *("forecast", "--adjustment-interval", 600, "--trace", trace, "--predictors", "auto,constant,kalman"),
        *("--horizons", "1,2", "--output", tmp_path / "out"),
    )
    assert shown.returncode == 0, shown.stderr
    assert len(re.findall(r"requests +│ +(auto|constant|kalman)", shown.stdout)) == 3
    assert "WAPE +2" in shown.stdout
    assert "Mean loss, best first: " in shown.stdout
    content = json.loads((tmp_path / "out" / "forecast.json").read_text())
    assert (content["interval_s"], content["intervals"]) == (600, 120)
    assert list(content["mean_pinball_p90"].values()) == sorted(content["mean_pinball_p90"].values())
    assert len(content["series"]["requests"]["observed"]) == 120
    auto = content["series"]["requests"]["predictors"]["auto"]
    assert auto["seconds_per_interval"] > 0
    ahead = auto["horizons"]["2"]
    assert 0 < ahead["wape"] < 1
    assert ahead["mean"][:2] == [None, None]
    assert ahead["p10"][50] <= ahead["mean"][50] <= ahead["p90"][50]
    assert (tmp_path / "out" / "forecast.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--predictors", ","], "',' names none"),
        (["--predictors", "magic"], "'magic' is unknown; accepted are auto, constant"),
        (["--horizons", "0"], "expected whole numbers from 1 to 100"),
        (
            ["--adjustment-interval", 600, "--duration", 6000],
            "10 intervals of 600 s (--adjustment-interval), too few",
        ),
        (["--adjustment-interval", 60], "600 s long, from which no intervals of 60 s can be made"),
        (["--adjustment-interval", 900], "give --adjustment-interval 1200"),
    ],
)
def test_a_backtest_names_bad_input(tmp_path, trace, arguments, complaint, complaint_about):
    assert complaint in complaint_about("forecast", "--trace", trace, "--output", tmp_path, *arguments)


def test_a_backtest_needs_a_trace(complaint_about):
    assert "--trace" in complaint_about("forecast")


def test_a_load_that_ends_before_the_first_adjustment_is_said(tmp_path):
    shown = run("simulate", *COMMON, "--duration", 30, "--output", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"Note: All is over after [\d.]+ s, before the first adjustment at 60 s", shown.stdout)
    assert (tmp_path / "report.html").exists()


def test_rates_of_nothing_cannot_be_judged(tmp_path, complaint_about):
    (tmp_path / "trace.csv").write_text(
        "timestamp_s,request_rate,isl,osl\n" + "".join(f"{60 * n},0,0,0\n" for n in range(60))
    )
    given = ("--adjustment-interval", 60, "--trace", tmp_path / "trace.csv", "--output", tmp_path)
    assert "nothing arrives in 60 intervals of 60 s" in complaint_about("forecast", *given)


def test_requests_that_no_engine_could_serve_leave_no_shares(tmp_path):
    trace = tmp_path / "trace.jsonl"
    trace.write_text(
        "".join(f'{{"timestamp": {500 * n}, "input_length": 90000, "output_length": 30}}\n' for n in range(300))
    )
    shown = run("simulate", *COMMON, "--trace", trace, "--rate-scale", 40, "--baseline", "static", "--output", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "no static pool attains 95.0%: no request can be served within both targets" in shown.stdout
    assert "nan" not in shown.stdout
    planner = json.loads((tmp_path / "simulation.json").read_text())["runs"]["planner"]
    assert planner["score"]["share_within_both"] is None
    assert planner["score"]["infeasible_requests"] == planner["score"]["requests"] > 300
    begin = planner["points"][0]["observation"]
    assert begin["prefill"]["ready"] + begin["decode"]["ready"] <= 8, "the guess keeps to the budget"
