"""Giving up privileges, and proving that they are gone."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

from phoenixdkim.exporters.users import Identity

_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38

_libc: Final = ctypes.CDLL(None, use_errno=True)


class PrivilegeError(RuntimeError):
    """Privileges could not be given up for certain; the process must end."""


def hide_memory() -> None:
    """Keep other processes of the same user from reading this one's memory, where the private keys are."""
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent dies, so that their end is seen."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans(rounds: int = 20) -> None:
    """End all children that are left; those of theirs that become ours by it too.

    Args:
        rounds: how many times to look; a plugin that forks for ever is not waited for.
    """
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for _ in range(rounds):
        left = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        if not left:
            return
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for pid in left:
            os.waitpid(pid, 0)


def drop(run_as: Identity) -> None:
    """Become ``run_as`` for good.

    Raises:
        PrivilegeError: something of the old privileges is left.
    """
    if run_as.name.isdigit():
        os.setgroups([])
    else:
        os.initgroups(run_as.name, run_as.gid)
    os.setresgid(run_as.gid, run_as.gid, run_as.gid)
    os.setresuid(run_as.uid, run_as.uid, run_as.uid)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _prove(run_as)


def _prove(run_as: Identity) -> None:
    if os.getresuid() != (run_as.uid,) * 3 or os.getresgid() != (run_as.gid,) * 3:
        raise PrivilegeError(f"user and group are {os.getresuid()} and {os.getresgid()}, not those of {run_as.name}")
    if run_as.uid != 0:
        try:
            os.setresuid(0, 0, 0)
        except PermissionError:
            pass
        else:
            raise PrivilegeError("the process could become root again")
        if 0 in os.getgroups():
            raise PrivilegeError("the process is still in group root")
        status = Path("/proc/self/status").read_text()
        for line in status.splitlines():
            if line.startswith(("CapEff:", "CapPrm:")) and int(line.split()[1], 16):
                raise PrivilegeError(f"the process still has capabilities: {line}")
