"""Messages between the daemon's processes: typed, versioned, bounded, and validated by sender and receiver.

A message is a frozen dataclass derived from ``Message``. On the wire it is one JSON object: ``version``, ``kind`` (the
class's name in lower case) and the fields. Every text, number and list of a message class has its bounds in its
annotation; a class without them can't be registered. The receiver names the kinds that it accepts at that moment.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

MAX_OCTETS: Final = 262144
"""The most octets of an encoded message."""
_MAX_DEPTH: Final = 16
_MAX_ENTRIES: Final = 10_000
_MAX_INTEGER: Final = 2**63 - 1
_SHOWN: Final = 60


class MessageError(ValueError):
    """A message is invalid.

    Attributes:
        path: keys and positions of the invalid part within the message, from the outside in.
    """

    def __init__(self, what: str, path: Sequence[str | int] = ()) -> None:
        where = ".".join(str(part)[:_SHOWN] for part in path)
        super().__init__(f"{where}: {what}" if where else what)
        self.what = what
        self.path = tuple(path)


class VersionMismatch(MessageError):
    """The sender uses another version of the protocol."""


@dataclass(frozen=True, slots=True)
class Message:
    """Base of all messages."""


@dataclass(frozen=True, slots=True)
class Text:
    """Bound of a text: the most characters."""

    most: int


@dataclass(frozen=True, slots=True)
class Items:
    """Bound of a list or mapping: the most entries."""

    most: int


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _Json:
    """Marks a field that takes any JSON object, bounded in depth and entries."""


Table = Annotated[Mapping[str, Any], _Json()]
"""A TOML table: texts, booleans, finite numbers, lists and tables."""

_Path = tuple[str | int, ...]
_Reader = Callable[[object, _Path], Any]
_M = TypeVar("_M", bound=Message)


class Codec:
    """Encodes and decodes the messages of one protocol."""

    def __init__(self, version: int, kinds: Collection[type[Message]]) -> None:
        """Prepare readers for ``kinds``.

        Args:
            version: of the protocol; to be raised whenever a kind or a field of one changes.
            kinds: the message classes.

        Raises:
            TypeError: a field has a type that messages can't have, or lacks a bound.
        """
        self.version = version
        self._readers = {kind.__name__.lower(): (kind, _dataclass_reader(kind)) for kind in kinds}

    def encode(self, message: Message) -> bytes:
        """Return the octets of a message.

        Raises:
            MessageError: the message is invalid or too large; ``path`` says where.
        """
        name = type(message).__name__.lower()
        plain = _plain(message)
        self._readers[name][1](plain, ())
        data = json.dumps({"version": self.version, "kind": name, **plain}, allow_nan=False).encode()
        if len(data) > MAX_OCTETS:
            raise MessageError(f"{len(data)} octets; at most {MAX_OCTETS} can be sent")
        return data

    def decode(self, data: bytes, accepted: Collection[type[_M]]) -> _M:
        """Return the message in ``data``.

        Args:
            data: untrusted octets.
            accepted: kinds that are valid at this moment.

        Raises:
            VersionMismatch: it is a message of another version of the protocol.
            MessageError: it is anything but a valid message of an accepted kind.
        """
        found = _parse(data)
        version = found.pop("version", None)
        if type(version) is not int or not 0 < version <= 1_000_000:
            raise MessageError(f"no version: {_shown(version)}", ("version",))
        if version != self.version:
            raise VersionMismatch(f"version {version} of the protocol; this process uses {self.version}")
        name = found.pop("kind", None)
        if not isinstance(name, str) or name not in self._readers:
            raise MessageError(f"unknown kind: {_shown(name)}", ("kind",))
        kind, reader = self._readers[name]
        for one in accepted:
            if one is kind:
                message: _M = reader(found, ())
                return message
        raise MessageError(f"'{name}' is not expected now", ("kind",))


def clean_text(text: object, most: int) -> str:
    """Return text that a message can carry: lone surrogates escaped, cut to ``most`` characters."""
    return str(text)[:most].encode("utf-8", "backslashreplace").decode()[:most]


def _parse(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_OCTETS:
        raise MessageError(f"{len(data)} octets; at most {MAX_OCTETS} are accepted")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except MessageError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise MessageError(f"invalid JSON: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise MessageError(f"a {type(found).__name__} instead of an object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MessageError("invalid JSON: a key is repeated")
    return found


def _refuse_constant(text: str) -> object:
    raise MessageError(f"invalid JSON: {text}")


def _plain(value: object) -> Any:
    """Return dataclasses as dictionaries, tuples as lists and enum members as their values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN] if isinstance(value, (str, int, float, bool)) else type(value).__name__


# Readers: each takes a JSON value and its path, and returns the field's value or raises MessageError.


def _reader(hint: Any, where: str) -> _Reader:
    bound = None
    if typing.get_origin(hint) is Annotated:
        hint, bound = typing.get_args(hint)[:2]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(bound, _Json):
        return _read_table
    if isinstance(bound, Text) and hint is str:
        return _text_reader(bound.most)
    if isinstance(bound, Range) and hint in (int, float):
        return _number_reader(hint, bound)
    if isinstance(bound, Items) and origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return _list_reader(_reader(arguments[0], where), bound.most)
    if isinstance(bound, Items) and origin is Mapping:
        return _mapping_reader(_reader(arguments[0], where), _reader(arguments[1], where), bound.most)
    if bound is None and hint is bool:
        return _read_boolean
    if bound is None and isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum_reader(hint)
    if bound is None and isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass_reader(hint)
    if bound is None and origin is tuple and ... not in arguments:
        return _tuple_reader([_reader(argument, where) for argument in arguments])
    if bound is None and origin in (typing.Union, types.UnionType):
        return _union_reader([_reader(argument, where) for argument in arguments])
    raise TypeError(f"{where}: {hint} can't be part of a message, or lacks its bound")


def _dataclass_reader(kind: type[Any]) -> _Reader:
    hints = typing.get_type_hints(kind, include_extras=True)
    readers = {
        field.name: _reader(hints[field.name], f"{kind.__name__}.{field.name}") for field in dataclasses.fields(kind)
    }

    def read(value: object, path: _Path) -> Any:
        if not isinstance(value, dict):
            raise MessageError(f"a {type(value).__name__} instead of an object", path)
        if value.keys() != readers.keys():
            wrong = sorted(map(str, value.keys() ^ readers.keys()))
            raise MessageError(f"fields missing or unknown: {', '.join(wrong)[:_SHOWN]}", path)
        return kind(**{name: reader(value[name], (*path, name)) for name, reader in readers.items()})

    return read


def _text_reader(most: int) -> _Reader:
    def read(value: object, path: _Path) -> str:
        if type(value) is not str:
            raise MessageError(f"{_shown(value)} instead of text", path)
        if len(value) > most:
            raise MessageError(f"text of {len(value)} characters; at most {most} are accepted", path)
        return _encodable(value, path)

    return read


def _encodable(text: str, path: _Path) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MessageError("text with a lone surrogate", path) from error
    return text


def _number_reader(kind: type[int] | type[float], bound: Range) -> _Reader:
    def read(value: object, path: _Path) -> float:
        if type(value) is not int and not (kind is float and type(value) is float):
            raise MessageError(f"{_shown(value)} instead of a number", path)
        assert isinstance(value, (int, float))
        # Written so that NaN fails too.
        if not bound.low <= value <= bound.high:
            raise MessageError(f"{_shown(value)} is not between {bound.low:g} and {bound.high:g}", path)
        return kind(value)

    return read


def _list_reader(item: _Reader, most: int) -> _Reader:
    def read(value: object, path: _Path) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise MessageError(f"{_shown(value)} instead of a list", path)
        if len(value) > most:
            raise MessageError(f"list of {len(value)} entries; at most {most} are accepted", path)
        return tuple(item(one, (*path, number)) for number, one in enumerate(value))

    return read


def _mapping_reader(key: _Reader, item: _Reader, most: int) -> _Reader:
    def read(value: object, path: _Path) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise MessageError(f"{_shown(value)} instead of an object", path)
        if len(value) > most:
            raise MessageError(f"object of {len(value)} entries; at most {most} are accepted", path)
        return {key(name, (*path, str(name))): item(one, (*path, str(name))) for name, one in value.items()}

    return read


def _tuple_reader(items: Sequence[_Reader]) -> _Reader:
    def read(value: object, path: _Path) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(items):
            raise MessageError(f"{_shown(value)} instead of a list of {len(items)}", path)
        return tuple(item(one, (*path, number)) for number, (item, one) in enumerate(zip(items, value, strict=True)))

    return read


def _union_reader(readers: Sequence[_Reader]) -> _Reader:
    def read(value: object, path: _Path) -> Any:
        for reader in readers[:-1]:
            try:
                return reader(value, path)
            except MessageError:
                continue
        return readers[-1](value, path)

    return read


def _enum_reader(kind: type[enum.Enum]) -> _Reader:
    members = {member.value: member for member in kind}

    def read(value: object, path: _Path) -> enum.Enum:
        if type(value) not in (str, int) or value not in members:
            raise MessageError(f"{_shown(value)} instead of one of {', '.join(map(str, members))}", path)
        return members[value]

    return read


def _read_boolean(value: object, path: _Path) -> bool:
    if not isinstance(value, bool):
        raise MessageError(f"{_shown(value)} instead of true or false", path)
    return value


def _read_table(value: object, path: _Path) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MessageError(f"{_shown(value)} instead of a table", path)
    _check_json(value, path, _MAX_DEPTH, [_MAX_ENTRIES])
    return value


def _check_json(value: object, path: _Path, depth: int, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise MessageError(f"more than {_MAX_ENTRIES} values in one table", path[:2])
    if depth < 0:
        raise MessageError(f"nested more than {_MAX_DEPTH} levels deep", path[:2])
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise MessageError(f"the key {_shown(key)} is not text", path)
            _check_json(item, (*path, _encodable(key, path)), depth - 1, left)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_json(item, (*path, number), depth - 1, left)
    elif type(value) is str:
        _encodable(value, path)
    elif type(value) is int:
        if not -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
            raise MessageError("the number needs more than 64 bits", path)
    elif type(value) is float:
        if not math.isfinite(value):
            raise MessageError(f"the number is {value}; only finite numbers are accepted", path)
    elif not isinstance(value, bool):
        raise MessageError(f"a {type(value).__name__} is not accepted; write it as text in quotes", path)
