"""AI Configurator, NVIDIA's offline performance model of engines, behind the few calls that are stable."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from profiles.making.progress import MakingError, NotInstalledError

# The package goes by its new name where that is installed.
_PACKAGES = (("aisimulate_core", "aisimulate-core"), ("aiconfigurator_core", "aiconfigurator-core"))
_MEMORY = {"vllm": ("of_total", 0.9), "sglang": ("of_total", 0.88), "trtllm": ("of_free", 0.9)}
_MAX_BATCHED_TOKENS = 8192
_SEQUENCES_IN_MEMORY_MODEL = 256

INSTALL = "pip install 'sla-planner[aic]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """One engine as AI Configurator sees it.

    Attributes:
        tp: Its tensor parallelism, and its GPUs.
        max_kv_tokens: Tokens that its KV cache holds.
        memory: Where its memory goes, bytes.
        parallelism: How experts are spread, for a model that has them.
        handle: The compiled engine.
    """

    tp: int
    max_kv_tokens: int
    memory: Mapping[str, int]
    parallelism: Mapping[str, int]
    handle: Any

    def ttft_ms(self, isl: int) -> float:
        """Time to first token of one input on the idle engine, milliseconds."""
        context_ms, _, _ = self.handle.run_static(batch_size=1, isl=isl, osl=2, mode="static_ctx")
        return float(context_ms)

    def itl_ms(self, concurrency: int, context_length: int) -> float:
        """Time of one decode step of a batch in a context, milliseconds."""
        _, step_ms, _ = self.handle.run_static(
            batch_size=concurrency, isl=max(1, context_length - 1), osl=2, mode="static_gen"
        )
        return float(step_ms)


class Configurator:
    """Knows engines of one model on one system.

    Attributes:
        model: Exact Hugging Face name of the model, or a folder with its ``config.json``.
        system: Name of the system, as AI Configurator calls it.
        backend: ``vllm``, ``sglang`` or ``trtllm``.
        backend_version: Version of the backend whose data is used.
        package: Name of the package and its version.
    """

    def __init__(self, *, model: str, system: str, backend: str, backend_version: str = "current") -> None:
        """Look everything up; nothing is computed yet.

        Args:
            model: Hugging Face name in any case, or a folder with ``config.json``.
            system: Such as ``h200_sxm``, or its beginning if no other system begins so.
            backend: Such as ``vllm``.
            backend_version: A version there is data of, or ``current``.

        Raises:
            NotInstalledError: The package is not installed.
            MakingError: Something of this is not supported; it says what is.
        """
        self._sdk, self.package = _load()
        self.system = _one_of("system", system, sorted(self._databases))
        backends = self._databases[self.system]
        self.backend = _one_of("backend", backend, sorted(backends), there=f"on {self.system}")
        try:
            self.backend_version = str(
                self._sdk("perf_database").resolve_query_version(self.system, self.backend, backend_version)
            )
        except ValueError as error:
            there = ", ".join(backends[self.backend])
            raise MakingError(
                f"--backend-version {backend_version!r} of {self.backend} on {self.system} is not supported; "
                f"there is data of {there}, or say current"
            ) from error
        self.model = self._find_model(model)

    @cached_property
    def _databases(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        found: Mapping[str, Mapping[str, Sequence[str]]] = self._sdk("perf_database").get_supported_databases()
        return found

    @cached_property
    def gpus_of_a_node(self) -> int:
        """GPUs of one node of the system."""
        spec = self._sdk("perf_database").load_system_spec(self.system)
        return int(spec["node"]["num_gpus_per_node"])

    def _find_model(self, model: str) -> str:
        if Path(model).is_dir():
            if not (Path(model) / "config.json").is_file():
                raise MakingError(f"the folder {model} has no config.json to know a model by")
            return model
        known: list[str] = sorted(self._sdk("common").get_default_models())
        by_lower = {name.lower(): name for name in known}
        if model.lower() in by_lower:
            return by_lower[model.lower()]
        short = [name for name in known if name.lower().rpartition("/")[2] == model.lower()]
        if len(short) == 1:
            return short[0]
        near = difflib.get_close_matches(model.lower(), by_lower, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(by_lower[name] for name in near)}? " if near else ""
        raise MakingError(
            f"--model {model!r} is not supported; {hint}Give the exact name on Hugging Face, or a folder with the "
            f"model's config.json. Known are: {', '.join(known)}"
        )

    def engine(self, tp: int) -> Simulated:
        """An engine with a tensor parallelism.

        Raises:
            MakingError: The model does not run so, or there is no data of it.
        """
        problems = []
        # Of a model with experts they are split like the rest, as engines do by default, or else spread whole.
        for parallelism in ({}, {"moe_tp_size": tp, "moe_ep_size": 1}, {"moe_tp_size": 1, "moe_ep_size": tp}):
            try:
                with _quiet():
                    return self._compile(tp, parallelism)
            except Exception as error:  # noqa: BLE001 - the package raises whatever its parts do
                problems.append(_first_sentence(error))
        raise MakingError(f"{self.model} with TP {tp} on {self.system}: {problems[-1]}")

    def _compile(self, tp: int, parallelism: Mapping[str, int]) -> Simulated:
        sdk = self._sdk("")
        where = (self.model, self.system, self.backend)
        handle = sdk.EngineHandle.compile(*where, backend_version=self.backend_version, tp_size=tp, **parallelism)
        kind, share = _MEMORY[self.backend]
        cache = sdk.estimate_kv_cache(
            *where,
            self.backend_version,
            max_num_tokens=_MAX_BATCHED_TOKENS,
            max_batch_size=_SEQUENCES_IN_MEMORY_MODEL,
            memory_fraction_kind=kind,
            memory_fraction_value=share,
            tp_size=tp,
            **parallelism,
        )
        engine = Simulated(
            tp=tp,
            max_kv_tokens=int(cache["total_kv_size_tokens"]),
            memory={key: int(value) for key, value in (cache["memory_breakdown"] or {}).items()},
            parallelism=parallelism,
            handle=handle,
        )
        # Data that is missing shows only when it is asked for.
        engine.ttft_ms(1000)
        engine.itl_ms(1, 1000)
        return engine


def _load() -> tuple[Any, str]:
    """What gives modules of the package by name, and the package with its version."""
    for module, distribution in _PACKAGES:
        try:
            importlib.import_module(f"{module}.sdk")
        except ImportError:
            continue
        try:
            package = f"{distribution} {version(distribution)}"
        except PackageNotFoundError:
            package = module
        return lambda name, module=module: importlib.import_module(f"{module}.sdk.{name}".rstrip(".")), package
    raise NotInstalledError(
        f"AI Configurator is not installed; install it with {INSTALL}, or measure a running engine instead"
    )


def _one_of(what: str, wanted: str, known: Sequence[str], *, there: str = "") -> str:
    name = wanted.lower().replace("-", "_")
    begins = [other for other in known if other == name or other.startswith(f"{name}_")]
    if name in known:
        return name
    if len(begins) == 1:
        return begins[0]
    where = f" {there}" if there else ""
    raise MakingError(f"--{what} {wanted!r} is not supported{where}; choose from {', '.join(known)}")


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{text[:240]}..." if len(text) > 240 else text or type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the package prints and logs about its data off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
