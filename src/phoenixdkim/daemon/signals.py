"""Signals of the supervisor: which stop, which reload, and which mean nothing here.

A signal nobody meant for us must not end mail service, so everything else that can be ignored is. Leader and workers
inherit that; exporters get the system's defaults back, for a plugin may use timers.
"""

from __future__ import annotations

import signal
from typing import Final

STOP: Final = frozenset({signal.SIGTERM, signal.SIGINT})
RELOAD: Final = frozenset({signal.SIGHUP, signal.SIGUSR1})
"""OpenDKIM reloads on SIGUSR1; scripts that were written for it go on working."""
_CHILD: Final = frozenset({signal.SIGCHLD})
_FAULTS: Final = frozenset(
    {
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGSEGV,
        signal.SIGSYS,
    }
)
"""The kernel sends them for an error of the program itself; to go on would be wrong."""
_UNTOUCHABLE: Final = frozenset({signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT})


def ignored() -> frozenset[int]:
    """Signals that the daemon ignores, real-time ones included."""
    return frozenset(signal.valid_signals()) - STOP - RELOAD - _CHILD - _FAULTS - _UNTOUCHABLE


class SignalNotes:
    """Notes signals until somebody acts on them; none is lost, from the first moment on."""

    def __init__(self) -> None:
        """Note nothing yet; see ``install``."""
        self._noted: set[int] = set()

    def install(self) -> None:
        """Take over all signals that would end the process otherwise."""
        for number in STOP | RELOAD | _CHILD:
            signal.signal(number, self._note)
        for other in ignored():
            signal.signal(other, signal.SIG_IGN)

    def _note(self, number: int, _frame: object) -> None:
        self._noted.add(number)

    @property
    def stopping(self) -> bool:
        """Whether the daemon should stop. That is never taken back."""
        return not self._noted.isdisjoint(STOP)

    def take_reload(self) -> bool:
        """Return whether a reload was asked for since the last call."""
        asked = not self._noted.isdisjoint(RELOAD)
        self._noted -= RELOAD
        return asked


def ignore_all() -> None:
    """Ignore what the supervisor acts on for its children too: a terminal signals the whole group."""
    for number in STOP | RELOAD:
        signal.signal(number, signal.SIG_IGN)
    for other in ignored():
        signal.signal(other, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
