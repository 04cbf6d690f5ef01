"""How processes ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def ended_how(status: int, *, killed: bool = False) -> str:
    """Return how a process ended: ``signal SIGSEGV``, ``exit status 3`` or ``killed from outside (...)``.

    Args:
        status: what waitpid returned.
        killed: whether this daemon has sent SIGKILL.
    """
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) == signal.SIGKILL and not killed:
            return "killed from outside: signal SIGKILL, out of memory?"
        return f"signal {signal_name(os.WTERMSIG(status))}"
    if os.WIFEXITED(status):
        return f"exit status {os.WEXITSTATUS(status)}"
    return f"wait status {status:#x}"


def signal_name(number: int) -> str:
    """Return the name of a signal; real-time ones are counted from SIGRTMIN, as ``kill -l`` does."""
    try:
        return signal.Signals(number).name
    except ValueError:
        if signal.SIGRTMIN < number < signal.SIGRTMAX:
            return f"SIGRTMIN+{number - signal.SIGRTMIN}"
        return str(number)


def waited_for_processor(pid: int, most: float) -> float:
    """Return for how many seconds a process could have run and got no processor; 0 if the kernel does not say.

    An exporter runs when nothing else wants the processor: on a busy machine it is silent and does not hang. But one
    that starts many processes keeps itself waiting, so no more than ``most`` seconds are returned.
    """
    try:
        fields = Path(f"/proc/{pid}/schedstat").read_text().split()
    except OSError:
        return 0.0
    return min(int(fields[1]) / 1e9, most) if len(fields) > 1 else 0.0
