"""Messages between the supervisor, a generation's leader and its workers.

Leader and workers parse hostile mail, so what they send is validated as an exporter's messages are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from phoenixdkim.config.summary import Summary
from phoenixdkim.messages import Codec, Items, Message, Range, Table, Text, clean_text

_PROTOCOL: Final = 1
_MAX_LINES: Final = 500
_MAX_LINE: Final = 2000
_MAX_LINES_OCTETS: Final = 120_000
_Seconds = Annotated[float, Range(0, 1e9)]
_Word = Annotated[str, Text(1000)]
_Lines = Annotated[tuple[Annotated[str, Text(_MAX_LINE)], ...], Items(_MAX_LINES)]
_Number = Annotated[int, Range(0, 2**62)]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How a parked worker ends.

    Attributes:
        soft: seconds after which messages that begin are answered with 421.
        hard: seconds after which the worker exits, whatever is open.
        idle_is_done: sessions between two messages need not be waited for.
    """

    soft: _Seconds
    hard: _Seconds
    idle_is_done: bool = False


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The table ``[log]``."""

    destination: _Word
    level: _Word
    facility: _Word


@dataclass(frozen=True, slots=True)
class Settings:
    """What the supervisor needs to know of a configuration; the fields are named as the options."""

    socket: _Word
    socket_mode: _Word
    socket_group: _Word
    control_socket: _Word
    user: _Word
    exporter_uids: _Word
    stop_timeout: _Seconds
    max_generations: Annotated[int, Range(0, 1000)]
    reload: Deadlines
    log: LogSettings


@dataclass(frozen=True, slots=True)
class Park(Message):
    """To leader and workers: take no more connections, and end by these deadlines."""

    deadlines: Deadlines


@dataclass(frozen=True, slots=True)
class Loaded(Message):
    """From the leader: the configuration and its keys are good; it waits for ``Serve``."""

    summary: Summary
    workers: Annotated[int, Range(1, 100_000)]
    exporters: Annotated[Mapping[Annotated[str, Text(64)], Table], Items(1000)]
    warnings: _Lines
    settings: Settings


@dataclass(frozen=True, slots=True)
class Serve(Message):
    """To the leader: fork workers."""


@dataclass(frozen=True, slots=True)
class Ready(Message):
    """From the leader: all workers serve."""


@dataclass(frozen=True, slots=True)
class Workers(Message):
    """From the leader: the process ids of its workers, whenever they change."""

    pids: Annotated[tuple[Annotated[int, Range(2, 2**22)], ...], Items(1000)]


@dataclass(frozen=True, slots=True)
class Failed(Message):
    """From the leader: the configuration can't be used, or the workers did not start."""

    lines: _Lines


@dataclass(frozen=True, slots=True)
class Restarted(Message):
    """From the leader: a worker ended without being asked to, and is replaced."""

    pid: _Number


@dataclass(frozen=True, slots=True)
class Fenced(Message):
    """From the leader: an unexpected exception was caught and logged."""


@dataclass(frozen=True, slots=True)
class Parked(Message):
    """From leader and workers: no more connections are taken."""


@dataclass(frozen=True, slots=True)
class WorkerReady(Message):
    """From a worker: it serves."""


@dataclass(frozen=True, slots=True)
class Beat(Message):
    """From a worker, about once a second: it lives."""


CODEC: Final = Codec(
    _PROTOCOL, [Park, Loaded, Serve, Ready, Workers, Failed, Restarted, Fenced, Parked, WorkerReady, Beat]
)
FROM_LEADER: Final = (Loaded, Ready, Workers, Failed, Restarted, Fenced, Parked)
FROM_WORKER: Final = (WorkerReady, Parked, Beat)


def lines_for_message(lines: Iterable[Any]) -> tuple[str, ...]:
    """Return as many of the lines as a message can carry, and how many more there are."""
    given = [clean_text(line, _MAX_LINE) for line in lines]
    found: list[str] = []
    octets = 0
    for line in given:
        # A character takes up to six octets of JSON when it is not ASCII, and twice that beyond the basic plane.
        octets += len(line) if line.isascii() and line.isprintable() else 12 * len(line)
        if len(found) == _MAX_LINES - 1 or octets > _MAX_LINES_OCTETS:
            return (*found, f"... and {len(given) - len(found)} more")
        found.append(line)
    return tuple(found)
