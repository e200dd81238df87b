"""The fields of the two versions of a request, read into the one model of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.dgdr import issues
from planner.dgdr.options import read_options
from planner.dgdr.section import Section, check_names
from planner.dgdr.terms import ConfigMapRef, Hardware, ModelCache, Overrides, Sla, Sweep
from planner.settings import Settings

ALPHA_FIELDS = ("profilingConfig", "deploymentOverrides", "useMocker", "enableGpuDiscovery")
BETA_FIELDS = (
    "image",
    "runtimeVersionOverride",
    "modelCache",
    "hardware",
    "workload",
    "sla",
    "overrides",
    "features",
    "searchStrategy",
)
"""The fields that either version has and the other has not."""

_BACKENDS = ("vllm", "sglang", "trtllm")
_COMMON = ("model", "backend", "autoApply")
_PROFILING_FIELDS = ("config", "configMapRef", "profilerImage", "outputPVC", "resources", "tolerations")
_OVERRIDE_FIELDS = ("name", "namespace", "labels", "annotations", "workersImage")
_SLA_FIELDS = ("isl", "osl", "ttft", "itl")
_CONFIG_FIELDS = ("sla", "sweep", "planner", "hardware")
_SWEEP_FIELDS = ("useAiConfigurator", "aicSystem", "aicHfId", "aicBackendVersion", "aicModelName")
_HARDWARE_FIELDS = ("gpuType", "numGpusPerNode", "minNumGpusPerEngine", "maxNumGpusPerEngine")
# By a server that stores v1alpha1 and does not convert.
_FILLED_IN = ("useMocker", "enableGpuDiscovery")
_BETA_HARDWARE = ("gpuSku", "vramMb", "totalGpus", "numGpusPerNode", "interconnect", "rdma")
_BETA_WORKLOAD = ("isl", "osl", "concurrency", "requestRate")
_BETA_SLA = ("ttft", "itl", "e2eLatency", "optimizationType")
_BETA_OVERRIDES = ("profilingJob", "dgd", "trustRemoteCode")
_BETA_FEATURES = ("planner", "kvRouter", "mocker")
_BETA_ISL, _BETA_OSL = 4000, 1000


def read_alpha(spec: Section, notes: list[str]) -> dict[str, Any]:
    """The fields of v1alpha1.

    Args:
        spec: The specification.
        notes: What is worth knowing so far.

    Raises:
        RequestError: Something is wrong or missing.
    """
    spec.refuse_unknown((*_COMMON, *ALPHA_FIELDS))
    profiling, overrides = spec.section("profilingConfig"), spec.section("deploymentOverrides")
    profiling.refuse_unknown(_PROFILING_FIELDS)
    overrides.refuse_unknown(_OVERRIDE_FIELDS)
    config = profiling.section("config")
    sweep, hardware, sla = config.section("sweep"), config.section("hardware"), config.section("sla")
    sla.refuse_unknown(_SLA_FIELDS)
    planner = read_options(config.section("planner"))
    for section, known in ((config, _CONFIG_FIELDS), (sweep, _SWEEP_FIELDS), (hardware, _HARDWARE_FIELDS)):
        notes += [f"{path} has no influence here" for path in section.unknown(known)]
    if spec.flag("enableGpuDiscovery"):
        notes.append("spec.enableGpuDiscovery has no influence here: the GPUs are those that the request names")
    estimated = bool(sweep.flag("useAiConfigurator"))
    return {
        **_common(spec, _BACKENDS),
        "sla": _alpha_sla(sla, notes),
        "sweep": Sweep(
            use_ai_configurator=estimated,
            system=sweep.text("aicSystem") or hardware.text("gpuType"),
            hf_id=sweep.text("aicHfId") or sweep.text("aicModelName"),
            backend_version=sweep.text("aicBackendVersion"),
        ),
        "hardware": Hardware(
            gpus_per_node=hardware.whole("numGpusPerNode", "GPUs"),
            least_per_engine=hardware.whole("minNumGpusPerEngine", "GPUs"),
            most_per_engine=hardware.whole("maxNumGpusPerEngine", "GPUs"),
        ),
        "planner": planner,
        "profiler_image": profiling.text("profilerImage"),
        "config_map_ref": _config_map_ref(profiling.section("configMapRef")) if "configMapRef" in profiling else None,
        "output_pvc": profiling.text("outputPVC"),
        "resources": profiling.section("resources").items(),
        "tolerations": profiling.objects("tolerations"),
        "overrides": _overrides(overrides, overrides.text("workersImage")),
        "auto_apply": spec.flag("autoApply") or False,
        "use_mocker": spec.flag("useMocker") or False,
        "online": not estimated,
        "notes": (*notes, *planner.notes),
    }


def read_beta(spec: Section, notes: list[str]) -> dict[str, Any]:
    """The fields of v1beta1; arguments and errors as of ``read_alpha``."""
    spec.refuse_unknown((*_COMMON, *BETA_FIELDS, *(key for key in _FILLED_IN if spec.raw(key) is False)))
    hardware, features, overrides = spec.section("hardware"), spec.section("features"), spec.section("overrides")
    hardware.refuse_unknown(_BETA_HARDWARE)
    features.refuse_unknown(_BETA_FEATURES)
    overrides.refuse_unknown(_BETA_OVERRIDES)
    planner = read_options(features.section("planner"))
    common = _common(spec, ("auto", *_BACKENDS))
    thorough = (spec.one_of("searchStrategy", ("rapid", "thorough")) or "rapid") == "thorough"
    if thorough and common["backend"] == "auto":
        raise issues.AUTO_THOROUGH.error()
    sla = _beta_sla(spec.section("sla"), spec.section("workload"), notes)
    dgd = overrides.section("dgd")
    job = _job(overrides.section("profilingJob"))
    auto_apply = spec.flag("autoApply")
    notes += [
        f"{hardware.at(key)} has no influence here" for key in ("vramMb", "interconnect", "rdma") if key in hardware
    ]
    if overrides.flag("trustRemoteCode"):
        notes.append(
            "spec.overrides.trustRemoteCode has no influence here: put the engine's flag into the base deployment"
        )
    return {
        **common,
        "sla": sla,
        "sweep": Sweep(use_ai_configurator=not thorough, system=hardware.text("gpuSku")),
        "hardware": Hardware(
            total_gpus=hardware.whole("totalGpus", "GPUs"), gpus_per_node=hardware.whole("numGpusPerNode", "GPUs")
        ),
        "planner": planner,
        "profiler_image": spec.text("image"),
        "resources": job.get("resources") or {},
        "tolerations": tuple(job.get("tolerations") or ()),
        "overrides": _beta_overrides(spec, dgd),
        "model_cache": _model_cache(spec.section("modelCache")),
        "kv_router": features.section("kvRouter").flag("enabled") or False,
        "auto_apply": True if auto_apply is None else auto_apply,
        "use_mocker": features.section("mocker").flag("enabled") or False,
        "online": thorough,
        "notes": (*notes, *planner.notes),
    }


def _common(spec: Section, backends: tuple[str, ...]) -> dict[str, Any]:
    backend = spec.one_of("backend", backends)
    if backend is None and "auto" not in backends:
        raise issues.MISSING.error(path="spec.backend", example=f"one of {', '.join(backends)}")
    model = spec.needed_text("model", "its name on Hugging Face, such as Qwen/Qwen3-32B")
    return {"model": model, "backend": backend or "auto"}


def _alpha_sla(sla: Section, notes: list[str]) -> Sla:
    return Sla(
        isl=_whole(sla, "isl", "tokens", notes),
        osl=_whole(sla, "osl", "tokens", notes),
        ttft_ms=_number(sla, "ttft", "ms", notes),
        itl_ms=_number(sla, "itl", "ms", notes),
    )


def _beta_sla(sla: Section, workload: Section, notes: list[str]) -> Sla:
    sla.refuse_unknown(_BETA_SLA)
    workload.refuse_unknown(_BETA_WORKLOAD)
    osl = workload.whole("osl", "tokens") or _BETA_OSL
    whole_ms = sla.number("e2eLatency", "ms")
    if whole_ms is not None and not ("ttft" in sla and "itl" in sla):
        share = whole_ms / 4
        raise issues.END_TO_END.error(
            value=whole_ms, ttft=round(share), itl=round((whole_ms - share) / osl, 1), osl=osl
        )
    notes += [
        f"{workload.at(key)} has no influence here: the planner begins with the least workers and sizes by what it sees"
        for key in ("concurrency", "requestRate")
        if key in workload
    ]
    if "optimizationType" in sla:
        notes.append(
            f"{sla.at('optimizationType')} has no influence here: of the engines that meet the SLA, the cheapest"
        )
    found = Sla(
        isl=workload.whole("isl", "tokens") or _BETA_ISL,
        osl=osl,
        ttft_ms=_number(sla, "ttft", "ms", notes),
        itl_ms=_number(sla, "itl", "ms", notes),
    )
    if whole_ms is not None and found.ttft_ms + found.itl_ms * (found.osl - 1) > whole_ms * 1.001:
        raise issues.CONTRADICTION.error(
            path="spec.sla.e2eLatency",
            value=f"{whole_ms:g} ms",
            other_path="ttft and itl, which come to",
            other=f"{found.ttft_ms + found.itl_ms * (found.osl - 1):g} ms",
        )
    return found


def _whole(section: Section, key: str, unit: str, notes: list[str]) -> int:
    value = section.whole(key, unit)
    return int(_assumed(section, key, unit, notes)) if value is None else value


def _number(section: Section, key: str, unit: str, notes: list[str]) -> float:
    value = section.number(key, unit)
    return _assumed(section, key, unit, notes) if value is None else value


def _assumed(section: Section, key: str, unit: str, notes: list[str]) -> float:
    value = float(Settings.model_fields[key].default)
    notes.append(f"{section.at(key)} is not given: {value:g} {unit} is assumed")
    return value


def _config_map_ref(reference: Section) -> ConfigMapRef:
    reference.refuse_unknown(("name", "key"))
    name = reference.needed_text("name", "the name of the ConfigMap")
    check_names({reference.at("name"): name})
    key = reference.text("key")
    return ConfigMapRef(name=name) if key is None else ConfigMapRef(name=name, key=key)


def _overrides(section: Section, workers_image: str | None) -> Overrides:
    found = Overrides(
        name=section.text("name"),
        namespace=section.text("namespace"),
        labels=section.texts("labels"),
        annotations=section.texts("annotations"),
        workers_image=workers_image,
    )
    check_names({section.at("name"): found.name, section.at("namespace"): found.namespace})
    return found


def _beta_overrides(spec: Section, dgd: Section) -> Overrides:
    metadata = _overrides(dgd.section("metadata"), None)
    rest = {key: value for key, value in dgd.items().items() if key not in {"metadata", "apiVersion", "kind"}}
    return Overrides(
        name=metadata.name,
        namespace=metadata.namespace,
        labels=metadata.labels,
        annotations=metadata.annotations,
        runtime_version=spec.text("runtimeVersionOverride"),
        dgd=rest,
    )


def _job(section: Section) -> Mapping[str, Any]:
    """Resources and tolerations of the pod of a JobSpec."""
    pod = section.section("template").section("spec")
    containers = pod.objects("containers")
    return {
        "tolerations": pod.objects("tolerations"),
        "resources": dict((containers[0].get("resources") or {}) if containers else {}),
    }


def _model_cache(cache: Section) -> ModelCache | None:
    cache.refuse_unknown(("pvcName", "pvcModelPath", "pvcMountPath"))
    claim = cache.text("pvcName")
    if claim is None:
        return None
    check_names({cache.at("pvcName"): claim})
    return ModelCache(
        claim=claim,
        model_path=cache.text("pvcModelPath"),
        mount_path=cache.text("pvcMountPath") or "/opt/model-cache",
    )
