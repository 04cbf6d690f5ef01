"""The protocol between supervisor and exporters: its version, and what a message can carry."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import types
import typing

import pytest

from phoenixdkim.daemon import messages as daemon_messages
from phoenixdkim.exporters import messages
from phoenixdkim.exporters.client import table_faults
from phoenixdkim.exporters.messages import (
    CODEC,
    Check,
    Log,
    Refused,
    Severity,
    TableFault,
    log_message,
    refused_message,
)
from phoenixdkim.messages import Message

PROTOCOLS = {1: "1513de8f1499ef81"}
"""Digest of all message kinds, by version. Another digest needs another version: a daemon goes on running while its
package is upgraded, and its exporters are started from the new one."""


def shape(hint: object) -> object:
    """A type with all its bounds, written the same way by every version of Python."""
    origin = typing.get_origin(hint)
    if origin is None:
        return getattr(hint, "__name__", repr(hint))
    name = "Union" if origin in (typing.Union, types.UnionType) else getattr(origin, "__name__", repr(origin))
    return name, [shape(argument) for argument in typing.get_args(hint)]


def digest() -> str:
    found = []
    for name, kind in sorted(vars(messages).items()):
        if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message:
            hints = typing.get_type_hints(kind, include_extras=True)
            found.append((name, [(field.name, shape(hints[field.name])) for field in dataclasses.fields(kind)]))
    fault = typing.get_type_hints(TableFault, include_extras=True)
    found.append(("TableFault", [(field.name, shape(fault[field.name])) for field in dataclasses.fields(TableFault)]))
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]


def test_another_protocol_has_another_version():
    assert PROTOCOLS.get(messages.PROTOCOL) == digest(), "raise PROTOCOL, and add its digest here"


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.DEBUG, Severity.INFO),
        (logging.INFO, Severity.INFO),
        (logging.WARNING, Severity.WARNING),
        (logging.ERROR, Severity.ERROR),
        (logging.CRITICAL, Severity.ERROR),
        (10**9, Severity.ERROR),
        (-5, Severity.INFO),
    ],
)
def test_any_level_has_a_severity(level, severity):
    assert log_message(level, "x") == Log(severity, "x")


@pytest.mark.parametrize("text", ["x" * 100_000, "\ud800" * 5000, "\0\n\r\u2028", "", "é" * 3000])
def test_any_text_can_be_logged(text):
    assert CODEC.decode(CODEC.encode(log_message(logging.INFO, text)), (Log,))


@pytest.mark.parametrize(
    "faults",
    [
        [TableFault(("x",), "m")],
        [TableFault(("x", "y", 1), "m" * 1200, "kind", "value", ("a" * 100,) * 100, (("k", "v"),) * 20)] * 40,
        [TableFault(("x",), "é" * 1200, known=("é" * 100,) * 100)] * 100,
        [TableFault(("x",), "m" * 5000)],
        [TableFault(("x",), "\ud800")],
        [TableFault(("x", 10**400), "m")],
    ],
)
def test_any_faults_can_be_reported(faults):
    assert CODEC.decode(CODEC.encode(refused_message(faults)), (Refused,)).faults


def test_tables_of_every_toml_type_that_can_be_sent():
    table = {"a": "x", "b": 1, "c": 1.5, "d": True, "e": [1, "x", [2]], "f": {"g": {}}, "h": -(2**63)}
    assert table_faults("x", table) == []
    assert CODEC.decode(CODEC.encode(Check("x", table)), (Check,)).table == table


def test_a_table_that_cannot_be_sent_has_the_place_of_it():
    (fault,) = table_faults("x", {"a": {"b": [1, float("inf")]}})
    assert fault.path == ("x", "a", "b", 1)
    assert "inf" in fault.message


@pytest.mark.parametrize(
    "lines",
    [
        ["x"],
        ["x" * 10_000] * 1000,
        ["\ud800" * 1000] * 1000,
        ["\U0001f600" * 2000] * 100,
        [f"line {number}" for number in range(100_000)],
        [],
    ],
)
def test_any_lines_can_be_sent_by_a_leader(lines):
    shown = daemon_messages.lines_for_message(lines)
    message = daemon_messages.Failed(shown)
    codec = daemon_messages.CODEC
    assert codec.decode(codec.encode(message), daemon_messages.FROM_LEADER) == message
    assert len(shown) == len(lines) or shown[-1] == f"... and {len(lines) - len(shown) + 1} more"
