"""Signals: which stop, which reload, and that no other harms; also while the daemon starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.house import House, alive, signed
from interop.peers import KeyPair
from phoenixdkim.daemon.signals import RELOAD, STOP, ignored

pytestmark = pytest.mark.usefixtures("unmeasured")

PHOENIXDKIM = Path(sys.executable).with_name("phoenixdkim")


@pytest.fixture
def house(key: KeyPair) -> Iterator[House]:
    with House(key) as running:
        yield running


def test_what_is_ignored_is_all_but_a_known_few() -> None:
    kept = {signal.Signals(number).name for number in set(signal.valid_signals()) - ignored()}
    assert kept == {
        *("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGCHLD", "SIGKILL", "SIGSTOP", "SIGCONT"),
        *("SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGSYS"),
    }
    assert {signal.SIGRTMIN, signal.SIGRTMAX, 40, signal.SIGUSR2, signal.SIGPIPE, signal.SIGQUIT} <= ignored()


@pytest.mark.parametrize("group", [False, True], ids=["supervisor", "group"])
def test_signals_that_are_not_meant_for_us_change_nothing(house: House, group: bool) -> None:
    before = set(house.descendants())
    for number in ignored():
        house.signal(number, group)
    assert signed(house.send())
    assert set(house.descendants()) == before
    house.signal(signal.SIGUSR1)
    house.wait_for("reloaded: ")
    assert "ended unasked" not in house.log()
    assert house.stop() == 0


def test_leader_and_workers_ignore_what_the_supervisor_acts_on_too(house: House) -> None:
    before = set(house.descendants())
    for pid in before:
        for number in (*STOP, *RELOAD, *ignored()):
            os.kill(pid, number)
    assert signed(house.send())
    time.sleep(0.5)
    assert set(house.descendants()) == before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_reload_signal_reloads(house: House, number: int) -> None:
    house.signal(number)
    house.wait_for("reloaded: unchanged")
    house.config.write_text(house.text + "# changed\n")
    house.signal(number)
    house.wait_for("reloaded: rules 1, keys 1, trusted 2\n")
    assert signed(house.send())


def starting(house: House) -> subprocess.Popen[bytes]:
    with house.log_file.open("ab") as log:
        house.process = subprocess.Popen([PHOENIXDKIM, "run", "-c", house.config], stdout=log, stderr=log)
    # Its first own code runs when the interpreter is up; before that a signal does what the system says.
    deadline = time.monotonic() + 60
    while not _ignores(house.process.pid, signal.SIGUSR2):
        assert time.monotonic() < deadline
    return house.process


def _ignores(pid: int, number: int) -> bool:
    rows = dict(row.split(":", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(rows["SigIgn"], 16) & (1 << (number - 1)))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("after", [0.0, 0.2, 0.4, 0.6])
def test_a_reload_that_is_asked_for_during_the_start_follows_it(key: KeyPair, number: int, after: float) -> None:
    house = House(key)
    try:
        process = starting(house)
        time.sleep(after)
        process.send_signal(number)
        house.wait_for("listening on")
        house.wait_for("reloaded: ")
        assert signed(house.send())
    finally:
        house.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("after", [0.0, 0.2, 0.4, 0.6])
def test_a_stop_during_the_start_ends_it_and_leaves_nothing(key: KeyPair, number: int, after: float) -> None:
    house = House(key, exporters='[exporters.textfile]\npath = "{metrics}/x.prom"\n')
    try:
        process = starting(house)
        time.sleep(after)
        left = house.descendants()
        process.send_signal(number)
        assert process.wait(60) == 0, house.log()
        assert not any(alive(pid) for pid in left)
        assert not (house.base / "milter.sock").exists()
        assert not (house.base / "control.sock").exists()
        assert "Traceback" not in house.log()
    finally:
        house.close()


def test_an_exporter_has_the_systems_defaults_but_for_signals_of_the_group(key: KeyPair) -> None:
    with House(key, exporters='[exporters.textfile]\npath = "{metrics}/x.prom"\n') as house:
        (exporter,) = [pid for pid, line in house.descendants().items() if "exporters.process" in line]
        ignores = {number for number in signal.valid_signals() if _ignores(exporter, number)}
        # Python itself ignores the last two.
        assert {signal.Signals(number).name for number in ignores} == {
            *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTSTP", "SIGTTIN", "SIGTTOU"),
            *("SIGPIPE", "SIGXFSZ"),
        }
