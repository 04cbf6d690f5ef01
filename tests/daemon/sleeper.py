"""A child process that sleeps until a signal ends it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable


def sleeper(prepare: Callable[[], object] = lambda: None) -> int:
    """Start a process that every signal ends; returns its pid once it has prepared itself."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        return pid
    try:
        for number in {*range(1, 65)} - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
            signal.signal(number, signal.SIG_DFL)
        prepare()
        os.write(writing, b".")
        time.sleep(120)
    finally:
        os._exit(0)
