"""The supervisor's side of an exporter's control channel; ``check`` and ``phoenixdkim.testing`` use it too.

What comes from the exporter's process is untrusted: plugin code runs there and can write anything to the channel.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from phoenixdkim.channel import Channel
from phoenixdkim.exporters.declared import Shown, read_schema
from phoenixdkim.exporters.messages import (
    CODEC,
    Check,
    Checked,
    Log,
    Mismatch,
    Peers,
    Refused,
    Reported,
    Start,
    Started,
    Stop,
    Stopped,
    TableFault,
)
from phoenixdkim.exporters.rate_limit import RateLimit
from phoenixdkim.messages import Message, MessageError, VersionMismatch

_BURST: Final = 1000
_PER_SECOND: Final = 20.0
"""An exporter's process limits its own log lines to less; more is a flood."""

Answer = tuple[str, tuple[Shown, ...]]
"""Of an exporter without fault: its plugin's name and package, and its own metrics."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The exporter's table and plugin have no fault.

    Attributes:
        wants_samples: whether raw durations are to be kept for it.
        answer: its plugin and metrics.
        findings: what this host lacks, if that was asked for.
    """

    wants_samples: bool
    answer: Answer
    findings: tuple[Reported, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The exporter's table or plugin have faults."""

    faults: tuple[TableFault, ...]


Received = Passed | Failed | Started | Stopped | Log


class ExporterClient:
    """Talks to the process of one exporter, and accepts only what it may send at that moment.

    Attributes:
        ended: whether the process has closed its end.
    """

    def __init__(self, end: socket.socket, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Take over our end of the control socket of exporter ``name``."""
        self.name = name
        self._channel = Channel(end, CODEC)
        self._channel.refuse_descriptors()
        self._clock = clock
        self._limit = RateLimit(_BURST, _PER_SECOND)
        self._expected: set[type[Message]] = set()

    @property
    def ended(self) -> bool:
        """Whether the process has closed its end."""
        return self._channel.ended

    def fileno(self) -> int:
        """The descriptor, for ``select``."""
        return self._channel.fileno()

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to receive; returns whether there is."""
        return self._channel.wait(seconds)

    def close(self) -> None:
        """Close our end."""
        self._channel.close()

    # Each of these returns False when the process does not read or has ended.

    def check(self, table: Mapping[str, Any], environment: bool = False) -> bool:
        """Ask the process to check its table, and what this host lacks for it.

        Raises:
            MessageError: the table has a value that can't be sent, or is too large.
        """
        self._expected |= {Checked, Refused, Mismatch}
        return self._channel.send(Check(self.name, table, environment))

    def show_peers(self, memory: Mapping[str, tuple[int, int]]) -> bool:
        """Hand over read-only descriptors of exporters' records and pages, by name."""
        return self._channel.send(Peers(tuple(memory)), [fd for pair in memory.values() for fd in pair])

    def start(self) -> bool:
        """Let the exporter start."""
        self._expected.add(Started)
        return self._channel.send(Start())

    def stop(self, seconds: float) -> bool:
        """Let the exporter stop within ``seconds``."""
        self._expected.add(Stopped)
        return self._channel.send(Stop(max(0.0, min(seconds, 3600.0))))

    def receive(self) -> Received | None:
        """Return the next message; None when there is none now, or no more (``ended``).

        Raises:
            VersionMismatch: the installed package is of another version than this process.
            MessageError: the process sent something else than it may.
        """
        accepted: list[type[Message]] = [Log, *self._expected]
        message = self._channel.receive(accepted)
        if message is None:
            return None
        if not self._limit.allows(self._clock()):
            raise MessageError("too many messages")
        if isinstance(message, Log):
            return message
        if isinstance(message, (Started, Stopped)):
            self._expected.discard(type(message))
            return message
        self._expected -= {Checked, Refused, Mismatch}
        if isinstance(message, Checked):
            return self._passed(message)
        if isinstance(message, Refused):
            return self._failed(message.faults)
        raise VersionMismatch("the installed package has another layout of shared memory than this process")

    def _passed(self, message: Checked) -> Passed:
        metrics = read_schema(message.metrics.encode())
        if metrics is None:
            raise MessageError("not the description of a plugin's metrics", ("metrics",))
        if not message.plugin.strip():
            raise MessageError("empty", ("plugin",))
        return Passed(message.wants_samples, (message.plugin, metrics), message.findings)

    def _failed(self, faults: Sequence[TableFault]) -> Failed:
        if not faults:
            raise MessageError("empty", ("faults",))
        for fault in faults:
            if not fault.path or fault.path[0] != self.name:
                raise MessageError("a fault of another exporter's table", ("faults",))
        return Failed(tuple(replace(fault, refuses=True) for fault in faults))


def table_faults(name: str, table: Mapping[str, Any]) -> list[TableFault]:
    """Return what keeps a table from being sent to its exporter: dates, numbers that are not finite, its size."""
    try:
        CODEC.encode(Check(name, table))
    except MessageError as error:
        path = error.path[1:] if error.path[:1] == ("table",) else ()
        return [TableFault((name, *path), error.what)]
    return []
