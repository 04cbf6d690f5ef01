"""Where log lines are written: standard error, whatever it is, without ever waiting for its reader.

O_NONBLOCK belongs to the open file, which other processes share, so it is never set on a file that we did not open.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import struct
from typing import Final, Protocol

_TIOCGDEV: Final = 0x80045432
"""Number of the device of a terminal (ioctl_tty(2))."""
_TERMINAL_PIECE: Final = 240
"""Octets that fit when a terminal is ready. Linux takes room in blocks of 256, and a line feed, which becomes two
characters, takes a block of its own; so text and line feed are written one at a time."""


class Output(Protocol):
    """Takes octets."""

    def write(self, data: bytes) -> int:
        """Write without waiting; returns how many octets were written.

        Raises:
            BlockingIOError: nothing can be written now.
            OSError: it failed, and waiting would not help.
        """


class SocketOutput:
    """A socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))

    def write(self, data: bytes) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT)


class FileOutput:
    """A descriptor that does not block: a file, or what was opened with O_NONBLOCK."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> int:
        return os.write(self._descriptor, data)


class PipeOutput:
    """A pipe that cannot be opened again, such as one of another user.

    Lines go through a pipe of our own, from which splice(2) moves them without waiting.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._process = 0
        self._reading = self._writing = -1

    def _open(self) -> None:
        # Each process needs its own: a line in it belongs to the one that writes.
        if self._process == os.getpid():
            return
        for descriptor in (self._reading, self._writing):
            if descriptor >= 0:
                os.close(descriptor)
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._process = os.getpid()

    def write(self, data: bytes) -> int:
        self._open()
        left = os.write(self._writing, data)
        moved = 0
        try:
            while left:
                count = os.splice(self._reading, self._descriptor, left, flags=os.SPLICE_F_NONBLOCK)
                if not count:
                    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
                moved += count
                left -= count
        except BlockingIOError:
            if not moved:
                raise
        finally:
            while left:
                left -= len(os.read(self._reading, left))
        return moved


class TerminalOutput:
    """A terminal that cannot be opened again."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, data: bytes) -> int:
        written = 0
        while written < len(data):
            if not any(event & select.POLLOUT for _, event in self._poll.poll(0)):
                if written:
                    break
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            text, _, _ = data[written : written + _TERMINAL_PIECE].partition(b"\n")
            written += os.write(self._descriptor, text or b"\n")
        return written


def open_output(descriptor: int = 2) -> Output:
    """Return the output for a descriptor, which stays open."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return SocketOutput(descriptor)
    if not stat.S_ISFIFO(mode) and not stat.S_ISCHR(mode):
        return FileOutput(descriptor)
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    with contextlib.suppress(OSError):
        return FileOutput(os.open(f"/proc/self/fd/{descriptor}", flags))
    if stat.S_ISFIFO(mode):
        return PipeOutput(descriptor)
    if not os.isatty(descriptor):
        return FileOutput(descriptor)
    with contextlib.suppress(OSError):
        terminal = os.open("/dev/tty", flags)
        if _device(terminal) == _device(descriptor):
            return FileOutput(terminal)
        os.close(terminal)
    return TerminalOutput(descriptor)


def _device(terminal: int) -> int:
    return int(struct.unpack("I", fcntl.ioctl(terminal, _TIOCGDEV, bytes(4)))[0])
