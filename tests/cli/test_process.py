"""The program as a process: exit codes, signals, the tables it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from planner.__main__ import main
from profiles import sample_profile_dir

PATIENCE_S = 20.0


def run(*arguments, **options):
    command = [sys.executable, "-m", "planner", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **options)


PRINTING = (("--print-config",), ("profile", "show", "--profile-results-dir", str(sample_profile_dir())))


@pytest.mark.parametrize("words", PRINTING)
def test_output_that_cannot_be_written_is_told(words):
    command = [sys.executable, "-m", "planner", *words]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 1
    assert ended.stderr.endswith(": error: output cannot be written: No space left on device\n")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("words", PRINTING)
def test_whoever_closed_the_pipe_is_told_nothing(words):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "planner", *words]
    with os.fdopen(writing, "w") as closed:
        ended = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.parametrize(("name", "begins"), [("check", "planner.checkup.check"), ("demo", "planner.demo.show._play")])
def test_a_command_that_is_interrupted_says_no_more_than_that(name, begins, monkeypatch, tmp_path, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(begins, interrupted)
    assert main([name]) == 130
    assert capsys.readouterr() == ("", f"python -m planner {name}: stopped\n")


def test_sigterm_interrupts_a_command_and_is_left_as_it_was(monkeypatch, capsys):
    monkeypatch.setattr("planner.checkup.check", lambda _: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert main(["check"]) == 130
    assert signal.getsignal(signal.SIGTERM) == before
    assert capsys.readouterr().err == "python -m planner check: stopped\n"


@pytest.fixture
def flags(tmp_path, free_port):
    """A run that observes nothing, as nobody listens where it looks."""
    return [
        *("--environment", "virtual", "--profile-results-dir", str(sample_profile_dir())),
        *("--adjustment-interval", "1", "--load-predictor", "constant", "--log-format", "json"),
        *("--metric-pulling-prometheus-endpoint", f"http://127.0.0.1:{free_port()}"),
        *("--virtual-listen", f"127.0.0.1:{free_port()}", "--state-dir", str(tmp_path / "state")),
    ]


@pytest.fixture
def start(flags):
    """Starts the daemon; its log is read line by line."""
    processes = []

    def begin(*more):
        process = subprocess.Popen(
            [sys.executable, "-m", "planner", *flags, *map(str, more)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def log_until(process, event):
    """The log up to the first entry whose event begins so; that entry is the last."""
    entries = []
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        assert line, f"the log ended without {event!r}: {entries}"
        entries.append(json.loads(line))
        if entries[-1]["event"].startswith(event):
            return entries
    pytest.fail(f"no {event!r} within {PATIENCE_S} s: {entries}")


def test_help_lists_commands_and_units():
    shown = run("--help")
    assert shown.returncode == 0
    for text in ("check", "demo", "--adjustment-interval S", "--ttft MS", "DYN_NAMESPACE", "default: 180"):
        assert text in shown.stdout


def test_a_wrong_value_ends_with_2_and_says_what_is_accepted():
    refused = run("--ttft", "fast")
    assert refused.returncode == 2
    assert refused.stderr.strip() == (
        "python -m planner: error: --ttft: 'fast' (flag --ttft) is not accepted; accepted is a number above 0 in ms"
    )


def test_a_missing_profile_ends_with_2_and_says_how_to_get_one(tmp_path):
    refused = run("--environment", "virtual", "--profile-results-dir", tmp_path)
    assert refused.returncode == 2
    assert "no prefill profile found" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_kubernetes_without_access_ends_with_2(tmp_path):
    nowhere = ("--kubeconfig", tmp_path / "config")
    refused = run("--environment", "kubernetes", *nowhere, "--profile-results-dir", sample_profile_dir())
    assert refused.returncode == 2
    assert "no access to Kubernetes" in refused.stderr
    assert "--kubeconfig" in refused.stderr


def test_leader_election_where_there_is_no_lease_ends_with_2(flags):
    refused = run(*flags, "--leader-elect")
    assert refused.returncode == 2
    assert "--leader-elect needs --environment kubernetes" in refused.stderr


def test_the_ports_that_the_dynamo_operator_knows_are_served(start, free_port):
    metrics, system = free_port(), free_port()
    process = start("--metric-reporting-prometheus-port", metrics, "--system-port", system)
    (started,) = [entry for entry in log_until(process, "No scaling needed") if entry["event"] == "planner started"]
    assert started["metrics_ports"] == [metrics, system]
    assert started["decisions_url"].startswith("http://127.0.0.1:")
    for port, path in ((metrics, "metrics"), (system, "live"), (system, "health")):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=PATIENCE_S) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_before_the_next_adjustment(start, number):
    process = start("--adjustment-interval", "600", "--reaction-interval", "0")
    log_until(process, "No scaling needed")
    process.send_signal(number)
    assert process.wait(timeout=PATIENCE_S) == 0
    assert "planner stopped" in process.stdout.read()


def test_sighup_reads_the_file_anew(start, tmp_path):
    file = tmp_path / "planner.yaml"
    file.write_text("ttft: 400\nbackend: vllm\n")
    process = start("--config", file)
    log_until(process, "No scaling needed")
    file.write_text("ttft: 300\nbackend: sglang\n")
    process.send_signal(signal.SIGHUP)
    assert log_until(process, "settings reloaded")[-1]["taken"] == ["--ttft"]
    assert log_until(process, "these need a restart")[-1]["options"] == ["--backend"]
    file.write_text("ttft: nonsense\n")
    process.send_signal(signal.SIGHUP)
    assert "nonsense" in log_until(process, "settings not reloaded")[-1]["detail"]
    log_until(process, "No scaling needed")


def test_an_unreachable_prometheus_holds_and_says_so(start):
    entries = log_until(start(), "No scaling needed (prefill=1, decode=1)")
    assert any(entry["event"] == "not observed" and "onnect" in entry["detail"] for entry in entries)


def test_a_second_planner_of_the_same_namespace_is_refused(start, flags):
    log_until(start(), "No scaling needed")
    refused = run(*flags)
    assert refused.returncode == 2
    assert "another planner keeps its state" in refused.stderr


def test_corrupt_state_is_set_aside_and_said(start, tmp_path):
    folder = tmp_path / "state" / "dynamo"
    folder.mkdir(parents=True)
    (folder / "virtual.json").write_text("{torn")
    entries = log_until(start(), "No scaling needed")
    assert any("is not understood" in entry["event"] for entry in entries)
    assert (folder / "virtual.json.corrupt-1").read_text() == "{torn"


def test_check_names_what_is_wrong_and_how_to_mend_it(flags):
    shown = run("check", *flags)
    assert shown.returncode == 1
    assert "1 of" in shown.stdout
    assert "--metric-pulling-prometheus-endpoint" in shown.stdout
    assert "an idle prefill worker takes" in shown.stdout


def test_print_config_tells_where_values_come_from(flags):
    shown = run(*flags, "--print-config", env={**os.environ, "PLANNER_VIRTUAL_TOKEN": "hunter2", "DYN_NAMESPACE": "a"})
    assert shown.returncode == 0
    assert "adjustment_interval: 1.0  # flag --adjustment-interval" in shown.stdout
    assert "namespace: a  # environment variable DYN_NAMESPACE" in shown.stdout
    assert "hunter2" not in shown.stdout


def test_check_can_be_read_by_machines(flags):
    shown = run("check", *flags, "--format", "json")
    findings = json.loads(shown.stdout)
    assert shown.returncode == 1
    assert {tuple(finding) for finding in findings} == {("subject", "health", "detail", "remedy")}
    assert {finding["subject"] for finding in findings if finding["health"] == "failed"} == {"Prometheus"}


@pytest.mark.parametrize(
    "words", [("demo",), ("profile", "show", "--profile-results-dir", str(sample_profile_dir())), ("simulate",)]
)
def test_an_output_that_cannot_be_had_is_told_before_the_work(words, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main([*words, "--output", str(tmp_path / "taken")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.endswith(f"--output {tmp_path / 'taken'}: {tmp_path / 'taken'} cannot be written: File exists\n")
