"""What this host lacks for the daemon: ``check`` looks, and changes nothing. Exporters look for themselves."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator

from phoenixdkim.config.faults import Fault, Severity, shown
from phoenixdkim.config.load import Loaded
from phoenixdkim.config.locate import Path
from phoenixdkim.config.model import Config
from phoenixdkim.listeners import listens
from phoenixdkim.log import JOURNAL, SYSLOG, Destination

_Found = Iterator[tuple[Path, str]]
_SOCKET: Path = ("milter", "socket")


def environment_faults(loaded: Loaded, supervisor: int) -> list[Fault]:
    """Return warnings about the host; what the running daemon itself uses is left out.

    Args:
        loaded: the file.
        supervisor: pid of the daemon that runs with it, 0 for none.
    """
    config = loaded.config
    if config is None:
        return []
    found = [*_milter_socket(config, supervisor), *_resolver(config), *_log(config)]
    return [loaded.fault(path, message, Severity.WARNING) for path, message in found]


def _milter_socket(config: Config, supervisor: int) -> _Found:
    kind, _, rest = config.milter.socket.partition(":")
    if kind in ("unix", "local"):
        yield from _unix_socket(config, rest, supervisor)
    elif kind == "inet":
        port, _, host = rest.partition("@")
        if trouble := _bind(host.strip("[]"), int(port), supervisor):
            yield _SOCKET, f"{shown(config.milter.socket)}: {trouble}"


def _unix_socket(config: Config, path: str, supervisor: int) -> _Found:
    directory = os.path.dirname(path)
    if os.geteuid() == 0 and not config.milter.socket_group and not int(config.milter.socket_mode, 8) & 0o002:
        yield (
            ("milter", "socket_group"),
            "empty: only root and its group can connect to the socket, and Postfix cannot;"
            ' write for example socket_group = "postfix"',
        )
    try:
        if not stat.S_ISDIR(os.stat(directory).st_mode):
            yield _SOCKET, f"{directory} is not a directory"
            return
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            yield _SOCKET, f"{directory} is on a file system that is mounted read-only"
            return
    except OSError as error:
        hint = "; create it, or start the service, which creates it" if isinstance(error, FileNotFoundError) else ""
        yield _SOCKET, f"{directory}: {error.strerror}{hint}"
        return
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        yield _SOCKET, f"{directory} is not writable for user id {os.geteuid()}"
    elif not supervisor:
        yield from _taken(path)


def _taken(path: str) -> _Found:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            yield _SOCKET, f"{path} exists and is not a socket; remove it or use another path"
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            probe.connect(path)
    except OSError:
        # Nothing is there, or what is there is left over: the daemon replaces it.
        return
    yield _SOCKET, f"{path}: a program is listening there; stop it or use another path"


def _bind(host: str, port: int, supervisor: int) -> str:
    """What keeps a TCP address from being bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
    except OSError as error:
        advice = {
            errno.EADDRINUSE: "; stop the program that uses it, or choose another port",
            errno.EADDRNOTAVAIL: "; this host does not have the address",
            errno.EACCES: "; ports below 1024 need root, or CAP_NET_BIND_SERVICE",
            errno.EAFNOSUPPORT: "; IPv6 is disabled on this host",
        }.get(error.errno or 0, "")
        if error.errno == errno.EADDRINUSE:
            ours = listens(supervisor, host, port)
            if ours:
                return ""
            if ours is None:
                advice = "; it may be the running daemon, which only root can see"
        return f"{error.strerror}{advice}"
    return ""


def _resolver(config: Config) -> _Found:
    if config.dns.zone or config.dns.nameservers:
        return
    path = config.dns.resolv_conf
    where: Path = ("dns", "resolv_conf")
    try:
        with open(path, errors="replace") as file:
            text = file.read(1 << 20)
    except OSError as error:
        yield where, f"{path}: {error.strerror}; no key can be looked up without name servers, or write nameservers"
        return
    if not any(line.split()[:1] == ["nameserver"] for line in text.splitlines()):
        yield where, f"{path} names no name server; then 127.0.0.1 is asked: add a nameserver line or write nameservers"


def _log(config: Config) -> _Found:
    path = {Destination.SYSLOG: SYSLOG, Destination.JOURNAL: JOURNAL}.get(config.log.destination)
    if path is None:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except OSError as error:
        yield ("log", "destination"), f"{path}: {error.strerror}; lines would go to standard error"
