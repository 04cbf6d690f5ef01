"""The control socket: root and the daemon's user may ask the running daemon for a reload and for its state.

Mail comes first: a socket that cannot be made is a warning, no call waits for a client, and the number of clients,
the size of their messages and their patience are bounded.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from phoenixdkim.channel import Channel
from phoenixdkim.daemon.control_messages import (
    CODEC,
    REQUESTS,
    ReloadRequest,
    ReloadResult,
    Status,
    StatusRequest,
)
from phoenixdkim.log import Log
from phoenixdkim.messages import MessageError

MAX_CLIENTS: Final = 8
_PATIENCE: Final = 5.0
_CREDENTIALS: Final = struct.Struct("3i")

RequestReload = Callable[[bool, Callable[[ReloadResult], None]], None]


class ControlSocketError(OSError):
    """The socket cannot be made; the message says why."""


@dataclass(slots=True)
class Client:
    """One connection, which has one request."""

    channel: Channel
    since: float
    asked: bool = False

    def fileno(self) -> int:
        """Return the descriptor, for ``select``."""
        return self.channel.fileno()


@dataclass(slots=True)
class ControlSocket:
    """The listening socket and its clients.

    Attributes:
        path: where it is.
        request_reload: asks for a reload; it gets ``accept_shrink`` and who is told the result.
        status: returns the state of the daemon.
        log: told of requests and of clients that misbehave.
    """

    path: str
    request_reload: RequestReload
    status: Callable[[], Status]
    log: Log
    clients: list[Client] = field(default_factory=list)
    _socket: socket.socket | None = None
    _inode: tuple[int, int] = (0, 0)

    def open(self) -> None:
        """Start to listen.

        Raises:
            ControlSocketError: the path is in use, or the system refuses it.
        """
        try:
            self._remove_stale()
            made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            made.setblocking(False)
            # umask, not chmod afterwards: between the two others could connect.
            before = os.umask(0o177)
            try:
                made.bind(self.path)
            finally:
                os.umask(before)
            made.listen(MAX_CLIENTS)
            found = os.lstat(self.path)
        except ControlSocketError:
            raise
        except OSError as error:
            raise ControlSocketError(f"{self.path}: {error.strerror or error}") from error
        self._socket = made
        self._inode = (found.st_dev, found.st_ino)

    def _remove_stale(self) -> None:
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise ControlSocketError(f"{self.path} exists and is not a socket; remove it or set another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self.path)
            except ConnectionRefusedError:
                os.unlink(self.path)
                return
            except FileNotFoundError:
                return
            except BlockingIOError:
                # Its queue is full, so somebody listens.
                pass
        raise ControlSocketError(f"{self.path}: another program listens there; set another path")

    def sources(self) -> list[Client | ControlSocket]:
        """Return everything to watch."""
        return [] if self._socket is None else [self, *self.clients]

    def fileno(self) -> int:
        """Return the listening descriptor, for ``select``."""
        assert self._socket is not None
        return self._socket.fileno()

    def take(self, source: Client | ControlSocket) -> None:
        """Do what a source that is readable is about."""
        if isinstance(source, Client):
            self._hear(source)
        else:
            self._accept()

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            end, _ = self._socket.accept()
        except OSError:
            # The client has gone, or descriptors are short.
            return
        _, uid, _ = _CREDENTIALS.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid not in (0, os.geteuid()) or len(self.clients) >= MAX_CLIENTS:
            end.close()
            return
        channel = Channel(end, CODEC)
        channel.refuse_descriptors()
        self.clients.append(Client(channel, time.monotonic()))

    def _hear(self, client: Client) -> None:
        try:
            message = client.channel.receive(REQUESTS)
        except MessageError as error:
            self.log.warning(f"control socket: invalid request ({error})")
            self._drop(client)
            return
        if client.channel.ended or (message is not None and client.asked):
            self._drop(client)
        elif isinstance(message, StatusRequest):
            self._answer(client, self.status())
        elif isinstance(message, ReloadRequest):
            client.asked = True
            self.log.notice(f"control socket: reload requested{' with --accept-shrink' * message.accept_shrink}")
            self.request_reload(message.accept_shrink, lambda result: self._answer(client, result))

    def _answer(self, client: Client, message: Status | ReloadResult) -> None:
        if client in self.clients:
            with contextlib.suppress(MessageError):
                client.channel.send(message)
            self._drop(client)

    def _drop(self, client: Client) -> None:
        client.channel.close()
        self.clients.remove(client)

    def expire(self) -> None:
        """Drop clients that connected and asked for nothing."""
        now = time.monotonic()
        for client in [one for one in self.clients if not one.asked and now - one.since > _PATIENCE]:
            self._drop(client)

    def close_in_child(self) -> None:
        """Close all descriptors in a process that was forked; the path stays."""
        for client in self.clients:
            client.channel.close()
        if self._socket is not None:
            self._socket.close()

    def close(self) -> None:
        """Close, and remove the path if it is still ours."""
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == self._inode:
                os.unlink(self.path)
        self.close_in_child()
        self.clients.clear()
        self._socket = None
