"""The listening socket: made once by the supervisor, shared by all workers."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BACKLOG: Final = 512
_TAKEOVER: Final = 2.5


class ListenError(OSError):
    """The socket can't be had; the message says why and what to do."""


@dataclass(slots=True)
class ListeningSocket:
    """The socket and what belongs to it."""

    socket: socket.socket
    name: str
    _path: str = ""
    _inode: tuple[int, int] = (0, 0)
    _lock: int = field(default=-1)

    def close(self) -> None:
        """Close, and remove the path if it is still ours."""
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(self._path)
                if (found.st_dev, found.st_ino) == self._inode:
                    os.unlink(self._path)
        self.socket.close()
        if self._lock >= 0:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path + ".lock")
            os.close(self._lock)


def listen(address: str, mode: int, group: str, environment: Mapping[str, str]) -> ListeningSocket:
    """Make, or inherit, the socket named ``address``.

    Args:
        address: ``unix:PATH``, ``inet:PORT@HOST`` or ``systemd``.
        mode: permissions of a unix socket.
        group: its group; empty to leave it.
        environment: for LISTEN_FDS and LISTEN_PID.

    Raises:
        ListenError: another daemon has it, or the system refuses it.
    """
    try:
        if address == "systemd":
            made = _inherit(environment)
        elif address.startswith(("unix:", "local:")):
            made = _listen_unix(address.partition(":")[2], mode, group)
        else:
            made = _listen_inet(address)
    except ListenError:
        raise
    except OSError as error:
        raise ListenError(f"milter.socket: {address}: {error.strerror or error}") from error
    # A blocking listener lets a worker get stuck in accept() when another was faster.
    made.socket.setblocking(False)
    return made


def _inherit(environment: Mapping[str, str]) -> ListeningSocket:
    if environment.get("LISTEN_PID") != str(os.getpid()) or environment.get("LISTEN_FDS") != "1":
        raise ListenError(
            "milter.socket: 'systemd' needs exactly one socket passed by a .socket unit (LISTEN_FDS=1); "
            'write for example socket = "unix:/run/phoenixdkim/milter.sock" to do without'
        )
    inherited = socket.socket(fileno=3)
    inherited.set_inheritable(False)
    if not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ListenError("milter.socket: the socket passed by systemd does not listen; use ListenStream=")
    if inherited.family != socket.AF_UNIX:
        inherited.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ListeningSocket(inherited, "systemd")


def _listen_inet(address: str) -> ListeningSocket:
    port, _, host = address.partition(":")[2].partition("@")
    host = host.strip("[]") or "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted sockets inherit it: without, libmilter's two small writes wait 40 ms for each other.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    deadline = time.monotonic() + _TAKEOVER
    while True:
        try:
            made.bind((host, int(port)))
            made.listen(BACKLOG)
        except OSError as error:
            # The workers of a supervisor that was killed need a moment to notice.
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                made.close()
                raise ListenError(
                    f"milter.socket: {address}: {error.strerror}"
                    + ("; is another daemon running?" if error.errno == errno.EADDRINUSE else "")
                ) from error
            time.sleep(0.1)
        else:
            return ListeningSocket(made, address)


def _listen_unix(path: str, mode: int, group: str) -> ListeningSocket:
    lock = _lock(path)
    try:
        _remove_stale(path)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # umask, not chmod afterwards: between the two anybody could connect.
        before = os.umask(0o777 & ~mode)
        try:
            made.bind(path)
        except OSError as error:
            raise ListenError(
                f"milter.socket: {path}: {error.strerror}; the directory must exist and user id {os.getuid()}"
                " must be able to write to it"
            ) from error
        finally:
            os.umask(before)
        if group:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        made.listen(BACKLOG)
        found = os.lstat(path)
        return ListeningSocket(made, f"unix:{path}", path, (found.st_dev, found.st_ino), lock)
    except BaseException:  # whatever it is goes on; the lock must not outlive it
        os.close(lock)
        raise


def _lock(path: str) -> int:
    # A POSIX lock belongs to this process alone: it is not inherited by workers, and is gone when we are.
    name = path + ".lock"
    try:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ListenError(
            f"milter.socket: {name}: {error.strerror}; the directory must exist and user id {os.getuid()}"
            " must be able to write to it"
        ) from error
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise ListenError(
            f"milter.socket: {path}: another daemon is running with this socket; stop it or use another path"
        ) from error
    return fd


def _remove_stale(path: str) -> None:
    deadline = time.monotonic() + _TAKEOVER
    while True:
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise ListenError(f"milter.socket: {path} exists and is no socket; remove it or use another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
                return
            except FileNotFoundError:
                return
        if time.monotonic() > deadline:
            raise ListenError(f"milter.socket: {path}: another program is listening there; stop it or use another path")
        time.sleep(0.1)
