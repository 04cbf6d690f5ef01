"""Control pipes between the daemon's processes: JSON messages on sequenced-packet sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

_MAX_MESSAGE: Final = 262144


class Pipe:
    """One end of a control pipe."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _MAX_MESSAGE)

    def fileno(self) -> int:
        """The descriptor, for ``select``."""
        return self.socket.fileno()

    def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> bool:
        """Send without waiting; False when the other end is gone or does not read."""
        try:
            socket.send_fds(self.socket, [json.dumps(message).encode()], list(descriptors), socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other end is gone."""
        try:
            data = self.socket.recv(_MAX_MESSAGE)
        except ConnectionError:
            return None
        if not data:
            return None
        message = json.loads(data)
        assert isinstance(message, dict)
        return message

    def close(self) -> None:
        """Close this end."""
        self.socket.close()


def pipe() -> tuple[Pipe, Pipe]:
    """Both ends of a new control pipe."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Pipe(ours), Pipe(theirs)
