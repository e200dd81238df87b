"""The reference, generated from the code: every option, for people and for machines; what goes wrong with requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from planner.dgdr.controller.issues import ISSUES as CONTROLLER_ISSUES
from planner.dgdr.issues import ISSUES
from planner.settings import GROUPS, Settings, environment_names, extra, flag
from planner.settings.words import accepts, default_text, is_secret

PAGE = Path("docs/configuration.md")
SCHEMA = Path("docs/configuration.schema.json")
DGDR_PAGE = Path("docs/dgdr.md")
CHART_VALUES = Path("examples/kubernetes/chart/values.yaml")
CHART_SCHEMA = Path("examples/kubernetes/chart/values.schema.json")
# Values of the chart that have whatever names their user gives them.
_FREE = ("resources", "dashboardLabels")

_INTRODUCTION = """\
# Configuration

<!-- Generated from planner/settings/ by `python -m planner.reference`; edit there. -->

Every option is a flag, an environment variable, and a key of the YAML file given with `--config` (the flag's name
with or without dashes). A flag beats its environment variable, that beats the file, that beats the default.
`python -m planner --print-config` shows what is in effect and where each value came from. On SIGHUP the planner reads
the file again; options marked *reloadable* take their new value at the next adjustment, the others are named in the
log. `configuration.schema.json` beside this page is the JSON Schema of the file, for editors that check YAML.
"""


def page() -> str:
    """The reference page, in Markdown."""
    parts = [_INTRODUCTION]
    for group in GROUPS:
        parts.append(f"## {group.title}\n")
        parts += [_entry(name, field) for name, field in group.model_fields.items()]
    return "\n".join(parts)


def _entry(name: str, field: FieldInfo) -> str:
    facts = [f"Accepts {accepts(field)}".replace("|", "\\|")]
    facts.append("no default" if field.default in (None, ()) else f"default `{default_text(name, field)}`")
    facts.append("environment " + " or ".join(f"`{variable}`" for variable in environment_names(name)))
    if extra(field)["reloadable"]:
        facts.append("*reloadable*")
    if is_secret(field):
        facts.append("secret, never shown")
    return f"### `{flag(name)}`\n\n{field.description}\n\n{'; '.join(facts)}.\n"


def schema() -> str:
    """The JSON Schema of a configuration file."""
    document = Settings.model_json_schema()
    document["properties"]["state_dir"].pop("default", None)
    for field in document["properties"].values():
        for noted in ("env", "reloadable"):
            field.pop(noted, None)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **document}, indent=2) + "\n"


def chart_schema() -> str:
    """The JSON Schema of the values of the Helm chart, of which ``settings`` are a configuration file."""
    document = json.loads(schema())
    values = yaml.safe_load(CHART_VALUES.read_text(encoding="utf-8"))
    return (
        json.dumps(
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "type": "object",
                "properties": {
                    # What Helm hands on from a chart that this one is part of.
                    "global": {},
                    **{name: _shape(name, value) for name, value in values.items()},
                    "replicas": {"type": "integer", "minimum": 0},
                    "settings": {key: document[key] for key in ("type", "properties", "additionalProperties")},
                },
                "additionalProperties": False,
            },
            indent=2,
        )
        + "\n"
    )


def _shape(name: str, value: Any) -> dict[str, Any]:
    """What a value of the chart may be: of the kind of its default, with the names that that has."""
    # Text may look like a number on a command line, such as the tag of an image.
    kinds: dict[type, str | list[str]] = {
        bool: "boolean",
        int: "integer",
        str: ["string", "number"],
        list: "array",
        dict: "object",
    }
    shape: dict[str, Any] = {"type": kinds[type(value)]}
    if isinstance(value, dict) and value and name not in _FREE:
        shape["properties"] = {key: _shape(key, below) for key, below in value.items()}
        shape["additionalProperties"] = False
    return shape


def dgdr_page(text: str) -> str:
    """The page about requests, with the table of what goes wrong as the code says it."""
    begin, end = "<!-- issues, generated: make docs -->\n", "<!-- end of issues -->"
    before, _, rest = text.partition(begin)
    rows = [
        f"| {cause} | {mend} |".replace("\n", " ")
        for cause, mend in (issue.row() for issue in (*ISSUES, *CONTROLLER_ISSUES))
    ]
    return (
        before
        + begin
        + "\n".join(["| what it says | quick fix |", "|---|---|", *rows])
        + "\n"
        + end
        + rest.partition(end)[2]
    )


def main() -> None:
    """Write every file, from the root of the repository."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
    DGDR_PAGE.write_text(dgdr_page(DGDR_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    CHART_SCHEMA.write_text(chart_schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
