"""The way to the StatsD server: one non-blocking socket, its name resolved off the path."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from phoenixdkim.options import parse_host_port


class Link:
    """Sends datagrams and never waits.

    The name is looked up in a thread of its own, at the start and again each ``resolve_interval`` seconds; the
    socket stays the same until the address changes, because some servers keep state by the sender's port.
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
        self._found: tuple[socket.AddressFamily, tuple[str | int, ...] | str] | None = None
        self._error = "its name is not resolved yet"
        self._socket: socket.socket | None = None
        self._connected: object = None
        self._due = 0.0
        self._resolving = False
        if address.startswith("unix:"):
            self._found = (socket.AF_UNIX, address.removeprefix("unix:"))
            self._due = float("inf")

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
            found = socket.getaddrinfo(parsed.host, parsed.port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            with self._lock:
                self._error = f"its name can't be resolved: {error.strerror}"
                if self._found is None:
                    self._due = self._clock() + min(self._interval, 5.0)
        else:
            with self._lock:
                self._found = (
                    socket.AddressFamily(found[0]),
                    tuple(part for part in found[4] if not isinstance(part, bytes)),
                )
        finally:
            self._resolving = False

    def send(self, packet: bytes) -> str:
        """Send one packet; returns why that failed, or nothing."""
        with self._lock:
            found, error = self._found, self._error
        if found is None:
            return error
        try:
            made = self._open(*found)
        except OSError as problem:
            return problem.strerror or str(problem)
        try:
            made.send(packet)
        except ConnectionRefusedError:
            return self._refused(made, packet)
        except BlockingIOError:
            return "its socket buffer is full"
        except OSError as problem:
            if found[0] is socket.AF_UNIX:
                # The server's socket may have been made anew.
                self.close()
            return problem.strerror or str(problem)
        return ""

    def _refused(self, made: socket.socket, packet: bytes) -> str:
        # On UDP this is the answer to an earlier packet, and takes the place of this send: this packet has not been
        # sent. It is, once more; whether the earlier one arrived is not known, as ever with UDP.
        if made.family == socket.AF_UNIX:
            self.close()
            return "connection refused"
        try:
            made.send(packet)
        except OSError as problem:
            return problem.strerror or str(problem)
        return "connection refused"

    def _open(self, family: socket.AddressFamily, where: tuple[str | int, ...] | str) -> socket.socket:
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
