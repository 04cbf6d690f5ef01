"""The log: to stderr, syslog or the journal, without ever waiting.

A worker must not stand still because somebody reads the log slowly. Each line is written at once and without
blocking; what does not fit goes to a small backlog that later lines push out first; what does not fit there is
dropped and counted. Nothing is left in a queue that a kill could lose.
"""

from __future__ import annotations

import enum
import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from phoenixdkim.log_output import Output, open_output

_MAX_LINE: Final = 2048
_MAX_BACKLOG: Final = 1000
JOURNAL: Final = "/run/systemd/journal/socket"
SYSLOG: Final = "/dev/log"


class Level(enum.IntEnum):
    """Severity (RFC 5424 section 6.2.1)."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


class Destination(enum.StrEnum):
    """Where log lines go. ``AUTO`` is the journal when stderr is connected to it, else stderr."""

    AUTO = "auto"
    STDERR = "stderr"
    SYSLOG = "syslog"
    JOURNAL = "journal"


class Facility(enum.IntEnum):
    """Syslog facility (RFC 5424 section 6.2.1)."""

    MAIL = 2
    DAEMON = 3
    LOCAL0 = 16
    LOCAL1 = 17
    LOCAL2 = 18
    LOCAL3 = 19
    LOCAL4 = 20
    LOCAL5 = 21
    LOCAL6 = 22
    LOCAL7 = 23


def printable(text: str | bytes) -> str:
    """Text as one safe line: bytes that are no UTF-8, controls and other invisible characters are escaped."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def value(text: str | bytes) -> str:
    """A value of ``key=value``: ASCII, quoted when it has anything but visible characters without quotes.

    Letters that look like others, and those that a log's reader can't show, are seen for what they are.
    """
    shown = printable(text).encode("ascii", "backslashreplace").decode("ascii")
    if shown and not any(c in ' "=\\' for c in shown):
        return shown
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Log:
    """Writes lines; safe for threads, and for a process and its forks."""

    def __init__(
        self,
        destination: Destination = Destination.AUTO,
        level: Level = Level.INFO,
        facility: Facility = Facility.MAIL,
        name: str = "phoenixdkim",
    ) -> None:
        """Open the destination; where that fails, stderr is used.

        Args:
            destination: where lines go.
            level: lines less severe are left out.
            facility: for syslog.
            name: the program's name in syslog and journal.
        """
        self.level = level
        self.on_lost: Callable[[], None] | None = None
        self._name = name
        self._facility = facility
        self._lock = threading.Lock()
        self._backlog: deque[bytes] = deque()
        self._socket: socket.socket | None = None
        self._output: Output | None = None
        self._partial = False
        self._cut = False
        if destination is Destination.AUTO:
            destination = Destination.JOURNAL if _stderr_is_journal() else Destination.STDERR
        self.destination = destination
        if destination is Destination.STDERR:
            self._output = open_output()
        else:
            self._open_socket(JOURNAL if destination is Destination.JOURNAL else SYSLOG)

    def _open_socket(self, path: str) -> None:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.connect(path)
            self._socket = made
        except OSError as error:
            made.close()
            self.destination = Destination.STDERR
            self._output = open_output()
            self.warning(f"log: {path}: {error.strerror}; writing to stderr")

    def line(self, level: Level, text: str) -> bool:
        """Write one line; returns False when it was lost. Lines less severe than the level count as written."""
        if level > self.level:
            return True
        data = self._encode(level, text[:_MAX_LINE])
        with self._lock:
            self._flush()
            if not self._backlog and self._write(data):
                return True
            if len(self._backlog) < _MAX_BACKLOG:
                self._backlog.append(data)
                return True
        if self.on_lost is not None:
            self.on_lost()
        return False

    def _encode(self, level: Level, text: str) -> bytes:
        clean = printable(text)
        if self._socket is None:
            return clean.encode("utf-8", "backslashreplace") + b"\n"
        body = clean.encode("utf-8", "backslashreplace")
        if self.destination is Destination.JOURNAL:
            head = f"PRIORITY={int(level)}\nSYSLOG_IDENTIFIER={self._name}\nSYSLOG_FACILITY={int(self._facility)}\n"
            return head.encode() + b"MESSAGE=" + body + b"\n"
        return f"<{self._facility * 8 + level}>{self._name}[{os.getpid()}]: ".encode() + body

    def _write(self, data: bytes) -> bool:
        """Write without waiting; True when nothing of it is left to write."""
        try:
            if self._socket is not None:
                self._socket.send(data)
                return True
            assert self._output is not None
            if self._cut:
                # The first half of a line that was lost stays a line of its own.
                self._output.write(b"\n")
                self._cut = False
            written = self._output.write(data)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                return False
            # A closed pipe or a full disk will not heal by waiting; the line is lost at once.
            self._cut |= self._partial
            self._partial = False
            if self.on_lost is not None:
                self.on_lost()
            return True
        self._partial = written < len(data)
        if self._partial:
            self._backlog.appendleft(data[written:])
        return True

    def _flush(self) -> None:
        while self._backlog:
            data = self._backlog.popleft()
            if not self._write(data):
                self._backlog.appendleft(data)
                return

    def flush(self) -> int:
        """Push out the backlog as far as that goes without waiting; returns how many lines are left."""
        with self._lock:
            self._flush()
            return len(self._backlog)

    def give_up(self) -> int:
        """Drop and count what is left; returns how many lines that was. For the end of a process."""
        with self._lock:
            self._flush()
            left = len(self._backlog)
            self._backlog.clear()
        for _ in range(left):
            if self.on_lost is not None:
                self.on_lost()
        return left

    def error(self, text: str) -> None:
        """Write a line of level error."""
        self.line(Level.ERROR, text)

    def warning(self, text: str) -> None:
        """Write a line of level warning."""
        self.line(Level.WARNING, text)

    def notice(self, text: str) -> None:
        """Write a line of level notice."""
        self.line(Level.NOTICE, text)

    def info(self, text: str) -> None:
        """Write a line of level info."""
        self.line(Level.INFO, text)


def _stderr_is_journal() -> bool:
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return device == str(found.st_dev) and inode == str(found.st_ino)
