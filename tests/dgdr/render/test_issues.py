"""Every message about what goes wrong: it is told by whoever should, in the words that the documentation shows."""

from __future__ import annotations

import asyncio
import re
import string
from dataclasses import replace

import pytest

from planner import reference
from planner.dgdr import issues
from planner.dgdr.base import read_base
from planner.dgdr.generate import from_profile, offline
from planner.dgdr.issues import ISSUES, DgdrError, GenerationError, RequestError
from planner.dgdr.render import _refuse_collisions
from planner.dgdr.request import Request
from profiles.making.progress import MakingError, NotInstalledError
from profiles.provenance import Provenance
from tests.dgdr.render.conftest import ALPHA, BETA, DGDS, ROOT, MadeEngines, alpha, beta, changed, load
from tests.kubernetes.shapes import services


def estimated(request, engines=MadeEngines, **how):
    return asyncio.run(offline(request, engines=engines, **how))


def unsupported(_):
    raise MakingError("--model 'Qwen/Qwen3-32' is not supported; did you mean Qwen/Qwen3-32B? Give the exact name")


def not_installed(_):
    raise NotInstalledError("AI Configurator is not installed")


def base(**container):
    body = {"kind": "DynamoGraphDeployment", "metadata": {"name": "mine"}, "spec": services()}
    for name in ("VllmPrefillWorker", "VllmDecodeWorker"):
        body["spec"]["services"][name]["extraPodSpec"]["mainContainer"] |= container
    return body


def two_nodes():
    body = base()
    body["spec"]["services"]["VllmDecodeWorker"]["multinode"] = {"nodeCount": 3}
    return body


def too_many_points(profile):
    details = {"remark": "x" * 1_000_000}
    return replace(profile, provenance=replace(profile.provenance, details=details))


def of_one_point(profile):
    raw = replace(profile.prefill, columns={name: values[:1] for name, values in profile.prefill.columns.items()})
    return replace(profile, prefill=raw)


PLANNER = "profilingConfig__config__planner"
CASES = {
    "NO_REQUEST": lambda _: Request.parse({"kind": "Deployment"}),
    "UNKNOWN_VERSION": lambda _: Request.parse(changed(BETA, apiVersion="nvidia.com/v1beta2")),
    "MIXED_SHAPES": lambda _: Request.parse(changed(ALPHA, spec__sla={"ttft": 1})),
    "MISSING": lambda _: alpha(model=None),
    "WRONG_VALUE": lambda _: alpha(profilingConfig__config__sla__ttft="500ms"),
    "UNKNOWN_FIELD": lambda _: alpha(modle="x"),
    "CONTRADICTION": lambda _: alpha(**{PLANNER: {"minEndpoint": 2, "plannerMinEndpoint": 1}}),
    "END_TO_END": lambda _: beta(sla={"e2eLatency": 10_000}),
    "AUTO_THOROUGH": lambda _: beta(backend="auto", searchStrategy="thorough"),
    "WRONG_OPTION": lambda _: alpha(**{PLANNER: {"plannerMinEndpoint": "two"}}),
    "FOREIGN_OPTION": lambda _: alpha(**{PLANNER: {"mode": "agg"}}),
    "COLLISION": lambda _: _refuse_collisions([{"kind": "ConfigMap", "metadata": {"name": "x"}}] * 2),
    "SYSTEM_UNKNOWN": lambda _: estimated(alpha(profilingConfig__config__sweep__aicSystem=None), engines=None),
    "NEEDS_MEASURING": None,
    "NO_CONFIGURATOR": lambda _: estimated(alpha(), engines=not_installed),
    "NOT_ESTIMATED": lambda _: estimated(alpha(), engines=unsupported),
    "NO_ENGINES": lambda _: estimated(alpha(**{PLANNER: {"plannerMaxGpuBudget": 2}})),
    "SLA_MISSED": lambda _: estimated(alpha(profilingConfig__config__sla__ttft=20)),
    "BUDGET_TOO_SMALL": lambda profile: made_of(profile, alpha(**{PLANNER: {"maxGpuBudget": 1}})),
    "PROFILE_UNUSABLE": lambda profile: made_of(of_one_point(profile), alpha()),
    "OTHER_BACKEND": lambda profile: made_of(replace(profile, provenance=Provenance()), beta(backend="auto")),
    "NO_BASE": lambda _: read_base("kind: Deployment", "disagg.yaml"),
    "BAD_OVERRIDE": lambda _: estimated(beta(overrides={"dgd": {"spec": {"components": "none"}}})),
    "SHELL_SCRIPT": lambda _: estimated(alpha(), base=base(args=["python3 -m dynamo.vllm --model x"])),
    "BASE_TOO_SMALL": lambda _: estimated(alpha(), base=two_nodes()),
    "TOO_LARGE": lambda profile: made_of(too_many_points(profile), alpha()),
    "ANNOTATIONS_TOO_LARGE": lambda profile: made_of(
        profile, alpha(deploymentOverrides={"annotations": {"novel": "x" * 250_000}})
    ),
    "CLUSTER": None,
}
ELSEWHERE = {name for name, case in CASES.items() if case is None}


def made_of(profile, request, **how):
    return asyncio.run(from_profile(request, profile, **how))


def named(issue):
    return next(name for name, value in vars(issues).items() if value is issue)


def test_every_issue_is_looked_at():
    assert {named(issue) for issue in ISSUES} == set(CASES)
    assert {"NEEDS_MEASURING", "CLUSTER"} == ELSEWHERE, "test_render.py has them"


def pattern(template):
    return "".join(re.escape(text) + (".+" if name else "") for text, name, *_ in string.Formatter().parse(template))


@pytest.mark.parametrize("issue", [one for one in ISSUES if named(one) not in ELSEWHERE], ids=named)
def test_it_is_told_with_cause_and_mend(issue, profile):
    with pytest.raises(issue.kind) as caught:
        CASES[named(issue)](profile)
    assert re.fullmatch(pattern(issue.cause), caught.value.cause, re.DOTALL), str(caught.value)
    assert re.fullmatch(pattern(issue.mend), caught.value.mend, re.DOTALL), str(caught.value)
    assert str(caught.value) == f"{caught.value.cause}: {caught.value.mend}"
    assert "{" not in str(caught.value)


def test_the_documentation_shows_them_all():
    text = (ROOT / "docs" / "dgdr.md").read_text(encoding="utf-8")
    assert reference.dgdr_page(text) == text, "run: make docs"
    assert all(f"| {cause} | {mend} |" in text for cause, mend in (issue.row() for issue in ISSUES))


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        ({"backend": "vlm"}, "spec.backend is 'vlm': give one of vllm, sglang, trtllm"),
        ({"backend": None}, "spec.backend is missing: give one of vllm, sglang, trtllm"),
        ({"autoApply": "yes"}, "spec.autoApply is 'yes': give true or false, without quotes"),
        ({"model": "  "}, "spec.model is '  ': give a text that is not empty"),
        ({"profilingConfig": []}, r"spec.profilingConfig is \[\]: give a mapping"),
        ({"profilingConfig__config__sla__isl": 0}, "sla.isl is 0: give a number above 0 in tokens"),
        ({"profilingConfig__config__sla__isl": 1.5}, "sla.isl is 1.5: give a whole number above 0 in tokens"),
        ({"profilingConfig__config__sla__itl": float("nan")}, "sla.itl is nan: give a number above 0 in ms"),
        ({"profilingConfig__config__sla__itl": True}, "sla.itl is True: give a number above 0 in ms"),
        ({"profilingConfig__config__sla__tttf": 5}, "sla.tttf is no field of a request: did you mean ttft?"),
        ({"profilingConfig__tolerations": {}}, "tolerations is {}: give a list of mappings"),
        ({"profilingConfig__configMapRef": {}}, "configMapRef.name is missing: give the name of the ConfigMap"),
        ({"deploymentOverrides": {"labels": {"a": 1}}}, 'labels.a is 1: give a text, such as "1" in quotes'),
        ({"deploymentOverrides": {"name": "No"}}, "deploymentOverrides.name is 'No': give small letters"),
        (
            {PLANNER: {"plannerLoadPredictor": "oracle"}},
            r"planner: --load-predictor: 'oracle' \(plannerLoadPredictor\) is not accepted; accepted is one of",
        ),
    ],
    ids=str,
)
def test_what_is_written_wrongly_is_told_by_its_path(break_it, told):
    with pytest.raises(RequestError, match=told):
        alpha(**break_it)


def test_what_can_be_met_is_told_and_can_be_met():
    with pytest.raises(GenerationError) as caught:
        estimated(alpha(profilingConfig__config__sla={"isl": 3000, "osl": 150, "ttft": 20, "itl": 2}))
    told = re.search(r"what can be met is TTFT ([\d.]+) ms and ITL ([\d.]+) ms", str(caught.value))
    sla = {"isl": 3000, "osl": 150, "ttft": float(told[1]), "itl": float(told[2])}
    choice = estimated(alpha(profilingConfig__config__sla=sla)).choice
    assert choice.prefill.met
    assert choice.decode.met


def test_a_profile_that_misses_the_sla_says_what_it_can_meet(profile):
    with pytest.raises(GenerationError, match=r"TTFT is [\d.]+ ms on an idle engine, target 10 ms") as caught:
        made_of(profile, alpha(profilingConfig__config__sla={"isl": 3000, "osl": 150, "ttft": 10, "itl": 30}))
    told = re.search(r"what can be met is TTFT ([\d.]+) ms", str(caught.value))
    made_of(profile, alpha(profilingConfig__config__sla={"isl": 3000, "osl": 150, "ttft": float(told[1]), "itl": 30}))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"spec": {}}, "neither a map of services nor a list of components"),
        ({"spec": {"services": {"Frontend": {"componentType": "frontend"}}}}, "no prefill and no decode"),
        ({"spec": services() | {"services": {}}}, "neither a map of services"),
        (load(DGDS / "sglang-v1alpha1.yaml")[0], "component prefill runs sglang, and the request asks for vllm"),
    ],
    ids=range(4),
)
def test_a_base_that_does_not_fit_is_told(body, told):
    with pytest.raises(GenerationError, match=told):
        estimated(alpha(), base={"kind": "DynamoGraphDeployment", **body})


def test_engine_arguments_that_are_no_json_are_told():
    body = load(DGDS / "trtllm-v1alpha1.yaml")[0]
    worker = body["spec"]["services"]["TRTLLMPrefillWorker"]
    worker["extraPodSpec"]["mainContainer"]["args"] += ["--override-engine-args", "{tp: 1"]
    with pytest.raises(GenerationError, match=r"is no JSON object: \{tp: 1"):
        estimated(alpha(backend="trtllm"), base=body)


@pytest.mark.parametrize(
    "spec",
    [
        {"services": {"Frontend": {}}},
        {"components": 5},
        {"components": [{"name": "VllmDecodeWorker", "type": "prefill"}]},
    ],
    ids=str,
)
def test_what_is_laid_over_leaves_a_deployment(spec):
    with pytest.raises(RequestError, match="laid over it the deployment is none any more: it"):
        estimated(beta(overrides={"dgd": {"spec": spec}}))


def test_a_budget_that_holds_no_engines_is_told_before_anything_is_estimated():
    with pytest.raises(GenerationError, match=r"3 GPUs cannot hold 2 of each pool .* raise .* to at least 4"):
        estimated(alpha(**{PLANNER: {"plannerMaxGpuBudget": 3, "plannerMinEndpoint": 2}}), engines=unsupported)


def test_errors_are_value_errors():
    assert issubclass(DgdrError, ValueError)
    assert str(GenerationError("it went wrong")) == "it went wrong"


def test_a_list_of_components_is_a_base_too():
    body = load(DGDS / "vllm-v1beta1.yaml")[0]
    assert estimated(alpha(), base=body).dgd["apiVersion"] == "nvidia.com/v1beta1"
