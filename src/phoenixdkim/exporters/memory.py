"""The bound on the memory of an exporter's process, and how to tell that it was reached."""

from __future__ import annotations

import contextlib
import errno
import resource
from pathlib import Path
from typing import Final

OOM_SCORE: Final = 1000
"""The kernel kills exporters first when the machine or the service is out of memory (proc(5), oom_score_adj)."""
_RESERVE_OCTETS: Final = 8 << 20
_DEPTH: Final = 10
_SIGNS: Final = ("Cannot allocate memory", "failed to map segment", "can't start new thread")
"""Words with which the dynamic linker and ``threading`` report what the kernel called ENOMEM."""

_reserve: list[bytearray] = []
_limit: list[int] = []


def limit_memory(mebibytes: int) -> None:
    """Let this process have ``mebibytes`` MiB of data more than now.

    Data are heap, private writable mappings and thread stacks (setrlimit(2), RLIMIT_DATA). Shared memory, memfd, page
    cache and child processes are not counted.
    """
    # What tells of the end of memory needs some itself.
    _reserve.append(bytearray(_RESERVE_OCTETS))
    status = Path("/proc/self/status").read_text()
    used = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
    limit = used + mebibytes * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    _limit.append(mebibytes)


def prefer_for_killing() -> None:
    """Make this process the first that the kernel kills when memory runs out."""
    # Where /proc is read-only the kernel kills the largest process.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


def free_reserve() -> None:
    """Make room for what has to be done when memory has run out."""
    _reserve.clear()


def memory_advice(error: BaseException) -> str:
    """Return what to do if ``error`` comes from the bound on memory, else an empty text; frees the reserve."""
    if not _limit or not _out_of_memory(error):
        return ""
    free_reserve()
    return f"; its {_limit[-1]} MiB are used up, raise memory_limit in its table if it needs more"


def _out_of_memory(error: BaseException) -> bool:
    cause: BaseException | None = error
    for _ in range(_DEPTH):
        if cause is None:
            return False
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM):
            return True
        if isinstance(cause, (ImportError, OSError, RuntimeError)) and _has_sign(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _has_sign(error: BaseException) -> bool:
    try:
        words = str(error)
    except BaseException:  # noqa: BLE001 - a plugin's exception may raise anything when it is shown
        return False
    return any(sign in words for sign in _SIGNS)
