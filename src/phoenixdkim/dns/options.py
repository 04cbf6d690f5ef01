"""Options of the resolver, and the name servers they come down to."""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_RESOLV_CONF_SERVERS: Final = 3
"""As resolv.conf(5): further lines are ignored."""


@dataclass(frozen=True, slots=True)
class Nameserver:
    """Address and port of a recursive name server."""

    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        """The address is an IPv6 one."""
        return ":" in self.host


@dataclass(frozen=True, slots=True)
class ResolverOptions:
    """How keys are looked up. Times are in seconds.

    Attributes:
        nameservers: recursive servers as ``addr``, ``addr:port`` or ``[v6]:port``, in order of preference; none for
            those of ``resolv_conf``, which is read again when it has changed.
        zone: a file that holds all records there are; no network then.
        query_timeout: for the first attempt at a server; the second has twice as long.
        message_timeout: for all keys of one message, whatever else.
        max_answer_octets: octets of one answer; what is larger is not parsed.
        max_concurrent: questions on the network at one time.
        cache_size: names kept.
        max_ttl, max_negative_ttl: the longest that a key, or its absence, is kept.
        failure_ttl: how long it is kept that a name could not be looked up.
        recheck_after: a kept key that is older and does not verify a signature is asked for anew, so at most once in
            that time; 0 for never.
        dnssec_probe: a name in a signed zone. A name server that vouches for its SOA record (AD) validates, and its
            answers without AD are insecure; without a probe, or while it fails, they are unknown.
        resolv_conf: path of that file.
    """

    nameservers: tuple[str, ...] = ()
    zone: str | None = None
    query_timeout: float = 2.0
    message_timeout: float = 8.0
    max_answer_octets: int = 16384
    max_concurrent: int = 64
    cache_size: int = 10_000
    max_ttl: float = 3600.0
    max_negative_ttl: float = 300.0
    failure_ttl: float = 5.0
    recheck_after: float = 10.0
    dnssec_probe: str = "."
    resolv_conf: str = "/etc/resolv.conf"


def parse_nameserver(text: str) -> Nameserver:
    """Read ``addr``, ``addr:port``, ``[v6]`` or ``[v6]:port``; the port is 53 unless given.

    Raises:
        ValueError: it is none of these; a name server is given by address, not by name.
    """
    host, port = text.strip(), ""
    if host.startswith("["):
        host, closed, rest = host[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is no name server: write 127.0.0.1:53 or [::1]:53")
        port = rest[1:] if rest else "53"
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    else:
        port = "53"
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        raise ValueError(f"{text!r} is no name server: {host!r} is not an IP address") from error
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} is no name server: {port!r} is not a port from 1 to 65535")
    return Nameserver(host, int(port))


class Nameservers:
    """The servers to ask, as they are now.

    Raises:
        ValueError: an address in the options is wrong.
    """

    def __init__(self, options: ResolverOptions) -> None:
        self._fixed = tuple(parse_nameserver(text) for text in options.nameservers)
        self._path = Path(options.resolv_conf)
        self._stamp: tuple[int, int, int] | None = None
        self._read: tuple[Nameserver, ...] = ()
        self._lock = threading.Lock()

    def current(self) -> tuple[Nameserver, ...]:
        """The servers in order; the local host when resolv.conf is missing or names none, as in the C library."""
        if self._fixed:
            return self._fixed
        with self._lock:
            try:
                status = self._path.stat()
                stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
                if stamp != self._stamp:
                    self._read = _read_resolv_conf(self._path.read_bytes())
                    self._stamp = stamp
            except OSError:
                # A file that is being replaced may be away for a moment: what was read last still serves.
                pass
            return self._read or (Nameserver("127.0.0.1", 53),)


def _read_resolv_conf(text: bytes) -> tuple[Nameserver, ...]:
    servers = []
    for line in text.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                servers.append(Nameserver(str(ipaddress.ip_address(words[1])), 53))
            except ValueError:
                # The C library passes over such a line too.
                continue
    return tuple(servers[:MAX_RESOLV_CONF_SERVERS])
