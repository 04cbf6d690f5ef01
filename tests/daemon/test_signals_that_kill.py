"""Exporters, workers and leaders that die by signals without names: they are named and replaced, and mail goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from daemon.house import House, alive, signed
from phoenixdkim.process_status import signal_name

NUMBERS = [
    signal.SIGSEGV,
    signal.SIGABRT,
    *(pytest.param(number, marks=pytest.mark.long) for number in (signal.SIGILL, signal.SIGBUS, signal.SIGSYS)),
]


def ended(house, what, number):
    return any(what in line and f"(signal {signal_name(number)})" in line for line in house.log().splitlines())


def until(house, what, timeout=120):
    deadline = time.monotonic() + timeout
    while not what():
        with contextlib.suppress(OSError):
            # The session may be that of the worker that was killed.
            assert signed(house.send())
        assert time.monotonic() < deadline, house.log()[-3000:]
        time.sleep(0.05)


@pytest.mark.parametrize("number", NUMBERS)
def test_whoever_is_killed_is_named_and_replaced(key, number):
    exporter = '[exporters.textfile]\npath = "{metrics}/x.prom"\ninterval = 0.5\n'
    with House(key, exporters=exporter) as house:
        until(house, (house.metrics / "x.prom").exists)
        worker = house.workers()[0]
        os.kill(worker, number)
        until(house, lambda: ended(house, f"worker {worker} ended", number) and len(house.workers()) == 2)
        leader = next(
            pid for pid, line in house.descendants().items() if "phoenixdkim run" in line and pid not in house.workers()
        )
        os.kill(leader, number)
        until(house, lambda: ended(house, f"leader {leader} ended", number) and not alive(leader))
        until(house, lambda: len(house.workers()) == 2)
        # The C library of a process may take signals 32 and 33; all others end an exporter.
        names = [number, *(signal.SIGRTMIN + offset for offset in (1, 17))] if number == signal.SIGSEGV else [number]
        for name in names:
            pid = next(pid for pid, line in house.descendants().items() if "exporters.process" in line)
            os.kill(pid, name)
            until(house, lambda name=name: ended(house, "exporter 'textfile' ended", name))
            until(house, lambda: any("exporters.process" in line for line in house.descendants().values()))
        assert house.stop() == 0
