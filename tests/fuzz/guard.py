"""Around one execution: its processor time, and a file for an input that fails."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

FINDINGS: Final = Path(__file__).resolve().parents[2] / ".fuzz"

MAX_SECONDS: Final = 1.0
"""Processor time that one input may take."""


class TooSlowError(AssertionError):
    """An input took more than ``MAX_SECONDS``."""


class Guard:
    """Calls a target; what it raises ends the process, after the input was written to a file.

    Args:
        target: its name.
        execute: takes one input.
        keep: write the input and end; False to let the exception through.
    """

    def __init__(self, target: str, execute: Callable[[bytes], None], *, keep: bool = True) -> None:
        self._target = target
        self._execute = execute
        self._keep = keep
        self._running = False
        signal.signal(signal.SIGVTALRM, self._alarm)

    def _alarm(self, *_: object) -> None:
        if self._running:
            raise TooSlowError(f"more than {MAX_SECONDS} s of processor time")

    def __call__(self, data: bytes) -> None:
        # The alarm breaks endless loops; the clock sees what a long call into C hid from it.
        signal.setitimer(signal.ITIMER_VIRTUAL, MAX_SECONDS)
        started = time.process_time()
        self._running = True
        try:
            self._execute(data)
            self._running = False
            spent = time.process_time() - started
            if spent > MAX_SECONDS:
                raise TooSlowError(f"{spent:.2f} s of processor time")
        except BaseException:
            self._running = False
            if not self._keep:
                raise
            path = write(self._target, data)
            traceback.print_exc()
            print(f"input: {path}\nreplay: scripts/fuzz {self._target} --replay {path}", file=sys.stderr, flush=True)
            os._exit(1)


def write(target: str, data: bytes) -> Path:
    """Keep an input."""
    FINDINGS.mkdir(exist_ok=True)
    path = FINDINGS / f"{target}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path.relative_to(FINDINGS.parent)
