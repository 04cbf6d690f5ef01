"""Which processes listen on a TCP port, from /proc (proc_pid_net(5))."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import struct
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"


def listens(supervisor: int, host: str, port: int) -> bool | None:
    """Whether the daemon of this supervisor listens on an address; None if we may not see that.

    Args:
        supervisor: its pid; 0 for none.
        host: the IP address; a socket on all addresses is on this one too.
        port: the port.
    """
    if not supervisor:
        return False
    wanted = {f"socket:[{inode}]" for inode in _inodes(host, port)}
    hidden = False
    for pid in _family(supervisor):
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except FileNotFoundError:
            # It ended meanwhile.
            continue
        except OSError:
            hidden = True
            continue
        for descriptor in descriptors:
            # One may be closed meanwhile.
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in wanted:
                    return True
    return None if hidden else False


def _inodes(host: str, port: int) -> set[str]:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return set()
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            # IPv6 is disabled.
            continue
        for row in rows:
            words = row.split()
            local, _, local_port = words[1].partition(":")
            if words[3] == _LISTEN and int(local_port, 16) == port:
                bound = _address(local)
                if bound == address or bound.is_unspecified or address.is_unspecified:
                    found.add(words[9])
    return found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel prints it: words of 32 bits in the host's order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    return ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(Path("/proc", entry, "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found
