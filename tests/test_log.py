"""The log never waits, never breaks a line, and counts what it loses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from phoenixdkim.log import Destination, Level, Log, printable, value
from requirement import requirement


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"plain", "plain"),
        (b"", '""'),
        (b"two words", '"two words"'),
        (b'a"b\\c', '"a\\"b\\\\c"'),
        (b"a=b", '"a=b"'),
        (b"line\r\nbreak", '"line\\\\r\\\\nbreak"'),
        (b"\x1b[31mred", '"\\\\x1b[31mred"'),
        (b"\xff", '"\\\\xff"'),
        ("ä".encode(), '"\\\\xe4"'),
        ("\u0430.example".encode(), '"\\\\u0430.example"'),
        ("\u202eevil".encode(), '"\\\\u202eevil"'),
        (b"%s%n", "%s%n"),
    ],
)
@requirement("E05")
def test_values_can_not_break_a_line(text, shown):
    """M14"""
    assert value(text) == shown and value(text).isascii()
    assert "\n" not in printable(text)


def child(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, **options)


def test_stderr_gets_lines_of_the_level_and_above():
    done = child(
        "from phoenixdkim.log import *\n"
        "log = Log(Destination.STDERR, Level.NOTICE)\n"
        "log.info('not this'); log.notice('this'); log.error('and\\nthis')\n"
    )
    assert done.stderr == "this\nand\\nthis\n"


def test_a_reader_that_does_not_read_costs_no_time_and_what_is_lost_is_counted():
    reading, writing = os.pipe()
    done = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nfrom phoenixdkim.log import *\nlost = []\nlog = Log(Destination.STDERR)\n"
            "log.on_lost = lambda: lost.append(1)\nbegun = time.monotonic()\n"
            "for n in range(5000): log.info(f'{n:04} ' + 'x' * 95)\n"
            "took = time.monotonic() - begun\nprint(took, flush=True)\nsys.stdin.read()\n"
            "log.info('last')\nleft = log.give_up()\nprint(len(lost))\n",
        ],
        stderr=writing,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    took = float(done.stdout.readline())
    assert took < 60, "nothing is read from the pipe"
    data = os.read(reading, 1 << 20)
    done.stdin.close()
    while chunk := os.read(reading, 1 << 20):
        data += chunk
    lost = int(done.stdout.readline())
    done.wait()
    done.stdout.close()
    os.close(reading)
    lines = data.decode().splitlines()
    assert lost > 3000
    assert len(lines) + lost == 5001
    assert [line for line in lines if len(line) != 100 and line != "last"] == [], "no line is broken"


def test_a_stream_socket_as_the_journal_gives_it():
    ours, theirs = socket.socketpair()
    done = subprocess.Popen(
        [sys.executable, "-c", "from phoenixdkim.log import *\nLog(Destination.STDERR).info('x')"], stderr=theirs
    )
    theirs.close()
    assert ours.recv(100) == b"x\n"
    done.wait()
    ours.close()


@pytest.mark.parametrize("kind", [Destination.SYSLOG, Destination.JOURNAL])
def test_datagram_destinations(tmp_path, monkeypatch, kind):
    path = str(tmp_path / "log")
    monkeypatch.setattr("phoenixdkim.log.SYSLOG", path)
    monkeypatch.setattr("phoenixdkim.log.JOURNAL", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        log = Log(kind)
        assert log.line(Level.WARNING, "a\nb")
        data = daemon.recv(4096)
        log._socket.close()
    if kind is Destination.SYSLOG:
        assert data == f"<20>phoenixdkim[{os.getpid()}]: a\\nb".encode()
    else:
        assert data.split(b"\n") == [
            b"PRIORITY=4",
            b"SYSLOG_IDENTIFIER=phoenixdkim",
            b"SYSLOG_FACILITY=2",
            b"MESSAGE=a\\nb",
            b"",
        ]


def test_a_destination_that_is_not_there_falls_back_to_stderr(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("phoenixdkim.log.SYSLOG", str(tmp_path / "none"))
    log = Log(Destination.SYSLOG)
    log.notice("hello")
    assert log.destination is Destination.STDERR
    time.sleep(0.05)


def test_auto_is_the_journal_only_when_stderr_is_connected_to_it(monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    assert Log(Destination.AUTO).destination is Destination.STDERR
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    monkeypatch.setattr("phoenixdkim.log.JOURNAL", "/nonexistent")
    assert Log(Destination.AUTO).destination is Destination.STDERR, "it is not there, so stderr after all"
