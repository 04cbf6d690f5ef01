"""The codec: every field of every message is checked by sender and receiver."""

from __future__ import annotations

import datetime
import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoenixdkim.messages import (
    MAX_OCTETS,
    Codec,
    Items,
    Message,
    MessageError,
    Range,
    Table,
    Text,
    VersionMismatch,
    clean_text,
)


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Part:
    size: Annotated[int, Range(0, 10)]


@dataclass(frozen=True, slots=True)
class Full(Message):
    text: Annotated[str, Text(5)]
    number: Annotated[float, Range(0, 100)]
    yes: bool
    colour: Colour
    part: Part
    parts: Annotated[tuple[Part, ...], Items(2)]
    pair: tuple[Annotated[str, Text(5)], Annotated[int, Range(0, 1)]]
    either: Annotated[int, Range(0, 1)] | Annotated[str, Text(5)]
    table: Table
    tables: Annotated[Mapping[Annotated[str, Text(5)], Table], Items(2)]


@dataclass(frozen=True, slots=True)
class Empty(Message):
    pass


CODEC = Codec(3, [Full, Empty])
FULL = Full("text", 2.5, True, Colour.RED, Part(1), (Part(2),), ("a", 1), "b", {"k": [1, {"x": "y"}]}, {"t": {}})


def wire(**changed: Any) -> bytes:
    return json.dumps(json.loads(CODEC.encode(FULL)) | changed).encode()


def test_a_message_arrives_as_it_was_sent():
    assert CODEC.decode(CODEC.encode(FULL), (Full,)) == FULL
    assert CODEC.decode(CODEC.encode(Empty()), (Full, Empty)) == Empty()


DEEP: Any = "x"
for _ in range(20):
    DEEP = {"a": DEEP}

WRONG_FIELDS = [
    ("text", None),
    ("text", 1),
    ("text", ["a"]),
    ("text", "longer"),
    ("text", "\ud800"),
    ("number", "1"),
    ("number", True),
    ("number", None),
    ("number", -0.1),
    ("number", 1e300),
    ("number", 10**400),
    ("number", [1]),
    ("yes", 1),
    ("yes", "true"),
    ("yes", None),
    ("colour", "green"),
    ("colour", 1),
    ("colour", ["red"]),
    ("colour", {"red": 1}),
    ("part", 1),
    ("part", {}),
    ("part", {"size": 1, "more": 1}),
    ("part", {"size": 1.0}),
    ("part", {"size": True}),
    ("part", {"size": 11}),
    ("part", [1]),
    ("parts", {}),
    ("parts", "ab"),
    ("parts", [{"size": 1}] * 3),
    ("parts", [1]),
    ("pair", ["a"]),
    ("pair", ["a", 1, 1]),
    ("pair", "a1"),
    ("either", 2),
    ("either", None),
    ("either", "longer"),
    ("table", []),
    ("table", None),
    ("table", "k"),
    ("table", DEEP),
    ("table", {"k": None}),
    ("table", {"k": 2**63}),
    ("table", {"k": "\udfff"}),
    ("table", {"\ud800": 1}),
    ("table", {str(number): number for number in range(10_001)}),
    ("tables", {"a": 1}),
    ("tables", {"longer": {}}),
    ("tables", {"a": {}, "b": {}, "c": {}}),
    ("more", 1),
    ("kind", "unknown"),
    ("kind", "Full"),
    ("kind", None),
    ("kind", 1),
    ("kind", ["full"]),
    ("version", None),
    ("version", "3"),
    ("version", True),
    ("version", 3.0),
    ("version", 0),
    ("version", -1),
    ("version", 10**30),
]


@pytest.mark.parametrize(("field", "value"), WRONG_FIELDS)
def test_a_field_of_another_type_or_beyond_its_bound_is_an_error(field, value):
    with pytest.raises(MessageError) as caught:
        CODEC.decode(wire(**{field: value}), (Full,))
    assert not isinstance(caught.value, VersionMismatch)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("field", json.loads(CODEC.encode(FULL)))
def test_a_field_that_is_missing_is_an_error(field):
    found = json.loads(CODEC.encode(FULL))
    del found[field]
    with pytest.raises(MessageError):
        CODEC.decode(json.dumps(found).encode(), (Full,))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"{",
        b"null",
        b"1",
        b"NaN",
        b'"text"',
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b'{"a":1,"a":1}',
        b"9" * 200_000,
        b'{"version": 3, "kind": "empty"} x',
        b'{"version": 3, "kind": "empty", "kind": "empty"}',
        b'{"version": 3, "kind": "empty", "x": NaN}',
        b'{"version": 3, "kind": "empty", "x": -Infinity}',
        "{}".encode("utf-16"),
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"version": 3, "kind": "\xed\xa0\x80"}',
        b" " * (MAX_OCTETS + 1),
        wire().replace(b"2.5", b"NaN"),
        wire().replace(b"2.5", b"1e999"),
        wire().replace(b"2.5", b"Infinity"),
    ],
)
def test_octets_that_are_no_message_are_an_error(data):
    with pytest.raises(MessageError):
        CODEC.decode(data, (Full, Empty))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_are_a_message_or_an_error(data):
    with pytest.raises(MessageError):
        CODEC.decode(data, (Full, Empty))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(json.loads(CODEC.encode(FULL)))), _JSON, max_size=3))
def test_any_fields_are_a_message_or_an_error(changed):
    try:
        data = wire(**changed)
        found = CODEC.decode(data, (Full, Empty))
    except MessageError:
        return
    assert CODEC.decode(CODEC.encode(found), (Full, Empty)) == found


def test_a_kind_that_is_not_expected_now_is_an_error():
    with pytest.raises(MessageError, match="'empty' is not expected now"):
        CODEC.decode(CODEC.encode(Empty()), (Full,))


def test_another_version_is_told_apart_whatever_else_has_changed():
    for other in (b'{"version": 4, "kind": "hello", "new": [1]}', b'{"version": 2}'):
        with pytest.raises(VersionMismatch):
            CODEC.decode(other, (Full,))


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"a": {"b": datetime.date(2026, 1, 1)}}, ("table", "a", "b")),
        ({"a": [datetime.time(1, 2)]}, ("table", "a", 0)),
        ({"a": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}, ("table", "a")),
        ({"a": math.nan}, ("table", "a")),
        ({"a": -math.inf}, ("table", "a")),
        ({"a": 2**64}, ("table", "a")),
        ({"a": None}, ("table", "a")),
        ({"a": b"x"}, ("table", "a")),
    ],
)
def test_the_sender_learns_where_a_value_is_that_cannot_be_sent(table, path):
    message = Full("text", 1, True, Colour.RED, Part(1), (), ("a", 1), 1, table, {})
    with pytest.raises(MessageError) as caught:
        CODEC.encode(message)
    assert caught.value.path == path


def test_a_message_that_is_too_large_is_not_sent():
    with pytest.raises(MessageError, match="octets"):
        CODEC.encode(Full("text", 1, True, Colour.RED, Part(1), (), ("a", 1), 1, {"a": "x" * MAX_OCTETS}, {}))


@pytest.mark.parametrize("hint", [str, int, float, tuple[str, ...], dict[str, int], Any, bytes, list[int]])
def test_a_field_without_a_bound_cannot_be_declared(hint):
    kind = make_dataclass("Loose", [("field", hint)], bases=(Message,), frozen=True)
    with pytest.raises(TypeError, match=r"Loose\.field"):
        Codec(1, [kind])


def test_clean_text_can_always_be_sent():
    assert clean_text("a\ud800b", 100) == "a\\ud800b"
    assert clean_text("\udfff" * 10, 10).encode() == b"\\udfff\\udf"
    assert clean_text("äöü", 2) == "äö"
