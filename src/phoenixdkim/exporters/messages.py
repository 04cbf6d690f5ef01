"""Messages between the supervisor, or ``check``, and an exporter's process.

The supervisor sends ``Check`` first. The exporter's process answers once, with ``Checked``, ``Refused`` or
``Mismatch``. ``Peers``, ``Start`` (once) and ``Stop`` follow; the last two are acknowledged. ``Log`` may come at any
time.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

from phoenixdkim.channel import MAX_DESCRIPTORS
from phoenixdkim.exporters.declared import SCHEMA_OCTETS
from phoenixdkim.messages import Codec, Items, Message, MessageError, Range, Table, Text, clean_text

PROTOCOL: Final = 1
"""Version of these messages; raised with each change of a kind or field."""
MAX_LOG_TEXT: Final = 2000
MAX_FINDINGS: Final = 20
_Name = Annotated[str, Text(64)]


@dataclass(frozen=True, slots=True)
class TableFault:
    """What is wrong with a table ``[exporters.NAME]`` or its plugin.

    Attributes:
        path: keys below ``exporters``, the table's name first.
        message: what is wrong and what to do.
        kind: pydantic's error type when an option failed its check, else empty.
        value: the option's value, shortened text, when there is one.
        known: names that exist at this place, for "did you mean".
        context: bounds and choices of the option's type.
        refuses: whether it refuses the start; a plugin that hangs or dies while it is checked does not.
    """

    path: Annotated[tuple[Annotated[int, Range(-(2**63), 2**63)] | Annotated[str, Text(200)], ...], Items(50)]
    message: Annotated[str, Text(2000)]
    kind: Annotated[str, Text(2000)] = ""
    value: Annotated[str, Text(200)] = ""
    known: Annotated[tuple[Annotated[str, Text(200)], ...], Items(100)] = ()
    context: Annotated[tuple[tuple[Annotated[str, Text(200)], Annotated[str, Text(200)]], ...], Items(20)] = ()
    refuses: bool = True


@dataclass(frozen=True, slots=True)
class Reported:
    """Something that this host lacks for an exporter; see ``hookspecs.Finding``."""

    message: Annotated[str, Text(500)]
    address: Annotated[str, Text(100)] = ""


class Severity(enum.StrEnum):
    """Severity of a log line of an exporter."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Check(Message):
    """To the exporter: check this table and your plugin.

    Attributes:
        name: the table's name.
        table: the table.
        environment: whether to look for what this host lacks, too.
    """

    name: _Name
    table: Table
    environment: bool = False


@dataclass(frozen=True, slots=True)
class Peers(Message):
    """To the exporter: read-only descriptors of record and page of each of these exporters come with it."""

    names: Annotated[tuple[_Name, ...], Items(MAX_DESCRIPTORS // 2)]


@dataclass(frozen=True, slots=True)
class Start(Message):
    """To the exporter: start."""


@dataclass(frozen=True, slots=True)
class Stop(Message):
    """To the exporter: deliver what there is, and end within this time."""

    seconds: Annotated[float, Range(0, 3600)]


@dataclass(frozen=True, slots=True)
class Checked(Message):
    """From the exporter: table and plugin have no fault.

    Attributes:
        wants_samples: whether raw durations are to be kept for it.
        plugin: name and package of the plugin.
        metrics: description of its own metrics, see ``declared.read_schema``.
        findings: what this host lacks, if that was asked for.
    """

    wants_samples: bool
    plugin: Annotated[str, Text(500)]
    metrics: Annotated[str, Text(SCHEMA_OCTETS)]
    findings: Annotated[tuple[Reported, ...], Items(MAX_FINDINGS)] = ()


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """From the exporter: table or plugin have faults."""

    faults: Annotated[tuple[TableFault, ...], Items(100)]


@dataclass(frozen=True, slots=True)
class Mismatch(Message):
    """From the exporter: the installed package is of another version than the running daemon."""


@dataclass(frozen=True, slots=True)
class Started(Message):
    """From the exporter: its start hook and first tick are done."""


@dataclass(frozen=True, slots=True)
class Stopped(Message):
    """From the exporter: its stop hook is done, and the process ends."""


@dataclass(frozen=True, slots=True)
class Log(Message):
    """From the exporter: a line for the log."""

    severity: Severity
    text: Annotated[str, Text(MAX_LOG_TEXT)]


CODEC: Final = Codec(PROTOCOL, [Check, Peers, Start, Stop, Checked, Refused, Mismatch, Started, Stopped, Log])


def log_message(level: int, text: str) -> Log:
    """Return the message for a record of ``logging``."""
    severity = (
        Severity.ERROR if level >= logging.ERROR else Severity.WARNING if level >= logging.WARNING else Severity.INFO
    )
    return Log(severity, clean_text(text, MAX_LOG_TEXT))


def refused_message(faults: Sequence[TableFault]) -> Refused:
    """Return the message for these faults: without their details, or as many as fit, when all are too large."""
    bare = [replace(fault, known=(), context=()) for fault in faults]
    for some in (faults, bare, bare[:20], bare[:1]):
        message = Refused(tuple(some))
        try:
            CODEC.encode(message)
        except MessageError:
            continue
        return message
    name = str(faults[0].path[0])[:200] if faults else ""
    return Refused((TableFault((name,), "its faults can't be shown: they are not within the bounds of a message"),))
