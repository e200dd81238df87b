"""The result of a request in its ConfigMap: progress while it is made, then the manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.errors import ConflictError, NotFoundError
from connectors.kubernetes.resources import CONFIG_MAPS, Resource
from planner.dgdr.generate import Generated
from planner.dgdr.ownership import Owner

MANIFESTS, PROGRESS = "config_with_planner.yaml", "progress.json"
_LARGEST = 1_000_000


class ResultError(Exception):
    """A result that cannot be kept or used; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a request.

    Attributes:
        dgd: The deployment.
        additional: What it needs beside it: ConfigMaps.
    """

    dgd: Object
    additional: Sequence[Object] = ()

    @classmethod
    def of(cls, generated: Generated) -> Result:
        """The result of what was generated."""
        return cls(dgd=generated.dgd, additional=tuple(generated.additional))

    def text(self) -> str:
        """As YAML for kubectl: the deployment last, as it needs the rest."""
        return yaml.safe_dump_all([*self.additional, self.dgd], sort_keys=False, width=120)

    @classmethod
    def parse(cls, text: str) -> Result:
        """Of YAML with one deployment; what is neither it nor a ConfigMap is left out.

        Raises:
            ResultError: It is no YAML, or has no deployment, or several.
        """
        try:
            documents = [one for one in yaml.safe_load_all(text) if isinstance(one, dict)]
        except yaml.YAMLError as error:
            raise ResultError(f"{MANIFESTS} is no YAML: {error}") from error
        deployments = [one for one in documents if one.get("kind") == "DynamoGraphDeployment"]
        if len(deployments) != 1:
            raise ResultError(f"{MANIFESTS} has {len(deployments)} DynamoGraphDeployments; expected is one")
        return cls(dgd=deployments[0], additional=[one for one in documents if one.get("kind") == "ConfigMap"])


class ResultStore:
    """The ConfigMap of a request's result, named after it and owned by it."""

    def __init__(self, api: KubernetesApi, owner: Owner) -> None:
        self._api = api
        self._owner = owner

    async def read(self) -> Mapping[str, str]:
        """What it holds; nothing if there is none of this request.

        Raises:
            KubernetesError: It cannot be read.
        """
        try:
            found = await self._api.get(CONFIG_MAPS, self._owner.namespace, self._owner.results)
        except NotFoundError:
            return {}
        return (found.get("data") or {}) if self._owner.owns(found) else {}

    async def tell(self, progress: Mapping[str, Any]) -> None:
        """Keep how far it has come.

        Raises:
            KubernetesError, ResultError: As ``keep``.
        """
        await self._store({PROGRESS: json.dumps(progress)})

    async def keep(self, result: Result, files: Mapping[str, str] | None = None) -> None:
        """Keep the result; once kept it stays as it is.

        Args:
            result: The manifests.
            files: What else to keep, by name, as far as there is room.

        Raises:
            KubernetesError: It cannot be written.
            ResultError: It is too large, or the name is taken by somebody else.
        """
        data = {MANIFESTS: result.text()}
        if len(data[MANIFESTS].encode()) > _LARGEST:
            raise ResultError(
                f"the manifests take {len(data[MANIFESTS].encode())} bytes, more than a ConfigMap holds: profile fewer "
                "points"
            )
        for name, content in (files or {}).items():
            if sum(len(one.encode()) for one in (*data.values(), content)) <= _LARGEST:
                data[name] = content
        await self._store(data)

    async def _store(self, data: Mapping[str, str]) -> None:
        place = (CONFIG_MAPS, self._owner.namespace)
        body = {"metadata": self._owner.metadata(self._owner.results), "data": dict(data)}
        try:
            await self._api.create(*place, body)
        except ConflictError:
            await self._store_over(place, body)

    async def _store_over(self, place: tuple[Resource, str], body: Object) -> None:
        """Put data into the ConfigMap that is there."""
        found = await self._api.get(*place, self._owner.results)
        if self._owner.owns(found):
            await self._api.patch(*place, self._owner.results, {"data": body["data"]})
        elif self._owner.named_on(found):
            # Left by an earlier request of this name.
            await self._api.delete(*place, self._owner.results)
            await self._api.create(*place, body)
        else:
            raise ResultError(
                f"ConfigMap {self._owner.results} is there already and belongs to nobody known: rename or delete it"
            )
