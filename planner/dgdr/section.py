"""A part of a manifest, read with care: what is missing, of the wrong type or misspelt is told with its path."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from planner.dgdr import issues

_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"


class Section:
    """A mapping of a manifest; keys may be written in camelCase or snake_case.

    Attributes:
        path: Where it is, for messages.
    """

    def __init__(self, content: Any, path: str) -> None:
        """Take a mapping; None is an empty one.

        Raises:
            RequestError: It is none.
        """
        if content is None:
            content = {}
        if not isinstance(content, Mapping):
            raise issues.WRONG_VALUE.error(path=path, value=_shown(content), accepted="a mapping")
        self.path = path
        self._content = {str(key): value for key, value in content.items() if value is not None}
        self._by_snake = {snake(key): key for key in self._content}

    def __contains__(self, key: str) -> bool:
        """Whether a key is there."""
        return snake(key) in self._by_snake

    def raw(self, key: str) -> Any:
        """Whatever is there; None for nothing."""
        written = self._by_snake.get(snake(key))
        return None if written is None else self._content[written]

    def at(self, key: str) -> str:
        """The path of a key as it is written there."""
        return f"{self.path}.{self._by_snake.get(snake(key), key)}"

    def items(self) -> Mapping[str, Any]:
        """Everything, by the keys as written."""
        return self._content

    def section(self, key: str) -> Section:
        """The mapping below a key."""
        return Section(self.raw(key), self.at(key))

    def text(self, key: str) -> str | None:
        """A text that is not empty; None if it is not given."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(key, "a text that is not empty")
        return value.strip()

    def needed_text(self, key: str, example: str) -> str:
        """A text that has to be there."""
        value = self.text(key)
        if value is None:
            raise issues.MISSING.error(path=self.at(key), example=example)
        return value

    def one_of(self, key: str, choices: Sequence[str]) -> str | None:
        """One of some texts; None if it is not given."""
        value = self.raw(key)
        if value is not None and value not in choices:
            raise self._wrong(key, f"one of {', '.join(choices)}")
        return None if value is None else str(value)

    def flag(self, key: str) -> bool | None:
        """True or false; None if it is not given."""
        value = self.raw(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, "true or false, without quotes")
        return value

    def number(self, key: str, unit: str) -> float | None:
        """A number above 0; None if it is not given."""
        value = self.raw(key)
        if value is None:
            return None
        number = _number(value)
        if number is None or not 0 < number < math.inf:
            raise self._wrong(key, f"a number above 0 in {unit}")
        return number

    def whole(self, key: str, unit: str) -> int | None:
        """A whole number above 0; None if it is not given."""
        number = self.number(key, unit)
        if number is not None and number != int(number):
            raise self._wrong(key, f"a whole number above 0 in {unit}")
        return None if number is None else int(number)

    def texts(self, key: str) -> dict[str, str]:
        """A mapping of texts, as labels and annotations are."""
        found = self.section(key).items()
        for name, value in found.items():
            if not isinstance(value, str):
                raise issues.WRONG_VALUE.error(
                    path=f"{self.at(key)}.{name}", value=_shown(value), accepted=f'a text, such as "{value}" in quotes'
                )
        return dict(found)

    def objects(self, key: str) -> tuple[Mapping[str, Any], ...]:
        """A list of mappings."""
        value = self.raw(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            raise self._wrong(key, "a list of mappings")
        return tuple(value)

    def unknown(self, known: Sequence[str]) -> list[str]:
        """Paths of the keys that are not among those known."""
        names = {snake(key) for key in known}
        return [f"{self.path}.{key}" for key in self._content if snake(key) not in names]

    def refuse_unknown(self, known: Sequence[str]) -> None:
        """See that nothing is misspelt.

        Raises:
            RequestError: A key is not among those known.
        """
        for path in self.unknown(known):
            near = difflib.get_close_matches(path.rpartition(".")[2], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"fields there are {', '.join(known)}"
            raise issues.UNKNOWN_FIELD.error(path=path, hint=hint)

    def _wrong(self, key: str, accepted: str) -> Exception:
        return issues.WRONG_VALUE.error(path=self.at(key), value=_shown(self.raw(key)), accepted=accepted)


def check_names(named: Mapping[str, str | None]) -> None:
    """See that names are such as Kubernetes accepts.

    Args:
        named: Names by their paths; None for none.

    Raises:
        RequestError: One is not.
    """
    for path, name in named.items():
        if name is not None and (len(name) > 253 or not re.fullmatch(_NAME, name)):
            accepted = "small letters, digits, dashes and dots, a letter or digit first and last"
            raise issues.WRONG_VALUE.error(path=path, value=repr(name), accepted=accepted)


def snake(name: str) -> str:
    """A name in snake_case: ``plannerMinEndpoint``, ``planner-min-endpoint`` and ``aicHFId`` alike."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return split.replace("-", "_").lower()


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text[:77]}..." if len(text) > 80 else text
