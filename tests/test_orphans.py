"""All children are ended, also those that cannot be reaped yet."""

from __future__ import annotations

import subprocess
import sys

TRACED = """
import ctypes, os, signal, sys, time
from phoenixdkim.orphans import children, end_children
from phoenixdkim.prctl import adopt_orphans
SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
adopt_orphans()
reading, writing = os.pipe()
depth = int(sys.argv[1])
if (pid := os.fork()) == 0:
    traced = os.getpid()
    libc.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
    for _ in range(depth):
        if os.fork():
            time.sleep(1000)
        os.setsid()
    os.write(writing, b"%d" % libc.ptrace(SEIZE, traced, 0, 0))
    time.sleep(1000)
if os.read(reading, 10) != b"0":
    print("not allowed")
os.kill(pid, signal.SIGKILL)
# Longer than it takes on any machine; a tracer that is not ended keeps it for ever.
end_children(60)
print(children())
"""


def test_a_child_that_a_child_of_its_own_traces_is_ended() -> None:
    """Such a child is not reaped by anybody before its tracer has ended."""
    for depth in (1, 3):
        found = subprocess.run(
            [sys.executable, "-c", TRACED, str(depth)], capture_output=True, text=True, timeout=120, check=True
        )
        assert found.stdout.splitlines()[-1] == "[]"
