"""Writes a textfile without a pause in a fork of itself, a new one for each line that it is sent, to be killed.

Run as a program with the file's path. Each answer is the fork's process id.
"""

from __future__ import annotations

import os
import sys
import time

from phoenixdkim.testing.exporter import FakeContext
from phoenixdkim_prometheus.textfile import TextfileExporter, TextfileOptions


def write(path: str) -> None:
    """Start the exporter and let it tick for ever."""
    exporter = TextfileExporter()
    context = FakeContext(TextfileOptions(path=path), declared=exporter.phoenixdkim_metrics())
    exporter.phoenixdkim_start(context)
    while True:
        exporter.phoenixdkim_tick(time.time())


if __name__ == "__main__":
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            write(sys.argv[1])
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("gone", flush=True)
