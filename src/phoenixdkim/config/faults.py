"""Faults of a configuration file, in words for whoever has to mend it.

Each is one line: file, line, the option's path, what is there and what to write instead.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from phoenixdkim.config.locate import Path

_BARE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_SHOULD: Final = "Input should be "
_TYPES: Final = {
    "string_type": 'write text in quotes, as in "text"',
    "string_sub_type": 'write text in quotes, as in "text"',
    "int_type": "write a whole number without quotes",
    "int_parsing": "write a whole number without quotes",
    "int_from_float": "write a whole number without a decimal point",
    "float_type": "write a number without quotes",
    "float_parsing": "write a number without quotes",
    "bool_type": "write true or false, without quotes",
    "bool_parsing": "write true or false, without quotes",
    "tuple_type": 'write a list in brackets, as in ["one", "two"]',
    "list_type": 'write a list in brackets, as in ["one", "two"]',
}
_TABLES: Final = frozenset({"model_type", "model_attributes_type", "dict_type", "dataclass_type"})
_BOUNDS: Final = {
    "greater_than_equal": ("too small", "at least", "greater than or equal to "),
    "greater_than": ("too small", "more than", "greater than "),
    "less_than_equal": ("too large", "at most", "less than or equal to "),
    "less_than": ("too large", "less than", "less than "),
}


class Severity(enum.StrEnum):
    """What a fault does to the start."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        file: the configuration file.
        line: where, counted from 1; 0 when it is about the file as a whole.
        path: keys from the top, numbers for elements of lists.
        message: what is there and what to write instead.
        severity: a warning does not refuse the start.
    """

    file: str
    line: int
    path: Path
    message: str
    severity: Severity = Severity.ERROR

    @property
    def is_error(self) -> bool:
        """Whether it refuses the start."""
        return self.severity is Severity.ERROR

    def __str__(self) -> str:
        parts = [f"{self.file}:{self.line}" if self.line else self.file]
        if not self.is_error:
            parts.append("warning")
        if self.path:
            parts.append(dotted(self.path))
        return ": ".join([*parts, " ".join(self.message.split("\n"))])


def dotted(path: Iterable[str | int]) -> str:
    """A path as it would be written in TOML; elements of lists as ``[number]``, counted from 0."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
            continue
        name = part if part and all(c in _BARE for c in part) else json.dumps(part, ensure_ascii=False)
        shown += f".{name}" if shown else name
    return shown


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The known name that is most like ``name``; empty when none is, on a scale from 0 to 1."""
    folded = {entry.casefold(): entry for entry in known}
    near = get_close_matches(name.casefold().replace("-", "_"), folded, 1, likeness) or get_close_matches(
        name.casefold(), folded, 1, likeness
    )
    return folded[near[0]] if near else ""


def did_you_mean(name: str, known: Sequence[str], what: str) -> str:
    """``did you mean 'x'?``, or the list of what there is."""
    if near := nearest(name, known):
        return f"did you mean '{near}'?"
    return f"{what}: {', '.join(known)}" if known else f"{what}: none"


def shown(value: object) -> str:
    """A value as TOML would have it, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, dict):
        return "a table"
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(shown(item) for item in value) + "]"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def wording(kind: str, message: str, value: str, known: tuple[str, ...], key: str | int) -> str:
    """Say a fault in plain words.

    Args:
        kind: pydantic's type of the error; empty when ``message`` is plain already.
        message: pydantic's words.
        value: the value given, as text.
        known: names that exist at this place.
        key: the last part of the path.
    """
    if not kind:
        return message
    if kind == "extra_forbidden":
        return f"there is no option '{key}'; {did_you_mean(str(key), known, 'the options here are')}"
    if kind == "missing":
        return f"'{key}' is missing; it has no default, so write it"
    if kind in _TYPES:
        return f"{value} is not of the right type; {_TYPES[kind]}"
    if kind in ("too_short", "string_too_short"):
        return f"{value} has too little in it; write at least one, or leave the option out if it has a default"
    if kind in ("too_long", "string_too_long"):
        return f"{value} has too much in it; {message[:1].lower()}{message[1:]}"
    if kind in _TABLES:
        name = key if isinstance(key, str) else "NAME"
        return f"{value} is no table; write [...{name}] on a line of its own and its options below"
    if kind in _BOUNDS:
        fault, words, phrase = _BOUNDS[kind]
        return f"{value} is {fault}; write {words} {message.removeprefix(_SHOULD).removeprefix(phrase)}"
    if kind in ("literal_error", "enum"):
        choices = message.removeprefix(_SHOULD)
        near = nearest(value.strip("\"'"), [choice.strip("' ") for choice in choices.replace(" or ", ",").split(",")])
        return f"{value} is none of {choices}" + (f"; did you mean '{near}'?" if near else "; write one of them")
    if kind in ("value_error", "assertion_error"):
        return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{value} can't be used; {message.replace(_SHOULD, 'write ').replace('Input', 'it')}"
