"""What an exporter's process sends is untrusted: each violation ends that process, and nothing else."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daemon.sleeper import sleeper
from phoenixdkim.daemon import hosts
from phoenixdkim.daemon.hosts import Host, PageStore, State
from phoenixdkim.exporters.messages import (
    CODEC,
    Checked,
    Log,
    Mismatch,
    Refused,
    Severity,
    Started,
    Stopped,
    TableFault,
)
from phoenixdkim.log import Level
from phoenixdkim.messages import MAX_OCTETS, Message
from phoenixdkim.process_status import signal_name

CHECKED = CODEC.encode(Checked(False, "'x' of package y 1", "[]"))
LOG = CODEC.encode(Log(Severity.INFO, "hello"))


class Lines:
    """A log that is looked into."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, level: Level, text: str) -> bool:
        self.lines.append(text)
        return True

    def error(self, text: str) -> None:
        self.lines.append(text)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(1e9 * self.now)


class Stage:
    """A host whose process sleeps, and the other end of its control channel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.log = Lines()
        self.ends: list[socket.socket] = []
        monkeypatch.setattr(hosts, "time", self.clock)
        monkeypatch.setattr(hosts, "spawn", self.spawn)
        self.store = PageStore("x")
        self.host = Host("x", {}, self.store, -1, None, lambda *_: None, self.log)  # type: ignore[arg-type]

    def spawn(self, *_: object, output: int) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ends.append(theirs)

        def prepare() -> None:
            os.setsid()
            for end in self.ends:
                end.close()

        pid = sleeper(prepare)
        return pid, ours

    def send(self, *data: bytes) -> None:
        for one in data:
            self.ends[-1].send(one)
        self.host.take_messages()

    def received(self) -> list[dict[str, Any]]:
        found = []
        while True:
            try:
                found.append(json.loads(self.ends[-1].recv(MAX_OCTETS, socket.MSG_DONTWAIT)))
            except BlockingIOError:
                return found

    def reap(self) -> int:
        """The signal that ended the process."""
        _, status = os.waitpid(self.host.pid, 0)
        self.host.ended(status)
        return os.WTERMSIG(status)

    def run(self) -> None:
        self.send(CHECKED)
        self.host.start()
        assert self.host.state is State.RUNNING

    @property
    def deaths(self) -> int:
        return self.store.record.read().deaths

    @property
    def up(self) -> int:
        return self.store.record.read().up

    def close(self) -> None:
        if self.host.pid:
            self.host.kill()
            os.waitpid(self.host.pid, 0)
        if self.host.client is not None:
            self.host.client.close()
        if self.host.output is not None:
            self.host.output.close()
        for end in self.ends:
            end.close()
        self.store.close()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage(monkeypatch)
    yield made
    made.close()


def checking(_: Stage) -> None:
    """The process has been asked to check its table."""


def checked(stage: Stage) -> None:
    """The process waits to be started."""
    stage.send(CHECKED)


def running(stage: Stage) -> None:
    """The exporter runs."""
    stage.run()
    stage.send(CODEC.encode(Started()))


def stopping(stage: Stage) -> None:
    """The exporter is to stop."""
    running(stage)
    stage.host.stop()


def wire(message: Message, **changed: object) -> bytes:
    return json.dumps(json.loads(CODEC.encode(message)) | changed).encode()


FAULT = {"path": ["x"], "message": "m", "kind": "", "value": "", "known": [], "context": [], "refuses": True}

ALWAYS_WRONG = {
    "empty": b"",
    "no JSON": b"hello",
    "a number": b"1",
    "a list": b'["checked"]',
    "null": b"null",
    "NaN": b"NaN",
    "deep": b"[" * 200_000,
    "deep object": b'{"log":' * 30_000 + b"1",
    "no version": b'{"kind": "log", "severity": "info", "text": "x"}',
    "no kind": b'{"version": 1}',
    "unknown kind": b'{"version": 1, "kind": "exec"}',
    "ours": wire(Started(), kind="start"),
    "ours with a field": wire(Started(), kind="stop", seconds=1),
    "level as number": wire(Log(Severity.INFO, "x"), severity=40),
    "level unknown": wire(Log(Severity.INFO, "x"), severity="fatal"),
    "text as list": wire(Log(Severity.INFO, "x"), text=["x"]),
    "text too long": wire(Log(Severity.INFO, "x"), text="x" * 100_000),
    "old log": b'{"log": [20, "x"]}',
    "too long": b" " * (MAX_OCTETS + 1),
    "repeated key": LOG[:-1] + b', "text": "y"}',
    "stop_timeout": wire(Stopped(), stop_timeout=1e308),
    "binary": bytes(range(256)),
}
WRONG_ANSWERS = {
    "checked as text": wire(Checked(False, "x", "[]"), wants_samples="yes"),
    "plugin missing": b'{"version": 1, "kind": "checked", "wants_samples": false, "metrics": "[]"}',
    "plugin empty": wire(Checked(False, " ", "[]")),
    "stop_timeout as text": wire(Checked(False, "x", "[]"), stop_timeout="long"),
    "stop_timeout enormous": wire(Checked(False, "x", "[]"), stop_timeout=10**400),
    "metrics no JSON": wire(Checked(False, "x", "no")),
    "metrics a number": wire(Checked(False, "x", "1")),
    "metrics deep": wire(Checked(False, "x", "[" * 100_000)),
    "metrics of the core": wire(
        Checked(
            False,
            "x",
            json.dumps(
                [
                    {
                        "name": "phoenixdkim_messages_total",
                        "kind": "counter",
                        "help": "x",
                        "dotted": "exporter_x",
                        "series": [[]],
                    }
                ]
            ),
        )
    ),
    "no faults": wire(Refused(()), faults=[]),
    "faults as text": wire(Refused(()), faults="many"),
    "a fault elsewhere": wire(Refused(()), faults=[FAULT | {"path": ["other"]}]),
    "a fault nowhere": wire(Refused(()), faults=[FAULT | {"path": []}]),
    "a fault's path": wire(Refused(()), faults=[FAULT | {"path": ["x", {}]}]),
    "too many faults": wire(Refused(()), faults=[FAULT] * 101),
    "started before start": CODEC.encode(Started()),
    "stopped before stop": CODEC.encode(Stopped()),
}
WRONG_LATER = {
    "checked twice": CHECKED,
    "refused after checked": CODEC.encode(Refused((TableFault(("x",), "m"),))),
    "mismatch after checked": CODEC.encode(Mismatch()),
}
CASES = [
    *((state, name, data) for state in (checking, checked, running, stopping) for name, data in ALWAYS_WRONG.items()),
    *((checking, name, data) for name, data in WRONG_ANSWERS.items()),
    *((state, name, data) for state in (checked, running, stopping) for name, data in WRONG_LATER.items()),
    (checked, "started before start", CODEC.encode(Started())),
    (checked, "stopped before stop", CODEC.encode(Stopped())),
    (running, "started twice", CODEC.encode(Started())),
    (running, "stopped before stop", CODEC.encode(Stopped())),
]


@pytest.mark.parametrize(("state", "name", "data"), CASES, ids=[f"{state.__name__}-{name}" for state, name, _ in CASES])
def test_a_violation_kills_that_process_and_is_named_and_counted(
    stage: Stage, state: Callable[[Stage], None], name: str, data: bytes
) -> None:
    state(stage)
    stage.ends[-1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_OCTETS)
    stage.send(data)
    assert any(line.startswith("exporter 'x' sent an invalid message (") for line in stage.log.lines), name
    assert stage.reap() == signal.SIGKILL
    assert stage.deaths == 1
    assert stage.up == 0
    assert all(line.isprintable() and len(line) < 1000 for line in stage.log.lines)


def test_a_killed_exporter_comes_back_after_the_usual_pause(stage: Stage) -> None:
    pauses = []
    for _ in range(8):
        stage.run()
        stage.send(b"rubbish")
        assert stage.reap() == signal.SIGKILL
        begun = stage.clock.now
        while not stage.host.pid:
            stage.host.watch()
            stage.clock.now += 0.5
        pauses.append(round(stage.clock.now - begun))
    assert pauses == sorted(pauses)
    assert (pauses[0] <= 2, pauses[-1] >= 60) == (True, True)
    stage.run()
    assert stage.host.state is State.RUNNING


@pytest.mark.parametrize("data", [CODEC.encode(Mismatch()), b'{"version": 2, "kind": "mismatch"}', b'{"version": 9}'])
def test_another_version_is_down_until_the_daemon_is_restarted(stage: Stage, data: bytes) -> None:
    stage.send(data)
    assert stage.reap() == signal.SIGKILL
    stage.host.start()
    for _ in range(10):
        stage.clock.now += 1000
        stage.host.watch()
    assert len(stage.ends) == 1, "it is not started again"
    assert stage.host.state is State.MISMATCHED
    (line,) = stage.log.lines
    assert line.startswith("exporter 'x' is down: ")
    assert line.endswith("; restart the daemon")
    assert stage.up == 0


def test_a_flood_of_messages_kills(stage: Stage) -> None:
    stage.run()
    sent = 0
    while not any("too many messages" in line for line in stage.log.lines):
        stage.send(LOG)
        sent += 1
        assert sent < 5000
    assert stage.reap() == signal.SIGKILL
    assert sum("hello" in line for line in stage.log.lines) <= 21


def test_what_an_honest_exporter_logs_is_no_flood(stage: Stage) -> None:
    stage.run()
    for _ in range(4000):
        stage.send(LOG)
        stage.clock.now += 1.0
    assert stage.host.state is State.RUNNING
    assert not any("killed" in line for line in stage.log.lines)


def test_descriptors_are_never_taken_over(stage: Stage) -> None:
    stage.run()
    before = len(os.listdir("/proc/self/fd"))
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        socket.send_fds(stage.ends[-1], [LOG], [null] * 10)
    except PermissionError:
        # Linux 6.16 and later refuse them to the sender.
        assert stage.host.state is State.RUNNING
    else:
        stage.host.take_messages()
        assert stage.reap() == signal.SIGKILL
    os.close(null)
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("state", [checking, checked, running])
def test_one_that_closes_its_channel_and_goes_on_is_killed(stage: Stage, state: Callable[[Stage], None]) -> None:
    state(stage)
    stage.ends[-1].close()
    stage.host.take_messages()
    stage.host.watch()
    stage.clock.now += 5
    stage.host.watch()
    assert "exporter 'x' closed its control channel; killed" in stage.log.lines
    assert stage.reap() == signal.SIGKILL
    assert stage.deaths == 1


def test_one_that_does_not_read_is_killed(stage: Stage) -> None:
    stage.send(CHECKED)
    for _ in range(100_000):
        stage.host.tell_peers({"x" * 60: stage.store})
        if "exporter 'x' does not read its control channel; killed" in stage.log.lines:
            break
    assert stage.reap() == signal.SIGKILL


def test_what_is_sent_before_the_word_to_stop_arrives_is_no_violation(stage: Stage) -> None:
    stage.host.stop()
    stage.send(CHECKED, LOG, CODEC.encode(Stopped()))
    assert stage.host.state is State.STOPPING
    assert not any("killed" in line for line in stage.log.lines)


@pytest.mark.parametrize(("limit", "seconds"), [(math.inf, 2.0), (100.0, 2.0), (1.5, 1.5), (0.0, 0.0), (-5.0, 0.0)])
def test_the_time_to_stop_is_capped(stage: Stage, limit: float, seconds: float) -> None:
    stage.run()
    deadline = stage.host.stop(max(0.0, limit))
    assert deadline == stage.clock.now + seconds + 0.5
    assert stage.received()[-1]["seconds"] == seconds


def test_a_start_and_a_stop_may_cross(stage: Stage) -> None:
    stage.run()
    stage.host.stop()
    stage.send(CODEC.encode(Started()), CODEC.encode(Stopped()))
    assert not any("killed" in line for line in stage.log.lines)
    assert [message["kind"] for message in stage.received()] == ["check", "start", "stop"]


@pytest.mark.parametrize("table", [{"a": float("nan")}, {"a": [{"b": None}]}, {"a": "x" * MAX_OCTETS}, {"a": 2**70}])
def test_a_table_that_cannot_be_sent_refuses_the_exporter(
    monkeypatch: pytest.MonkeyPatch, table: dict[str, object]
) -> None:
    monkeypatch.setattr(hosts, "spawn", lambda *_: pytest.fail("no process for it"))
    store = PageStore("x")
    log = Lines()
    host = Host("x", table, store, -1, None, lambda *_: None, log)  # type: ignore[arg-type]
    assert host.state is State.REFUSED
    assert host.faults[0].path[0] == "x"
    host.start()
    host.watch()
    assert log.lines == [f"exporter 'x': {host.faults[0].message}"]
    store.close()


QUIET = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
LIBC = (32, 33)
"""Signals that the C library takes for itself as soon as a process has threads."""


@pytest.mark.parametrize("number", [number for number in range(1, 65) if number not in QUIET + STOPPING + LIBC])
def test_a_death_by_any_signal_is_named(stage: Stage, number: int) -> None:
    stage.run()
    os.kill(stage.host.pid, number)
    assert stage.reap() == number
    how = "killed from outside: signal SIGKILL, out of memory?" if number == 9 else f"signal {signal_name(number)}"
    assert f"exporter 'x' ended unasked ({how}); " in stage.log.lines[-1]
    assert (stage.host.state, stage.deaths) == (State.DOWN, 1)
