"""Read the configuration file: all its faults at once, each with its line."""

from __future__ import annotations

import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ValidationError

from phoenixdkim.config.crosscheck import cross_check
from phoenixdkim.config.exporter_users import rules_of_table
from phoenixdkim.config.faults import Fault, Severity, shown, wording
from phoenixdkim.config.locate import Path, line_of, locate
from phoenixdkim.config.model import Config
from phoenixdkim.config.source import SourceError, read_source
from phoenixdkim.exporters.messages import TableFault
from phoenixdkim.exporters.users import Rules
from phoenixdkim.log import printable
from phoenixdkim.options import ProcessOptions

CheckExporters = Callable[[Mapping[str, Mapping[str, object]], Rules], Sequence[TableFault]]

_POSITION: Final = re.compile(r"^(.{0,2000}) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)
_DIGITS: Final = re.compile(r"[0-9][0-9_]{4300}")
_TOO_LARGE: Final = "the number needs more than 64 bits; write a smaller one"
_MAX_DEPTH: Final = 64
_TOO_DEEP: Final = f"nested too deeply; use at most {_MAX_DEPTH} levels of brackets and dotted keys"
_REMOVED: Final[Mapping[Path, str]] = {
    ("process", "exporter_user"): (
        "unknown option 'exporter_user'; each exporter has a user of its own: remove this line,"
        ' and write user = "NAME" into the tables [exporters.NAME] that need a certain one'
    ),
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file came to.

    Attributes:
        config: None when there is an error.
        faults: all errors and warnings, in order of their lines.
        path: the file.
        text: its text.
        lines: lines of all its keys.
        tables: what is in it, also when it does not fit the model.
    """

    config: Config | None
    faults: tuple[Fault, ...]
    path: str = ""
    text: str = field(default="", repr=False)
    lines: Mapping[Path, int] = field(default_factory=dict, repr=False)
    tables: Mapping[str, object] = field(default_factory=dict, repr=False)

    def fault(self, path: Path, message: str, severity: Severity = Severity.ERROR) -> Fault:
        """A fault at a place in this file."""
        return Fault(self.path, line_of(self.lines, path), path, message, severity)

    def locate_exporter_fault(self, found: TableFault) -> Fault:
        """A fault of an exporter's table, with its place in this file."""
        path: Path = ("exporters", *found.path)
        words = wording(found.kind, found.message, found.value, found.known, path[-1])
        return self.fault(path, words, Severity.ERROR if found.refuses else Severity.WARNING)


def read(path: str, check_exporters: CheckExporters | None) -> Loaded:
    """Read and check a file; keys are not loaded (see ``build``).

    Args:
        path: the file.
        check_exporters: finds what is wrong with ``[exporters.NAME]`` tables; None to leave them unchecked.
    """
    try:
        source = read_source(path)
    except SourceError as error:
        return Loaded(None, (Fault(path, 0, (), str(error)),), path)
    return read_octets(source.data, path, check_exporters)


def read_octets(data: bytes, path: str, check_exporters: CheckExporters | None = None) -> Loaded:
    """As ``read``, for a file's octets; ``path`` is what faults call it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"octet 0x{data[error.start]:02x} is no UTF-8; save the file in UTF-8"
        return Loaded(None, (Fault(path, line, (), message),), path)
    return read_text(text, path, check_exporters)


def read_text(text: str, path: str, check_exporters: CheckExporters | None = None) -> Loaded:
    """As ``read``, for a text; ``path`` is what faults call it."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Loaded(None, (_syntax_fault(path, text, str(error)),), path, text)
    except RecursionError:
        return Loaded(None, (Fault(path, 0, (), _TOO_DEEP),), path, text)
    except ValueError:
        # Python converts no decimal number of more than 4300 digits.
        digits = _DIGITS.search(text)
        line = text.count("\n", 0, digits.start()) + 1 if digits else 0
        return Loaded(None, (Fault(path, line, (), _TOO_LARGE),), path, text)
    if deep := _deep(tables):
        # Before anything recurses into it: dotted keys nest without limit.
        return Loaded(None, (Fault(path, 0, deep, _TOO_DEEP),), path, text)
    if not tables:
        message = (
            "has no table, so nothing would be signed; restore the file, or start from"
            " the output of 'phoenixdkim check --sample'"
        )
        return Loaded(None, (Fault(path, 0, (), message),), path, text)
    found = Loaded(None, (), path, text, locate(text.replace("\r\n", "\n")))
    if large := [found.fault(place, _TOO_LARGE) for place in _large_numbers(tables, ())]:
        return Loaded(None, tuple(large), path, text, found.lines)
    config: Config | None = None
    faults: list[Fault] = []
    try:
        config = Config.model_validate(tables)
    except ValidationError as error:
        for entry in error.errors(include_url=False, include_context=False):
            where = _path(entry["loc"])
            known = _known(where) if entry["type"] == "extra_forbidden" else ()
            message = _REMOVED.get(where) or wording(
                entry["type"], entry["msg"], shown(entry.get("input")), known, _key(where)
            )
            faults.append(found.fault(where, message))
    # An option that is wrong in itself is told once.
    told = {fault.path for fault in faults}
    faults += [found.fault(path_, message, level) for path_, message, level in cross_check(tables) if path_ not in told]
    if check_exporters is not None:
        exporters = tables.get("exporters")
        checked = {
            name: table
            for name, table in (exporters.items() if isinstance(exporters, dict) else ())
            if isinstance(table, dict)
        }
        if checked:
            located = map(found.locate_exporter_fault, check_exporters(checked, rules_of_table(tables.get("process"))))
            # What the core reads of a table by itself, it has checked by itself.
            core = {("exporters", name, option) for name in checked for option in ProcessOptions.model_fields}
            faults += [fault for fault in located if fault.path not in core]
    if any(fault.is_error for fault in faults):
        config = None
    ordered = sorted(dict.fromkeys(faults), key=lambda fault: fault.line)
    return Loaded(config, tuple(ordered), path, text, found.lines, tables)


def _deep(tables: Mapping[str, object]) -> Path:
    """Return the top-level place of something nested too deeply, an empty path when nothing is."""
    for name, table in tables.items():
        level: list[object] = [table]
        for _ in range(_MAX_DEPTH):
            level = [below for value in level for below in _items(value)]
            if not level:
                break
        else:
            return (name,)
    return ()


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _large_numbers(value: object, path: Path) -> Iterator[Path]:
    """Places of whole numbers that TOML does not allow (TOML 1.0, Integer)."""
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            yield path
    elif isinstance(value, (dict, list)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _large_numbers(one, (*path, key))


def _syntax_fault(path: str, text: str, message: str) -> Fault:
    matched = _POSITION.match(message)
    if matched is None:
        return Fault(path, 0, (), f"is no TOML: {message}")
    # str.splitlines() also splits at form feeds and U+2028, where no editor and no TOML parser begins a line.
    lines = text.removesuffix("\n").split("\n")
    line = int(matched[2]) if matched[2] else len(lines)
    what = matched[1][:1].lower() + matched[1][1:]
    column = f" at column {matched[3]}" if matched[3] else " at the end of the file"
    excerpt = printable(lines[line - 1].strip()[:60]) if 0 < line <= len(lines) else ""
    return Fault(path, line, (), f"is no TOML: {what}{column}: {excerpt}")


def _path(location: tuple[int | str, ...]) -> Path:
    return tuple(location)


def _key(path: Path) -> str | int:
    return path[-1] if path else ""


def _known(path: Path) -> tuple[str, ...]:
    """Options that exist beside the one at ``path``."""
    kind: object = Config
    for part in path[:-1]:
        kind = _below(kind, part)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return tuple(info.alias or name for name, info in kind.model_fields.items())
    return ()


def _below(kind: object, part: str | int) -> object:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            if part == (info.alias or name):
                return _plain(info.annotation)
        return None
    arguments = typing.get_args(kind)
    if isinstance(part, int):
        return _plain(arguments[0]) if arguments else None
    return _plain(arguments[-1]) if arguments else None


def _plain(kind: object) -> object:
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if isinstance(kind, types.UnionType):
        kind = typing.get_args(kind)[0]
    return kind
