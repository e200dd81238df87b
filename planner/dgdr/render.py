"""``python -m planner dgdr render``: from a request to manifests, for GitOps."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from connectors.base import ConnectorError
from connectors.kubernetes.resources import CONFIG_MAPS
from planner.assembly import make_kubernetes_api
from planner.cli import EXIT_FAILED, Invocation, failed
from planner.dgdr import issues
from planner.dgdr.base import read_base
from planner.dgdr.choice import Choice
from planner.dgdr.generate import Generated, from_profile, offline
from planner.dgdr.issues import DgdrError
from planner.dgdr.request import KIND, PROFILE_CONFIG_MAP, Request
from planner.profile.output import showing
from planner.profile.tables import print_sheets
from planner.settings import Settings
from profiles import ProfileData, ProfileError, read_data
from profiles.making.progress import silent
from profiles.writing import to_yaml


def run(invocation: Invocation) -> int:
    """Print or write the manifests of every request of a file; what was chosen goes to standard error.

    Returns:
        The exit code: 0; 1 if a file cannot be written; 2 if a request is wrong or nothing can be generated for it.
    """
    extras = invocation.extras
    try:
        requests = list(_requests(extras.file, extras.kube_namespace))
        rendered = [asyncio.run(_render(invocation, request)) for request in requests]
        documents = [document for one in rendered for document in (*one.additional, one.dgd)]
        _refuse_collisions(documents)
    except DgdrError as error:
        return failed(invocation, error)
    try:
        _leave(documents, extras.output, quiet=extras.quiet)
    except OSError as error:
        return failed(invocation, error, EXIT_FAILED)
    return 0


def _refuse_collisions(documents: Sequence[Mapping[str, Any]]) -> None:
    """See that no manifest takes the place of another.

    Raises:
        RequestError: Two have one name.
    """
    seen = set[tuple[str, str, str]]()
    for one in documents:
        where = str(one["metadata"].get("namespace") or "")
        key = (one["kind"], where, one["metadata"]["name"])
        if key in seen:
            raise issues.COLLISION.error(kind=key[0], name=key[2], annotation=PROFILE_CONFIG_MAP)
        seen.add(key)


def _requests(file: str, namespace: str | None) -> Iterator[Request]:
    """The requests of a file.

    Raises:
        RequestError: It cannot be read, has none, or one is wrong.
    """
    origin = "standard input" if file == "-" else file
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    except OSError as error:
        raise issues.NO_REQUEST.error(origin=origin, found=f"it cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise issues.NO_REQUEST.error(origin=origin, found=f"it is no YAML: {error}") from error
    if not documents:
        raise issues.NO_REQUEST.error(origin=origin, found="it is empty")
    # Beside requests a file may have whatever else belongs to them; of a single object, say what is wrong with it.
    chosen = [one for one in documents if isinstance(one, Mapping) and one.get("kind") == KIND] or documents[:1]
    for one in chosen:
        yield Request.parse(_placed(one, namespace), origin)


def _placed(manifest: Any, namespace: str | None) -> Any:
    """A manifest in a namespace, unless it names one."""
    metadata = manifest.get("metadata") if isinstance(manifest, Mapping) else None
    if namespace is None or not isinstance(metadata, Mapping) or metadata.get("namespace"):
        return manifest
    return {**manifest, "metadata": {**metadata, "namespace": namespace}}


async def _render(invocation: Invocation, request: Request) -> Generated:
    extras, cluster = invocation.extras, _Cluster(invocation.settings)
    base = await _base(request, extras.base, cluster)
    profile = await asyncio.to_thread(_profile, extras.profile, extras.profile_config_map)
    if profile is None and extras.profile_config_map is not None:
        profile = await cluster.profile(extras.profile_config_map)
    if profile is not None:
        generated = await from_profile(request, profile, base, planner_image=extras.planner_image)
    elif request.online:
        raise issues.NEEDS_MEASURING.error(path=_estimated(request))
    else:
        with nullcontext(silent) if extras.quiet else _progress() as tell:
            generated = await offline(request, base=base, on_progress=tell, planner_image=extras.planner_image)
    if not extras.quiet:
        explain(request.name, generated.choice)
    return generated


def _progress() -> Any:
    from rich.console import Console  # noqa: PLC0415 - slow to import

    return showing(Console(stderr=True))


def _estimated(request: Request) -> str:
    if request.version == "v1alpha1":
        return "spec.profilingConfig.config.sweep.useAiConfigurator: true"
    return "spec.searchStrategy: rapid"


async def _base(request: Request, file: Path | None, cluster: _Cluster) -> Mapping[str, Any] | None:
    """The deployment to build on; None for the template."""
    if file is not None:
        return read_base(_text_of(file), str(file))
    if (reference := request.config_map_ref) is None:
        return None
    data = await cluster.config_map(request.namespace, reference.name)
    origin = f"key {reference.key} of ConfigMap {reference.name}"
    if reference.key not in data:
        complaint = f"it has no key {reference.key}; there are {', '.join(sorted(data)) or 'none'}"
        raise issues.CLUSTER.error(name=reference.name, complaint=complaint)
    return read_base(data[reference.key], origin)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise issues.NO_BASE.error(origin=file, complaint=f"it cannot be read: {error}") from error


def _profile(folder: str | None, config_map: str | None) -> ProfileData | None:
    """The profile that is given as a folder or a file; None if none is."""
    is_file = config_map is not None and (config_map.endswith((".yaml", ".yml", ".json")) or Path(config_map).exists())
    path = folder or (config_map if is_file else None)
    try:
        return None if path is None else read_data(path)
    except ProfileError as error:
        raise issues.PROFILE_UNUSABLE.error(complaint=error) from error


@dataclass(frozen=True, slots=True)
class _Cluster:
    """The cluster of the kubeconfig, asked only for what is in none of the files."""

    settings: Settings

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """The data of a ConfigMap.

        Raises:
            GenerationError: It cannot be had.
        """
        api = make_kubernetes_api(self.settings)
        try:
            await api.start()
            where = namespace or api.credentials.namespace or "default"
            found = await api.get(CONFIG_MAPS, where, name)
        except ConnectorError as error:
            raise issues.CLUSTER.error(name=name, complaint=error) from error
        finally:
            await api.close()
        return found.get("data") or {}

    async def profile(self, config_map: str) -> ProfileData:
        """The profile that a ConfigMap has.

        Args:
            config_map: Its name, behind its namespace and a slash if that is not the one of the credentials.

        Raises:
            GenerationError: It cannot be had, has none, or one that cannot be used.
        """
        namespace, _, name = config_map.rpartition("/")
        data = await self.config_map(namespace, name)
        try:
            return await asyncio.to_thread(_read_files, data)
        except ProfileError as error:
            complaint = f"ConfigMap {config_map}, which has {', '.join(sorted(data)) or 'nothing'}: {error}"
            raise issues.PROFILE_UNUSABLE.error(complaint=complaint) from error


def _read_files(data: Mapping[str, str]) -> ProfileData:
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - only for profiles in a cluster

    with TemporaryDirectory() as folder:
        for name, content in data.items():
            # Keys of ConfigMaps have no slashes.
            (Path(folder) / name).write_text(content, encoding="utf-8")
        return read_data(folder)


def explain(name: str, choice: Choice) -> None:
    """Print what was picked for a request and why, to standard error."""
    print_sheets(choice.sheets(), stderr=True)
    lines = [
        f"{name}: {choice.reason}",
        f"figures: {choice.how}",
        *(f"left out: {what}: {why}" for what, why in choice.refused.items()),
        *(f"note: {note}" for note in choice.notes),
    ]
    print("\n".join(lines), file=sys.stderr)  # noqa: T201


def _leave(documents: Sequence[Mapping[str, Any]], output: str, *, quiet: bool) -> None:
    """Print manifests, or write a file for each."""
    if output == "-":
        print("---\n".join(map(to_yaml, documents)), end="")  # noqa: T201
        return
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    several = len({document["metadata"].get("namespace") for document in documents}) > 1
    for document in documents:
        metadata = document["metadata"]
        file = folder / f"{metadata.get('namespace', 'default') + '-' if several else ''}{metadata['name']}.yaml"
        file.write_text(to_yaml(document), encoding="utf-8")
        if not quiet:
            print(f"wrote {file}", file=sys.stderr)  # noqa: T201
