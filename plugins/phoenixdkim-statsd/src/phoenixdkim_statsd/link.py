"""The way to the StatsD server: one non-blocking socket, its name resolved off the path."""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from phoenixdkim.options import parse_host_port

PATIENCE: Final = 0.2
"""Seconds in all that a tick's packets wait for room in a buffer that is full. A server on a unix socket has ten
packets or a few more in its buffer; one that reads at all empties it in far less."""

_Where = tuple[str | int, ...] | str


class Link:
    """Sends datagrams.

    It waits for nothing but room in a full buffer, and for that only where the server has taken the packet before.

    A name is looked up in a thread of its own, at the start and again each ``resolve_interval`` seconds; the socket
    stays the same until the name no longer has its address, because some servers keep state by the sender's port.
    """

    def __init__(self, address: str, resolve_interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare.

        Args:
            address: ``host:port`` or ``unix:/path``.
            resolve_interval: seconds between two look-ups of the name.
            clock: monotonic seconds.
        """
        self._address = address
        self._interval = resolve_interval
        self._clock = clock
        self._lock = threading.Lock()
        self._found = _without_look_up(address)
        self._error = "its name is not resolved yet"
        self._socket: socket.socket | None = None
        self._connected: _Where | None = None
        self._due = 0.0 if self._found is None else float("inf")
        self._resolving = False
        self._refused = False
        self._patience = PATIENCE
        self._takes = True

    def ticked(self) -> None:
        """A tick has ended: the packets of the next one may wait again, unless the server takes none."""
        self._patience = PATIENCE if self._takes else 0.0

    def resolve(self, wait: float = 0.0) -> None:
        """Begin a look-up when it is time for one, and wait for it at most ``wait`` seconds."""
        if self._resolving or self._clock() < self._due:
            return
        self._resolving = True
        self._due = self._clock() + self._interval
        thread = threading.Thread(target=self._look_up, name="resolve", daemon=True)
        thread.start()
        if wait:
            thread.join(wait)

    def _look_up(self) -> None:
        parsed = parse_host_port(self._address)
        try:
            answers = socket.getaddrinfo(parsed.host, parsed.port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            with self._lock:
                self._error = f"its name can't be resolved: {getattr(error, 'strerror', None) or error}"
                if self._found is None:
                    self._due = self._clock() + min(self._interval, 5.0)
        else:
            found = [
                (socket.AddressFamily(family), tuple(part for part in where if not isinstance(part, bytes)))
                for family, _, _, _, where in answers
            ]
            with self._lock:
                # A name with several addresses lists them in an order that changes.
                if self._found not in found:
                    self._found = found[0]
        finally:
            self._resolving = False

    def send(self, packet: bytes) -> str:
        """Send one packet; returns why that failed, or nothing.

        Over UDP nothing means that it has left. On loopback a refusal is known at once and is this packet's; from
        elsewhere it may come later, and ``refused`` tells of it.
        """
        with self._lock:
            found, error = self._found, self._error
        if found is None:
            return error
        try:
            made = self._open(*found)
        except OSError as problem:
            return problem.strerror or str(problem)
        self._takes = False
        try:
            try:
                self._send(made, packet)
            except ConnectionRefusedError:
                if found[0] is socket.AF_UNIX:
                    raise
                # The answer to an earlier packet, in the place of this send.
                self._refused = True
                self._send(made, packet)
        except BlockingIOError:
            return "its socket buffer is full"
        except OSError as problem:
            if found[0] is socket.AF_UNIX:
                # The server's socket may have been made anew.
                self.close()
            return problem.strerror or str(problem)
        self._takes = True
        return os.strerror(errno.ECONNREFUSED).lower() if self._pending_refusal() else ""

    def _send(self, made: socket.socket, packet: bytes) -> None:
        try:
            made.send(packet)
        except BlockingIOError:
            if self._patience <= 0:
                raise
            begun = self._clock()
            room = select.poll()
            room.register(made, select.POLLOUT)
            seen = room.poll(self._patience * 1000)
            self._patience = max(0.0, self._patience - (self._clock() - begun)) if seen else 0.0
            made.send(packet)

    def refused(self) -> bool:
        """Whether the last packet that left turned out to be refused; told once."""
        if self._pending_refusal():
            self._refused = True
        refused, self._refused = self._refused, False
        return refused

    def _pending_refusal(self) -> bool:
        if self._socket is None:
            return False
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED

    def _open(self, family: socket.AddressFamily, where: _Where) -> socket.socket:
        if self._socket is not None and self._connected == where:
            return self._socket
        self.close()
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.connect(where)
        except OSError:
            made.close()
            raise
        self._socket, self._connected = made, where
        return made

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def reach(address: str) -> str:
    """Look a server's name up, or connect to its unix socket; returns what is wrong. Sends nothing, may wait long."""
    found = _without_look_up(address)
    try:
        if found is None:
            parsed = parse_host_port(address)
            family, _, _, _, where = socket.getaddrinfo(parsed.host, parsed.port, type=socket.SOCK_DGRAM)[0]
            found = socket.AddressFamily(family), tuple(part for part in where if not isinstance(part, bytes))
        with socket.socket(found[0], socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.connect(found[1])
    except (OSError, UnicodeError) as error:
        return f"{getattr(error, 'strerror', None) or error}; nothing can be sent there now"
    return ""


def _without_look_up(address: str) -> tuple[socket.AddressFamily, _Where] | None:
    if address.startswith("unix:"):
        return socket.AF_UNIX, address.removeprefix("unix:")
    parsed = parse_host_port(address)
    try:
        version = ipaddress.ip_address(parsed.host).version
    except ValueError:
        return None
    if version == 6:
        return socket.AF_INET6, (parsed.host, parsed.port, 0, 0)
    return socket.AF_INET, (parsed.host, parsed.port)
