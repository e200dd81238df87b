"""Which model a deployment serves."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from connectors.base import ConnectorError
from connectors.kubernetes.api import Object
from connectors.kubernetes.deployment import Deployment
from connectors.kubernetes.roles import Roles

# The name that clients use comes first, then what the engine loads.
_FLAGS = ("--served-model-name", "--model-name", "--model", "--model-path")


def model_in(command: Sequence[str]) -> str | None:
    """The model that a worker's command line names; None if it names none.

    Args:
        command: Command and arguments; a word may be a whole script for a shell.
    """
    words = list(_words(command))
    for flag in _FLAGS:
        for word, following in pairwise([*words, ""]):
            if word == flag and following and not following.startswith("-"):
                return following
            if word.startswith(f"{flag}="):
                return word.partition("=")[2] or None
    return None


def _words(command: Sequence[str]) -> Iterable[str]:
    for word in command:
        if not any(letter.isspace() for letter in word):
            yield word
            continue
        try:
            yield from shlex.split(word, comments=True)
        except ValueError:
            yield from word.split()


def deployed_model(deployment: Deployment, roles: Roles, metadata: Sequence[Object]) -> str | None:
    """The model that the workers serve; None if nothing says so.

    Args:
        deployment: The deployment.
        roles: Its pools.
        metadata: DynamoWorkerMetadata objects of its workers.

    Raises:
        ConnectorError: The pools serve different models.
    """
    named = {one.name: one.served_model or model_in(one.command) for one in roles.components}
    found = {name: model for name, model in named.items() if model}
    if len({model.lower() for model in found.values()}) > 1:
        told = ", ".join(f"{name} serves {model}" for name, model in found.items())
        raise ConnectorError(f"the workers of DynamoGraphDeployment {deployment.name} serve different models: {told}")
    return next(iter(found.values()), None) or next(_registered(deployment, metadata), None)


def _registered(deployment: Deployment, metadata: Sequence[Object]) -> Iterator[str]:
    """Names on the model cards that the workers of a deployment registered."""
    for one in metadata:
        if not str((one.get("metadata") or {}).get("name") or "").startswith(f"{deployment.name}-"):
            continue
        cards = ((one.get("spec") or {}).get("data") or {}).get("model_cards") or {}
        for entry in cards.values():
            card = entry.get("card_json") if isinstance(entry, dict) else None
            try:
                content = json.loads(card) if isinstance(card, str) else card
            except ValueError:
                continue
            if isinstance(content, dict) and isinstance(name := content.get("display_name"), str):
                yield name
