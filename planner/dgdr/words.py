"""Command lines as lists of words: flags that are read, set and taken away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def value_of(words: Sequence[str], names: Sequence[str]) -> str | None:
    """The value of a flag that goes by any of some names; None if it is not there, or has none."""
    for index, word in enumerate(words):
        name, separator, value = word.partition("=")
        if name in names:
            if separator:
                return value
            return words[index + 1] if index + 1 < len(words) and _is_value(words[index + 1]) else None
    return None


def set_value(words: list[str], names: Sequence[str], value: str) -> bool:
    """Give a flag another value, in place; False if it is not there."""
    for index, word in enumerate(words):
        name, separator, _ = word.partition("=")
        if name not in names:
            continue
        if separator:
            words[index] = f"{name}={value}"
        elif index + 1 < len(words) and _is_value(words[index + 1]):
            words[index + 1] = value
        else:
            words.insert(index + 1, value)
        return True
    return False


def drop(words: list[str], names: Sequence[str]) -> None:
    """Take flags away, in place, with their values."""
    kept, skip = list[str](), False
    for word in words:
        if skip and _is_value(word):
            skip = False
            continue
        name, separator, _ = word.partition("=")
        skip = name in names and not separator
        if name not in names:
            kept.append(word)
    words[:] = kept


def flags(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Every flag with its value; None for a switch."""
    for index, word in enumerate(words):
        if word.startswith("--"):
            name, separator, value = word.partition("=")
            following = words[index + 1] if index + 1 < len(words) else "-"
            yield name, value if separator else following if _is_value(following) else None


def _is_value(word: str) -> bool:
    return not word.startswith("-") or word[1:2].isdigit()
