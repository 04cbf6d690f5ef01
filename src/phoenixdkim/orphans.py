"""Children of this process that it did not start: what plugins leave behind comes to the nearest subreaper."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Set
from pathlib import Path
from typing import Final

_PAUSE: Final = 0.005


def children() -> list[int]:
    """Return the pids of all children of this process, ended ones that are not reaped among them."""
    found: list[int] = []
    try:
        for task in Path("/proc/self/task").iterdir():
            found += [int(pid) for pid in (task / "children").read_text().split()]
    except FileNotFoundError:
        # A kernel without CONFIG_PROC_CHILDREN.
        return _children_by_status()
    return found


def _children_by_status() -> list[int]:
    ours = f"PPid:\t{os.getpid()}\n"
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                status = Path("/proc", entry, "status").read_text(errors="replace")
            except OSError:
                continue
            if ours in status:
                found.append(int(entry))
    return found


def kill_strays(known: Set[int]) -> list[int]:
    """Kill children outside our session that are not ``known``; return their pids, which are not reaped yet.

    Each exporter's process leads a session of its own, and no process can come back into ours: a child in another
    session was started by a plugin, and has lost its parent. Workers whose leader has ended are in our session.
    """
    session = os.getsid(0)
    strays = [pid for pid in children() if pid not in known and os.getsid(pid) != session]
    for pid in strays:
        os.kill(pid, signal.SIGKILL)
    return strays


def end_children(seconds: float = 5.0) -> None:
    """Kill and reap all children, and those of theirs that come to us by it.

    No single child is waited for: one that another process traces cannot be reaped before its tracer has ended, and
    that may be a child of it, which comes to us only now.

    Args:
        seconds: how long to go on at most; a plugin that forks faster than it is killed is not waited for.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        time.sleep(_PAUSE)
