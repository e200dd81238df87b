"""What an option is made of: a default, a unit, bounds, a help text; and the types of values that options have."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic.fields import FieldInfo

KUBERNETES_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
"""What names of objects and namespaces in Kubernetes match."""


class OptionGroup(BaseModel):
    """Options that belong together in help and reference; the settings inherit from every group.

    Attributes:
        title: Heading of the group.
    """

    title: ClassVar[str]


def option(
    default: Any,
    description: str,
    *,
    unit: str = "",
    env: tuple[str, ...] = (),
    reloadable: bool = False,
    **bounds: Any,
) -> Any:
    """A field of an option group.

    Args:
        default: Its default.
        description: One sentence or two for help and reference.
        unit: Unit of the value, for help and reference.
        env: Environment variables that other planners use for it, tried before ``PLANNER_<NAME>``.
        reloadable: Whether a running planner takes a new value on SIGHUP.
        **bounds: ``gt``, ``ge``, ``lt``, ``le`` and the like, as for ``pydantic.Field``.
    """
    noted: dict[str, Any] = {"unit": unit, "env": list(env), "reloadable": reloadable}
    return Field(default, description=description, json_schema_extra=noted, **bounds)


def extra(field: FieldInfo) -> dict[str, Any]:
    """What ``option`` noted about a field beyond what pydantic knows."""
    noted = field.json_schema_extra
    assert isinstance(noted, dict)  # noqa: S101 - every field is made by option()
    return noted


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def _listen_address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:9086 or [::]:9086, with a port from 0 to 65535")
    return value


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(letter.isspace() for letter in value):
        raise ValueError("expected an address such as http://host:9090")
    if parts.port is not None and not parts.port > 0:
        raise ValueError("expected a port from 1 to 65535")
    return value


def _web_addresses(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_web_address, values))


def _split(value: Any) -> Any:
    """Flags repeat, environment variables and single strings separate by commas."""
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    return value


def by_key(pairs: tuple[str, ...]) -> dict[str, str]:
    """The values of ``KeyValues`` by their keys."""
    return dict(pair.split("=", 1) for pair in pairs)


def _key_value(pairs: tuple[str, ...]) -> tuple[str, ...]:
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not (separator and key and value):
            raise ValueError(f"expected KEY=VALUE, such as tp=2; got {pair!r}")
    return pairs


ListenAddress = Annotated[str, AfterValidator(_listen_address)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
WebAddresses = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_web_addresses)]
KeyValues = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_key_value)]
