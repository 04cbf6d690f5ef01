"""Operations of prctl(2) that Python does not have."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_SET_PDEATHSIG: Final = 1
_SET_DUMPABLE: Final = 4
_SET_CHILD_SUBREAPER: Final = 36
_SET_NO_NEW_PRIVS: Final = 38

# Loaded before any fork: after it, in a process that gave up its privileges, nothing may need to be loaded.
_libc: Final = ctypes.CDLL(None, use_errno=True)


def hide_memory() -> None:
    """Keep other processes of the same user from reading and tracing this one."""
    _prctl(_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends, so that their end is seen."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def refuse_new_privileges() -> None:
    """Let no program that this process executes have more privileges than it has."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends; a change of user clears it."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(operation: int, value: int) -> None:
    if _libc.prctl(operation, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({operation}): {os.strerror(ctypes.get_errno())}")
