"""Children of this process that it did not start: what plugins leave behind comes to the nearest subreaper."""

from __future__ import annotations

import os
import signal
from collections.abc import Set
from pathlib import Path


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


def end_children(rounds: int = 200) -> None:
    """Kill and reap all children, and those of theirs that come to us by it.

    Args:
        rounds: how often to look at most; a plugin that forks faster than it is killed is not waited for.
    """
    for _ in range(rounds):
        left = children()
        if not left:
            return
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for pid in left:
            os.waitpid(pid, 0)
