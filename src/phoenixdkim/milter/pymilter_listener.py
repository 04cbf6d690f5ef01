"""Our listening socket in libmilter's hands, and the connection that rouses libmilter's threads.

libmilter, as distributions build it, serves sessions with a pool of threads (libmilter/worker.c). Whoever finds a
session with something to read hands it to an idle thread, and starts a new thread only when none is idle; a thread
counts as idle until it has woken up. So of two sessions that have something to read at the same time, one may be left
without a thread, and it stays so until some thread is done with its callback. While callbacks wait for name servers,
that is as long as those take.

Another event makes libmilter look again: a thread that is woken or started takes whatever session is left. Each worker
process therefore has a connection to itself, over which it sends a packet that does nothing: before a callback waits,
and a few times a second.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import tempfile
import threading
import time
from enum import StrEnum
from typing import Final

import milter

from phoenixdkim.log import value

_NOTHING: Final = struct.pack("!I", 6) + b"DCj\0-\0"
"""A macro for the connect stage: allowed at any time, not answered, and handled without a callback."""

_ACCEPT_DEADLINE: Final = 30.0


class ListenWay(StrEnum):
    """How libmilter is brought to listen on a socket that it did not make."""

    DESCRIPTOR = "fd"
    DUPLICATE = "dup"


class Listener:
    """Our listening socket in libmilter's hands.

    libmilter is given a socket of this process's own first, over which it accepts the connection that rouses it; then
    ``serve`` puts our socket in its place.

    Args:
        listening: the socket that all workers share.
        way: None to find out.

    Raises:
        OSError: neither way works.
    """

    def __init__(self, listening: socket.socket, way: ListenWay | None = None) -> None:
        listening.setblocking(False)
        self._listening = listening
        self.way = way or ListenWay.DESCRIPTOR
        self._own = _own_socket(socket.AF_UNIX)
        if self.way is ListenWay.DESCRIPTOR:
            self.fd = os.dup(self._own.fileno())
            try:
                milter.setconn(f"fd:{self.fd}")
                milter.opensocket(False)
            except milter.error:
                os.close(self.fd)
                if way is not None:
                    raise OSError("this libmilter takes no descriptor") from None
                self.way = ListenWay.DUPLICATE
        if self.way is ListenWay.DUPLICATE:
            # This way libmilter takes clients of one family only.
            self._own.close()
            self._own = _own_socket(listening.family)
            self.fd = _throw_away(listening.family)
            os.dup2(self._own.fileno(), self.fd, inheritable=False)
        self._rouser = _connect(self._own)
        # Made now: when it is needed, there may be no descriptor for it.
        self._silent = _own_socket(socket.AF_UNIX)
        self._thread: threading.Thread | None = None
        self._before = _sockets()

    def serve(self, thread: threading.Thread) -> None:
        """Take connections from our socket. To be called once, in the main thread.

        Args:
            thread: the one that runs ``Engine.run``; it may just have been started. It is sent SIGUSR1, whose handler
                this function sets to one that does nothing.

        Raises:
            OSError: libmilter does not accept connections.
        """
        deadline = time.monotonic() + _ACCEPT_DEADLINE
        while not (accepted := _sockets() - self._before):
            if time.monotonic() > deadline:
                raise OSError(f"libmilter accepted no connection within {_ACCEPT_DEADLINE:g} s")
            # Not time.sleep(), which libfaketime breaks; nothing tells of what libmilter accepts.
            select.select([], [], [], 0.001)
        self._before |= accepted
        self._own.close()
        self._thread = thread
        signal.signal(signal.SIGUSR1, lambda *_: None)
        self.resume()

    def rouse(self) -> None:
        """Make libmilter look for sessions that have no thread. Does not wait."""
        # Full: libmilter has an event to come. Broken: libmilter is ending, which is said elsewhere.
        with contextlib.suppress(OSError):
            self._rouser.send(_NOTHING)

    def pause(self) -> None:
        """Take no more connections; those that are open go on.

        libmilter polls this descriptor. With another listening socket behind it, that nobody can connect to, it
        keeps polling, and connections that wait go to the other workers.
        """
        os.dup2(self._silent.fileno(), self.fd, inheritable=False)

    def resume(self) -> None:
        """Take connections from our socket, after a pause or for the first time."""
        os.dup2(self._listening.fileno(), self.fd, inheritable=False)
        # A poll() that waits for the socket that was there before does not see the new one; a signal ends it.
        if self._thread is not None and self._thread.ident is not None:
            signal.pthread_kill(self._thread.ident, signal.SIGUSR1)

    def accepted(self) -> int:
        """How many sockets libmilter has accepted for MTAs and not closed, negotiated or not.

        Raises:
            OSError: there is no descriptor to look with.
        """
        return len(_sockets() - self._before)


def _own_socket(family: int) -> socket.socket:
    """A listening one that nobody else knows of."""
    made = socket.socket(family)
    if family == socket.AF_UNIX:
        made.bind("")
    else:
        made.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    made.listen(8)
    made.setblocking(False)
    return made


def _connect(listening: socket.socket) -> socket.socket:
    made = socket.socket(listening.family)
    made.connect(listening.getsockname())
    made.setblocking(False)
    return made


def _link(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


def _sockets() -> set[str]:
    return set(_by_descriptor().values())


def _by_descriptor() -> dict[int, str]:
    """The sockets of this process, by descriptor. A number may be used again; what it links to is not."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        # The descriptor of the listing itself is gone when we look.
        with contextlib.suppress(OSError):
            link = _link(int(name))
            if link.startswith("socket:"):
                found[int(name)] = link
    return found


def _throw_away(family: int) -> int:
    """The descriptor of a socket that libmilter made."""
    directory = tempfile.mkdtemp(prefix="phoenixdkim-")
    try:
        if family == socket.AF_UNIX:
            address = f"unix:{directory}/s"
        elif family == socket.AF_INET6:
            address = "inet6:0@::1"
        else:
            address = "inet:0@127.0.0.1"
        before = _sockets()
        try:
            milter.setconn(address)
            milter.opensocket(False)
        except milter.error as error:
            raise OSError(f"libmilter can't listen on {value(address)}: {error}") from error
        for fd, link in _by_descriptor().items():
            if link not in before:
                return fd
        raise OSError("libmilter's listening socket was not found")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
