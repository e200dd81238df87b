import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from planner import Settings, reference
from planner.cli import parse, show_config
from planner.commands import COMMANDS
from planner.settings import ConfigurationError, flag
from planner.settings.words import accepts

ROOT = Path(__file__).parents[2]

DYNAMO_FLAGS = {
    "--environment": ("virtual", "kubernetes"),
    "--backend": ("sglang", "vllm"),
    "--namespace": ("mine", "dynamo"),
    "--model-name": ("tiny", None),
    "--adjustment-interval": ("60", 180.0),
    "--ttft": ("800", 500.0),
    "--itl": ("40", 50.0),
    "--isl": ("4000", 3000),
    "--osl": ("500", 150),
    "--max-gpu-budget": ("16", 8),
    "--min-endpoint": ("2", 1),
    # Left out, the profile tells; without provenance, as with all of Dynamo's, it is 1.
    "--decode-engine-num-gpu": ("4", None),
    "--prefill-engine-num-gpu": ("2", None),
    "--profile-results-dir": ("/data", "profiling_results"),
    "--load-predictor": ("kalman", "auto"),
    "--load-predictor-warmup-trace": ("trace.jsonl", None),
    "--prophet-window-size": ("60", 50),
    "--kalman-q-level": ("2", 1.0),
    "--kalman-q-trend": ("0.2", 0.1),
    "--kalman-r": ("5", 10.0),
    "--kalman-min-points": ("3", 5),
    "--metric-pulling-prometheus-endpoint": (
        "http://localhost:9090",
        "http://prometheus-kube-prometheus-prometheus.monitoring.svc.cluster.local:9090",
    ),
    "--metric-reporting-prometheus-port": ("9085", 0),
    "--log-dir": ("logs", None),
}
DYNAMO_SWITCHES = ("--no-operation", "--no-correction", "--load-predictor-log1p")


def field(flag):
    return flag.removeprefix("--").replace("-", "_")


def test_the_argument_list_of_dynamo_0_9_works_unchanged():
    arguments = [f"{name}={given}" for name, (given, _) in DYNAMO_FLAGS.items()] + list(DYNAMO_SWITCHES)
    settings = parse(arguments, {}).settings
    for name, (given, _) in DYNAMO_FLAGS.items():
        assert str(getattr(settings, field(name))) in (given, f"{given}.0")
    assert all(getattr(settings, field(switch)) is True for switch in DYNAMO_SWITCHES)


def test_the_defaults_of_dynamo_0_9():
    settings = Settings()
    assert {flag: getattr(settings, field(flag)) for flag in DYNAMO_FLAGS} == {
        flag: default for flag, (_, default) in DYNAMO_FLAGS.items()
    }
    assert not any(getattr(settings, field(switch)) for switch in DYNAMO_SWITCHES)


def test_dynamos_environment_variables():
    environ = {
        "DYN_NAMESPACE": "from-dyn",
        "PROMETHEUS_ENDPOINT": "http://prom:9090",
        "PLANNER_PROMETHEUS_PORT": "9085",
        "PLANNER_TTFT": "321",
        "PLANNER_ITL": "",
    }
    settings = parse([], environ).settings
    assert settings.namespace == "from-dyn"
    assert settings.metric_pulling_prometheus_endpoint == "http://prom:9090"
    assert settings.metric_reporting_prometheus_port == 9085
    assert settings.ttft == 321
    assert settings.itl == 50, "an empty variable is an unset one"


def test_flag_beats_environment_beats_file_beats_default(tmp_path):
    config = tmp_path / "planner.yaml"
    config.write_text("ttft: 100\nitl: 10\nosl: 7\n")
    invocation = parse(["--config", str(config), "--ttft", "300"], {"PLANNER_TTFT": "200", "PLANNER_ITL": "20"})
    settings = invocation.settings
    assert (settings.ttft, settings.itl, settings.osl, settings.isl) == (300, 20, 7, 3000)
    assert invocation.origins["ttft"] == "flag --ttft"
    assert invocation.origins["itl"] == "environment variable PLANNER_ITL"
    assert invocation.origins["osl"] == f"file {config}"
    assert "isl" not in invocation.origins


def test_an_embedded_planner_reads_the_environment_too(monkeypatch):
    monkeypatch.setenv("PLANNER_TTFT", "123")
    assert Settings().ttft == 123
    assert Settings(ttft=7).ttft == 7


def test_a_file_may_use_dashes_and_lists(tmp_path):
    config = tmp_path / "planner.yaml"
    config.write_text("metrics-source: scrape\nfrontend-metrics-url: [http://a/metrics, http://b/metrics]\n")
    assert parse(["--config", str(config)], {}).settings.frontend_metrics_url == (
        "http://a/metrics",
        "http://b/metrics",
    )


def test_lists_from_flags_and_environment():
    urls = ("http://a:8000/metrics", "https://b/metrics")
    flags = [text for url in urls for text in ("--frontend-metrics-url", url)]
    assert parse(flags, {}).settings.frontend_metrics_url == urls
    assert parse([], {"PLANNER_FRONTEND_METRICS_URL": ", ".join(urls)}).settings.frontend_metrics_url == urls


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ttft", "soon"], ["--ttft", "'soon'", "a number above 0 in ms"]),
        (["--ttft", "-5"], ["--ttft", "'-5'", "above 0"]),
        (["--ttft", "nan"], ["--ttft"]),
        (["--min-endpoint", "1.5"], ["--min-endpoint", "'1.5'", "whole number"]),
        (["--load-predictor", "magic"], ["'magic'", "constant, arima, kalman, prophet"]),
        (["--metric-reporting-prometheus-port", "70000"], ["70000", "at most 65535"]),
        (["--virtual-listen", "9086"], ["'9086'", "HOST:PORT"]),
        (["--namespace", "../etc"], ["'../etc'"]),
        (["--max-gpu-budget", "1"], ["--max-gpu-budget 1", "at least 2"]),
        (["--max-gpu-budget", "5", "--min-endpoint", "2", "--decode-engine-num-gpu", "2"], ["take 6 GPUs"]),
        (["--metrics-source", "scrape"], ["--frontend-metrics-url"]),
        (["--leader-elect-renew-deadline", "20"], ["--leader-elect-renew-deadline 20", "shorter than the one before"]),
        (["--leader-elect-resource-name", "Not_A_Name"], ["--leader-elect-resource-name", "'Not_A_Name'"]),
        (["--prometheus-username", "u"], ["--prometheus-password"]),
        (["--isl", "1e12"], ["a number above 0 and of at most 1000000000 in tokens"]),
        (["--no-such-flag"], ["--no-such-flag"]),
        (["fly"], ["'fly'", "run, check, demo"]),
        (["--config", "/does/not/exist.yaml"], ["/does/not/exist.yaml"]),
    ],
)
def test_a_wrong_value_names_option_value_and_what_is_accepted(arguments, words):
    with pytest.raises(ConfigurationError) as caught:
        parse(arguments, {})
    for word in words:
        assert word in str(caught.value)


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(ConfigurationError) as caught:
        parse(["--ttft", "x"], {"PLANNER_ITL": "y"})
    assert "--ttft: 'x' (flag --ttft)" in str(caught.value)
    assert "--itl: 'y' (environment variable PLANNER_ITL)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tfft: 3\n", ["'tfft' is no option", "did you mean ttft?"]),
        ("- a\n", ["expected a mapping"]),
        ("a: [\n", ["cannot be read as YAML"]),
        ("ttft: soon\n", ["--ttft: 'soon' (file"]),
    ],
)
def test_a_wrong_file_is_explained(tmp_path, text, words):
    config = tmp_path / "planner.yaml"
    config.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        parse(["--config", str(config)], {})
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_cannot_be_read_is_explained(tmp_path):
    with pytest.raises(ConfigurationError, match=r"gone\.yaml: cannot be read: No such file or directory"):
        parse(["--config", str(tmp_path / "gone.yaml")], {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"binary\.yaml: is no text in UTF-8"):
        parse(["--config", str(tmp_path / "binary.yaml")], {})


def test_an_empty_file_changes_nothing(tmp_path):
    config = tmp_path / "planner.yaml"
    config.write_text("# nothing\n")
    assert parse(["--config", str(config)], {}).settings == Settings()


def test_no_budget():
    assert parse(["--max-gpu-budget", "-1"], {}).settings.max_gpu_budget == -1
    with pytest.raises(ConfigurationError):
        parse(["--max-gpu-budget", "-2"], {})


def test_shown_settings_say_where_they_come_from_and_hide_secrets():
    invocation = parse(
        ["--ttft", "300", "--print-config", "--virtual-token", "hunter2"],
        {"PLANNER_PROMETHEUS_BEARER_TOKEN": "hunter3"},
    )
    text = show_config(invocation)
    assert invocation.print_config
    assert "ttft: 300.0  # flag --ttft" in text
    assert "itl: 50.0  # default" in text
    assert "hunter" not in text
    assert yaml.safe_load(text).keys() == Settings.model_fields.keys()


def test_a_refused_secret_is_not_shown():
    with pytest.raises(ConfigurationError) as caught:
        parse(["--prometheus-bearer-token", "hunter2", "--prometheus-username", "u"], {})
    assert "hunter2" not in str(caught.value)


def test_help_names_every_option_with_unit_and_default(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["--help"], {})
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name in Settings.model_fields:
        assert flag(name) in text
    assert "--ttft MS" in text
    assert "default: 500; env PLANNER_TTFT" in text
    for command in COMMANDS:
        assert command.summary in text


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (reference.PAGE, reference.page),
        (reference.SCHEMA, reference.schema),
        (reference.CHART_SCHEMA, reference.chart_schema),
    ],
)
def test_the_reference_is_up_to_date(file, content):
    assert (ROOT / file).read_text(encoding="utf-8") == content(), "run: python -m planner.reference"


def test_the_schema_accepts_what_the_settings_accept():
    document = json.loads(reference.schema())
    jsonschema.Draft202012Validator.check_schema(document)
    validator = jsonschema.Draft202012Validator(document)
    assert validator.is_valid({"ttft": 300, "load_predictor": "kalman", "frontend_metrics_url": ["http://a"]})
    assert not validator.is_valid({"ttft": -1})
    assert not validator.is_valid({"tfft": 1})


def test_every_option_is_described():
    for name, info in Settings.model_fields.items():
        assert info.description, name
        assert info.description.endswith((".", ")")), name
        assert accepts(info), name
