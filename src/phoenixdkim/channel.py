"""Control channels: messages between the daemon's processes on sequenced-packet sockets."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from array import array
from collections.abc import Collection, Sequence
from typing import Final, TypeVar

from phoenixdkim.messages import MAX_OCTETS, Codec, Message, MessageError

MAX_DESCRIPTORS: Final = 250
"""Descriptors that fit into one message (SCM_MAX_FD is 253)."""
_SO_PASSRIGHTS: Final = 83
"""Linux 6.16: whether a socket takes descriptors at all. Older kernels refuse the option."""

_M = TypeVar("_M", bound=Message)


class Channel:
    """One end of a control channel. No call waits, except ``wait``.

    Attributes:
        ended: whether the other end is closed.
    """

    def __init__(self, end: socket.socket, codec: Codec) -> None:
        """Take over ``end``; it is closed with the channel."""
        self.socket = end
        self.ended = False
        self._codec = codec
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_OCTETS)

    def refuse_descriptors(self) -> None:
        """Let the kernel refuse descriptors to their sender, where it can.

        The last one to close a descriptor may have to wait, on a socket with SO_LINGER for example.
        """
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)

    def fileno(self) -> int:
        """The descriptor, for ``select``."""
        return self.socket.fileno()

    def wait(self, seconds: float | None) -> bool:
        """Wait until there is something to receive; None: for ever. Returns whether there is."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(None if seconds is None else max(0, int(1000 * seconds + 0.999))))

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Send a message; returns False when the other end is closed or does not read.

        Raises:
            MessageError: the message is invalid or too large.
        """
        data = self._codec.encode(message)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
        try:
            # Not socket.send_fds: it ignores the flags (CPython 3.11), and then waits.
            self.socket.sendmsg([data], ancillary, socket.MSG_DONTWAIT)
        except ConnectionError:
            self.ended = True
            return False
        except OSError:
            return False
        return True

    def receive(self, accepted: Collection[type[_M]]) -> _M | None:
        """Return the next message; None when there is none now, or no more (``ended``).

        Descriptors that come with a message are never taken over.

        Raises:
            MessageError: it is not a valid message of an accepted kind.
        """
        message, _ = self.receive_with_descriptors(accepted, 0)
        return message

    def receive_with_descriptors(self, accepted: Collection[type[_M]], most: int) -> tuple[_M | None, list[int]]:
        """Return the next message as ``receive`` does, and up to ``most`` descriptors that came with it.

        The descriptors are the caller's to close; they are not inherited by other programs.

        Raises:
            MessageError: it is not a valid message of an accepted kind; its descriptors are closed.
        """
        # Without room for them the kernel closes all descriptors itself, and says MSG_CTRUNC.
        room = socket.CMSG_SPACE(most * array("i").itemsize) if most else 0
        try:
            data, ancillary, flags, _ = self.socket.recvmsg(
                MAX_OCTETS, room, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None, []
        except ConnectionError:
            self.ended = True
            return None, []
        descriptors = _descriptors(ancillary)
        try:
            message = self._decode(data, flags, accepted)
        except MessageError:
            _close(descriptors)
            raise
        if message is None:
            _close(descriptors)
            return None, []
        return message, descriptors

    def _decode(self, data: bytes, flags: int, accepted: Collection[type[_M]]) -> _M | None:
        if flags & socket.MSG_CTRUNC:
            raise MessageError("it came with descriptors")
        if flags & socket.MSG_TRUNC:
            raise MessageError(f"more than {MAX_OCTETS} octets")
        if data:
            return self._codec.decode(data, accepted)
        self.ended = self._at_end()
        if not self.ended:
            raise MessageError("an empty message")
        return None

    def _at_end(self) -> bool:
        """Whether nothing follows the nothing that was just received: an empty datagram looks like the end."""
        try:
            return not self.socket.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def close(self) -> None:
        """Close this end."""
        self.socket.close()


def channel_pair(codec: Codec) -> tuple[Channel, Channel]:
    """Return both ends of a new channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours, codec), Channel(theirs, codec)


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _close(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)
