"""An SMTP server that keeps each message byte for byte."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it arrived: dots unstuffed, CRLF line ends."""

    sender: bytes
    recipients: tuple[bytes, ...]
    raw: bytes


class Sink:
    """Accepts all mail on a free loopback port."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._deliveries: list[Delivery] = []
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def delivered(self, count: int, timeout: float = 20.0) -> list[Delivery]:
        """All deliveries so far, once there are ``count``.

        Raises:
            TimeoutError: there are fewer after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while len(self._deliveries) < count:
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"{len(self._deliveries)} of {count} messages arrived in {timeout} s")
            return list(self._deliveries)

    def clear(self) -> None:
        """Forget what was delivered."""
        with self._changed:
            self._deliveries.clear()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            connection.sendall(b"220 sink ESMTP\r\n")
            sender, recipients = b"", []
            while line := lines.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    connection.sendall(b"250-sink\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 SIZE 0\r\n")
                elif verb == b"MAIL":
                    sender, recipients = _address(line), []
                    connection.sendall(b"250 ok\r\n")
                elif verb == b"RCPT":
                    recipients.append(_address(line))
                    connection.sendall(b"250 ok\r\n")
                elif verb == b"DATA":
                    connection.sendall(b"354 go\r\n")
                    raw = _message(lines)
                    if raw is None:
                        break
                    with self._changed:
                        self._deliveries.append(Delivery(sender, tuple(recipients), raw))
                        self._changed.notify_all()
                    connection.sendall(b"250 kept\r\n")
                elif verb == b"QUIT":
                    connection.sendall(b"221 bye\r\n")
                    break
                else:
                    connection.sendall(b"250 ok\r\n")
        self._open.discard(connection)


def _address(line: bytes) -> bytes:
    return line.partition(b"<")[2].partition(b">")[0]


def _message(lines: object) -> bytes | None:
    parts: list[bytes] = []
    while line := lines.readline():  # type: ignore[attr-defined]
        if line == b".\r\n":
            return b"".join(parts)
        parts.append(line[1:] if line.startswith(b".") else line)
    return None
