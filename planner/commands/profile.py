"""The commands below ``profile`` and their flags."""

from __future__ import annotations

from pathlib import Path

from planner.commands.values import Group, above, add_output, span, web_address, whole


def add_show_flags(group: Group) -> None:
    """Declare those of ``show``."""
    _add_folder(group)
    add_output(group, "profile-output", "the plots and the page")


def add_check_flags(group: Group) -> None:
    """Declare those of ``check``."""
    _add_folder(group)
    group.add_argument("--strict", action="store_true", default=False, help="Let warnings fail, too.")


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
    add(
        "--max-num-seqs",
        type=whole,
        metavar="N",
        default=None,
        help="Sequences that a decode engine runs at once at most. (default: what its KV cache holds)",
    )
    add("--prefill-points", type=whole, metavar="N", default=17, help="Inputs to estimate. (default: 17)")
    add("--context-points", type=whole, metavar="N", default=8, help="Context lengths to estimate. (default: 8)")
    add("--batch-points", type=whole, metavar="N", default=8, help="Batches to estimate in each. (default: 8)")
    _add_writing(group)


def _tp(text: str) -> int | None:
    return None if text == "auto" else whole(text)


def add_measure_flags(group: Group) -> None:
    """Declare those of ``measure``."""
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
    add("--system", metavar="NAME", default=None, help="GPUs of the engines, for the record, such as h200_sxm.")
    add("--backend-version", metavar="VERSION", default=None, help="Version of the engine, for the record.")
    add(
        "--tp",
        type=whole,
        metavar="N",
        default=None,
        help="Tensor parallelism of the engines, for the record; their GPUs unless told otherwise.",
    )
    add(
        "--max-kv-tokens",
        type=whole,
        metavar="TOKENS",
        default=None,
        help="Tokens that the KV cache of the decode engine holds. (default: what its /metrics tells)",
    )
    add(
        "--max-num-seqs",
        type=whole,
        metavar="N",
        default=None,
        help="Sequences that the decode engine runs at once at most. (default: what it tells, or is found out)",
    )
    add(
        "--isl-range",
        type=span,
        metavar="LEAST,MOST",
        default=(100, 16_384),
        help="Inputs to measure, tokens. (default: 100,16384)",
    )
    add(
        "--context-range",
        type=span,
        metavar="LEAST,MOST",
        default=None,
        help="Context lengths to measure, tokens. (default: as inputs)",
    )
    add("--prefill-points", type=whole, metavar="N", default=10, help="Inputs to measure. (default: 10)")
    add("--context-points", type=whole, metavar="N", default=6, help="Context lengths to measure. (default: 6)")
    add("--batch-points", type=whole, metavar="N", default=7, help="Batches to measure in each. (default: 7)")
    add(
        "--max-concurrency",
        type=whole,
        metavar="N",
        default=None,
        help="Largest batch to measure. (default: what the KV cache holds)",
    )
    add("--steps", type=whole, metavar="N", default=64, help="Tokens to decode together in a run. (default: 64)")
    add(
        "--precision",
        type=above(0),
        metavar="%",
        default=3.0,
        help="Repeat until half the 95 %% confidence interval is so small a part of the mean. (default: 3)",
    )
    add("--repeats", type=whole, metavar="N", default=10, help="But no more often than this. (default: 10)")
    add(
        "--time-limit",
        type=above(0),
        metavar="S",
        default=None,
        help="End after so long with what was measured by then; the same command goes on. (default: none)",
    )
    add(
        "--request-timeout",
        type=above(0),
        metavar="S",
        default=120.0,
        help="Longest wait for the next token of an answer. (default: 120)",
    )
    add("--restart", action="store_true", default=False, help="Measure anew what was measured before.")
    _add_writing(group)


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
    add(
        "--max-kv-tokens",
        type=whole,
        metavar="TOKENS",
        default=None,
        help="Tokens that the KV cache of a decode engine holds. (default: those of --base)",
    )
    add(
        "--max-num-seqs",
        type=whole,
        metavar="N",
        default=None,
        help="Sequences that a decode engine runs at once at most. (default: those of --base)",
    )
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
