"""How processes ended."""

from __future__ import annotations

import os
import signal


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
