"""Settings in a YAML file."""

from __future__ import annotations

from pathlib import Path

import yaml

from planner.settings.misspelling import nearest
from planner.settings.settings import Found, Settings
from planner.settings.validation import ConfigurationError


def from_file(path: Path) -> dict[str, Found]:
    """The options that a YAML file sets; keys as flags or as fields.

    Raises:
        ConfigurationError: It cannot be read, is no mapping, or has a key that is no option.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--config {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"--config {path}: is no text in UTF-8: {error}") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--config {path}: cannot be read as YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"--config {path}: expected a mapping of options, got {type(content).__name__}")
    return {_field_of(key, path): Found(value, f"file {path}") for key, value in content.items()}


def _field_of(key: object, path: Path) -> str:
    name = str(key).replace("-", "_")
    if name not in Settings.model_fields:
        near = nearest(name, Settings.model_fields)
        hint = f"did you mean {near}?" if near else "see --help for the options there are"
        raise ConfigurationError(f"--config {path}: {key!r} is no option; {hint}")
    return name
