"""Giving up privileges, and proving that they are gone."""

from __future__ import annotations

import os
from pathlib import Path

from phoenixdkim.exporters.users import Identity
from phoenixdkim.prctl import refuse_new_privileges


class PrivilegeError(RuntimeError):
    """Privileges could not be given up for certain; the process must end."""


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
    refuse_new_privileges()
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
