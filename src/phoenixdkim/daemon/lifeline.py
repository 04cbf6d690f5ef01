"""A generation's lifeline: one socket that its leader and all its workers hold, and the supervisor watches.

The kernel closes it when the last of them is gone, so a lifeline that ends is proof that no process of the generation
is left, whatever anybody wrote to shared memory. Workers show by it that they live. A worker whose leader died gets
its orders from it: it looks at them without taking them, so that each worker sees all.
"""

from __future__ import annotations

import socket
from typing import Final

from phoenixdkim.daemon.messages import CODEC, Deadlines, Park
from phoenixdkim.messages import MessageError

_BEAT: Final = b"."
_MAX_ORDERS: Final = 4096


class Lifeline:
    """The supervisor's end."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self.last_beat = 0.0
        """Monotonic seconds of the last sign of life of any worker."""
        self.ended = False
        """Whether all processes of the generation are gone."""

    def fileno(self) -> int:
        """Return the descriptor, for ``select``."""
        return self._socket.fileno()

    def take_beats(self, now: float) -> None:
        """Take what workers have sent; ``now`` is monotonic seconds."""
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.last_beat = now
        else:
            self.ended = True

    def order(self, deadlines: Deadlines) -> None:
        """Tell all workers without a leader to take no more connections, and when to end."""
        try:
            self._socket.send(CODEC.encode(Park(deadlines)) + b"\n", socket.MSG_NOSIGNAL)
        except OSError:
            # They are gone, or have a page of orders already.
            return

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


class LifelineEnd:
    """The end that leader and workers share."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    def beat(self) -> None:
        """Show that this worker lives. If the supervisor does not read, it knows already."""
        try:
            self._socket.send(_BEAT, socket.MSG_NOSIGNAL)
        except OSError:
            return

    def orders(self) -> list[Deadlines]:
        """Return all orders so far, the newest last."""
        try:
            data = self._socket.recv(_MAX_ORDERS, socket.MSG_PEEK)
        except OSError:
            return []
        try:
            return [CODEC.decode(line, (Park,)).deadlines for line in data.split(b"\n")[:-1]]
        except MessageError:
            # Only the supervisor writes here; what is not its order is none.
            return []

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def lifeline() -> tuple[Lifeline, LifelineEnd]:
    """Return both ends of a new lifeline."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Lifeline(ours), LifelineEnd(theirs)
