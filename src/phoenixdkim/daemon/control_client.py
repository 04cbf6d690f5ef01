"""The other side of the control socket: one request to the running daemon."""

from __future__ import annotations

import socket
import time
from typing import Final, TypeVar

from phoenixdkim.channel import Channel
from phoenixdkim.config.load import Loaded
from phoenixdkim.config.model import Control
from phoenixdkim.daemon.control_messages import CODEC, ReloadRequest, ReloadResult, Status, StatusRequest
from phoenixdkim.messages import Message, MessageError, VersionMismatch

RELOAD_TIMEOUT: Final = 300.0
STATUS_TIMEOUT: Final = 5.0
_Answer = TypeVar("_Answer", bound=Message)


class Unreachable(Exception):
    """No daemon answers; the message says why."""


def control_path(loaded: Loaded) -> str:
    """Return the control socket that a file names, or the default, also if the rest of the file has errors."""
    table = loaded.tables.get("control")
    path = table.get("socket") if isinstance(table, dict) else None
    return path if isinstance(path, str) else Control().socket


def request_reload(path: str, accept_shrink: bool, timeout: float = RELOAD_TIMEOUT) -> ReloadResult:
    """Ask for a reload and wait for its end.

    Args:
        path: of the control socket.
        accept_shrink: the new configuration may remove rules and keys.
        timeout: seconds to wait.

    Raises:
        Unreachable: no daemon answers.
    """
    return _ask(path, ReloadRequest(accept_shrink), ReloadResult, timeout)


def request_status(path: str, timeout: float = STATUS_TIMEOUT) -> Status:
    """Ask for the configuration in force.

    Raises:
        Unreachable: no daemon answers.
    """
    return _ask(path, StatusRequest(), Status, timeout)


def _connect(end: socket.socket, path: str) -> None:
    deadline = time.monotonic() + STATUS_TIMEOUT
    while True:
        try:
            end.connect(path)
        except BlockingIOError as error:
            # Its queue is full (unix(7)).
            if time.monotonic() > deadline:
                raise Unreachable(f"{path}: the daemon is busy") from error
            time.sleep(0.05)
        except (OSError, ValueError) as error:
            raise Unreachable(f"{path}: {getattr(error, 'strerror', None) or error}") from error
        else:
            return


def _ask(path: str, request: Message, kind: type[_Answer], timeout: float) -> _Answer:
    if not path:
        raise Unreachable("control.socket is empty, so the daemon has no control socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as end:
        end.setblocking(False)
        _connect(end, path)
        channel = Channel(end, CODEC)
        channel.send(request)
        deadline = time.monotonic() + timeout
        try:
            while True:
                if not channel.wait(max(0.0, deadline - time.monotonic())):
                    raise Unreachable(f"{path}: no answer in {timeout:g} s")
                answer = channel.receive((kind,))
                if answer is not None:
                    return answer
                if channel.ended:
                    raise Unreachable(f"{path}: the daemon closed the connection without an answer")
        except VersionMismatch as error:
            raise Unreachable(f"{path}: the running daemon is of another version ({error}); restart it") from error
        except MessageError as error:
            raise Unreachable(f"{path}: invalid answer ({error})") from error
