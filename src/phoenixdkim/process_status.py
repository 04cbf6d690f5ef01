"""How processes ended."""

from __future__ import annotations

import os
import signal


def ended_how(status: int) -> str:
    """Return how a process ended, from what waitpid said: ``signal SIGSEGV`` or ``exit status 3``."""
    if os.WIFSIGNALED(status):
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
