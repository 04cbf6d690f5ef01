"""How processes ended, for every signal."""

from __future__ import annotations

import os
import signal
import time

import pytest

from phoenixdkim.process_status import ended_how, signal_name, waited_for_processor

QUIET = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
LIBC = {32, 33}
"""Signals that the C library takes for itself as soon as a process has threads."""


def status_of(number: int) -> int:
    pid = os.fork()
    if pid == 0:
        if number not in (signal.SIGKILL, 32, 33):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("number", [n for n in range(1, 65) if n not in QUIET | STOPPING | LIBC])
def test_every_signal_that_kills_has_a_name(number):
    assert ended_how(status_of(number), killed=True) == f"signal {signal_name(number)}"


def test_names():
    assert signal_name(11) == "SIGSEGV"
    assert signal_name(32) == "32"
    assert [signal_name(number) for number in (34, 35, 50, 63, 64)] == [
        "SIGRTMIN",
        "SIGRTMIN+1",
        "SIGRTMIN+16",
        "SIGRTMIN+29",
        "SIGRTMAX",
    ]


def test_any_status_has_a_text():
    assert all(ended_how(status) for status in range(65536))


def test_exit_statuses():
    assert [ended_how(number) for number in (32, 33)] == ["signal 32", "signal 33"]
    assert ended_how(0) == "exit status 0"
    assert ended_how(255 << 8) == "exit status 255"
    assert ended_how(0x8B) == "signal SIGSEGV", "with a core dump"
    assert ended_how(0x137F) == "wait status 0x137f", "stopped, which waitpid says only when asked"


def test_a_kill_that_is_not_ours_is_told_from_one_that_is():
    assert ended_how(9) == "killed from outside: signal SIGKILL, out of memory?"
    assert ended_how(9, killed=True) == "signal SIGKILL"
    assert ended_how(15) == ended_how(15, killed=True) == "signal SIGTERM"


def test_a_process_that_gets_no_processor_is_told_from_one_that_sleeps():
    pids = []
    for policy in (os.SCHED_IDLE, os.SCHED_OTHER):
        pid = os.fork()
        if pid == 0:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            os.sched_setscheduler(0, policy, os.sched_param(0))
            while True:
                pass
        pids.append(pid)
    sleeper = os.fork()
    if sleeper == 0:
        signal.pause()
    try:
        deadline = time.monotonic() + 60
        while waited_for_processor(pids[0], 9.0) < 0.5:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert waited_for_processor(sleeper, 9.0) < 0.5
        assert waited_for_processor(pids[0], 0.1) == 0.1
    finally:
        for pid in [*pids, sleeper]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert waited_for_processor(pids[0], 9.0) == 0.0
