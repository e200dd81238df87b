"""The commands below ``profile`` and their flags."""

from __future__ import annotations

from pathlib import Path

from planner.commands import check
from planner.commands.points import add_isl_range, add_max_kv_tokens, add_max_num_seqs, add_points, add_time_limit
from planner.commands.values import Group, above, add_output, span, web_address, whole


def add_show_flags(group: Group) -> None:
    """Declare those of ``show``."""
    _add_folder(group)
    add_output(group, "profile-output", "the plots and the page")


def add_check_flags(group: Group) -> None:
    """Declare those of ``check``."""
    _add_folder(group)
    group.add_argument("--strict", action="store_true", default=False, help="Let warnings fail, too.")
    check.add_flags(group)


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


def add_estimate_flags(group: Group) -> None:
    """Declare those of ``estimate``."""
    add = group.add_argument
    add("--model", metavar="NAME", required=True, help="Hugging Face name of the model, or a folder with config.json.")
    add("--system", metavar="NAME", required=True, help="GPUs of the engines, such as h200_sxm.")
    add(
        "--backend-version",
        metavar="VERSION",
        default="current",
        help="Version of the engine that there is data of, or current. (default: current)",
    )
    add(
        "--tp",
        type=_tp,
        metavar="auto|N",
        default=None,
        help="Tensor parallelism of both engines; auto chooses it for each. (default: auto)",
    )
    add(
        "--max-gpus",
        type=whole,
        metavar="N",
        default=16,
        help="GPUs that one prefill and one decode engine may have together. (default: 16)",
    )
    add_max_num_seqs(group, "what its KV cache holds")
    add_points(group, "estimate", prefill=17, context=8, batch=8)
    _add_writing(group)


def _tp(text: str) -> int | None:
    return None if text == "auto" else whole(text)


def add_measure_flags(group: Group) -> None:
    """Declare those of ``measure``."""
    _add_servers(group)
    _add_measured_engines(group)
    add_isl_range(group, (100, 16_384))
    group.add_argument(
        "--context-range",
        type=span,
        metavar="LEAST,MOST",
        default=None,
        help="Context lengths to measure, tokens. (default: as inputs)",
    )
    add_points(group, "measure", prefill=10, context=6, batch=7)
    group.add_argument(
        "--max-concurrency",
        type=whole,
        metavar="N",
        default=None,
        help="Largest batch to measure. (default: what the KV cache holds)",
    )
    _add_effort(group)
    _add_writing(group)


def _add_servers(group: Group) -> None:
    """Whom to ask, and how."""
    add = group.add_argument
    add("--endpoint", type=web_address, metavar="URL", default=None, help="OpenAI-compatible server that does both.")
    add("--prefill-endpoint", type=web_address, metavar="URL", default=None, help="Server of a prefill engine alone.")
    add("--decode-endpoint", type=web_address, metavar="URL", default=None, help="Server of a decode engine alone.")
    add("--model", metavar="NAME", default=None, help="Model to ask for. (default: the only one served)")
    add(
        "--api",
        choices=("completions", "chat"),
        default="completions",
        help="How to ask: /v1/completions or /v1/chat/completions. (default: completions)",
    )
    add(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        default=None,
        help="File with the API key. (default: environment OPENAI_API_KEY)",
    )
    add(
        "--request-timeout",
        type=above(0),
        metavar="S",
        default=120.0,
        help="Longest wait for the next token of an answer. (default: 120)",
    )


def _add_measured_engines(group: Group) -> None:
    """What the engines are."""
    add = group.add_argument
    add("--system", metavar="NAME", default=None, help="GPUs of the engines, for the record, such as h200_sxm.")
    add("--backend-version", metavar="VERSION", default=None, help="Version of the engine, for the record.")
    add(
        "--tp",
        type=whole,
        metavar="N",
        default=None,
        help="Tensor parallelism of the engines, for the record; their GPUs unless told otherwise.",
    )
    add_max_kv_tokens(group, "what its /metrics tells")
    add_max_num_seqs(group, "what it tells, or is found out")


def _add_effort(group: Group) -> None:
    """How long and how often each point is measured."""
    add = group.add_argument
    add("--steps", type=whole, metavar="N", default=64, help="Tokens to decode together in a run. (default: 64)")
    add(
        "--precision",
        type=above(0),
        metavar="%",
        default=3.0,
        help="Repeat until half the 95 %% confidence interval is so small a part of the mean. (default: 3)",
    )
    add("--repeats", type=whole, metavar="N", default=10, help="But no more often than this. (default: 10)")
    add_time_limit(group, "End after so long with what was measured by then; the same command goes on. (default: none)")
    add("--restart", action="store_true", default=False, help="Measure anew what was measured before.")


def add_from_metrics_flags(group: Group) -> None:
    """Declare those of ``from-metrics``."""
    add = group.add_argument
    add(
        "--prefill-workers",
        metavar="N|PROMQL",
        required=True,
        help="Prefill workers that served: a number, or what tells it in PromQL.",
    )
    add(
        "--decode-workers",
        metavar="N|PROMQL",
        required=True,
        help="Decode workers that served, likewise; the same number for engines that do both.",
    )
    add("--base", metavar="PROFILE", default=None, help="Folder of a profile to correct. (default: none, fit anew)")
    add("--history", type=above(0), metavar="S", default=86_400.0, help="How far to look back. (default: 86400)")
    add("--step", type=above(0), metavar="S", default=300.0, help="Length of the intervals to fit to. (default: 300)")
    add("--end", type=above(0), metavar="TIME", default=None, help="End of the history, Unix time in s. (default: now)")
    add_max_kv_tokens(group, "those of --base")
    add_max_num_seqs(group, "those of --base")
    add("--system", metavar="NAME", default=None, help="GPUs of the engines, for the record.")
    _add_writing(group)


def _add_writing(group: Group) -> None:
    group.add_argument(
        "--layout", choices=("npz", "json"), default="npz", help="Layout to write, both are Dynamo's. (default: npz)"
    )
    group.add_argument("--overwrite", action="store_true", default=False, help="Replace a profile that is there.")


def _add_folder(group: Group) -> None:
    group.add_argument(
        "folder",
        metavar="PROFILE",
        nargs="?",
        type=str,
        default=None,
        help="Folder of the profile. (default: --profile-results-dir)",
    )
