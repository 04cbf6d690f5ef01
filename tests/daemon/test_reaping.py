"""Children are reaped and their state kept, whatever is raised on the way."""

from __future__ import annotations

import os
import resource
import signal
import time
from types import SimpleNamespace

import pytest

from daemon.sleeper import sleeper
from daemon.test_hosts import Stage
from phoenixdkim import events
from phoenixdkim.channel import channel_pair
from phoenixdkim.daemon.children import Children
from phoenixdkim.daemon.fence import Fence
from phoenixdkim.daemon.generation import Leader, _Worker
from phoenixdkim.daemon.generations import Generation
from phoenixdkim.daemon.hosts import State
from phoenixdkim.daemon.lifeline import lifeline
from phoenixdkim.daemon.messages import CODEC, Fenced, Parked, Restarted
from phoenixdkim.daemon.reaper import Reaper
from phoenixdkim.exporters.messages import CODEC as EXPORTER_CODEC
from phoenixdkim.exporters.messages import Refused, TableFault
from phoenixdkim.ledger import Ledger
from phoenixdkim.process_status import signal_name


def ended_child(number=signal.SIGKILL):
    pid = sleeper()
    os.kill(pid, number)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


class Broken:
    """An exporter whose end can't be dealt with."""

    def __init__(self, pid, *, sweep=False, words=False, ended=False):
        self.name = "broken"
        self.pid = pid
        self.client = None
        self.output = None
        self._raises = (sweep, words, ended)

    def sweep(self):
        if self._raises[0]:
            raise PermissionError("no")

    def take_messages(self):
        if self._raises[1]:
            raise ValueError("no")

    def ended(self, status):
        if self._raises[2]:
            raise OverflowError("too large")
        self.pid = 0


@pytest.fixture
def pair():
    """Makes channels, and closes them in the end."""
    made = []

    def make():
        made.extend(ends := channel_pair(CODEC))
        return ends

    yield make
    for end in made:
        end.close()


LOADING = SimpleNamespace(crash=lambda how: [], hang=lambda now: [], close=lambda: None)


def how(number):
    return "killed from outside: signal SIGKILL, out of memory?" if number == 9 else f"signal {signal_name(number)}"


@pytest.fixture
def children():
    made = Children(Ledger(0.0), lambda event: made.counted.append(event), lambda line: made.lines.append(line))
    made.counted, made.lines = [], []
    yield made
    made._wake.close()
    made._wakeup.close()


@pytest.mark.parametrize(
    ("sweep", "words", "ended"), [(True, False, False), (False, True, False), (False, False, True), (True, True, True)]
)
def test_an_exporter_whose_end_raises_is_reaped_and_so_are_the_others(children, sweep, words, ended):
    children.hosts = {
        "broken": Broken(ended_child(), sweep=sweep, words=words, ended=ended),
        "good": Broken(ended_child(signal.SIGSEGV)),
    }
    children.listen(0)
    assert [host.pid for host in children.hosts.values()] == [0, 0]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert children.counted == [events.InternalError(events.Stage.PROCESSES)] * (sweep + words + ended)
    assert len(children.lines) == sweep + words + ended


@pytest.mark.parametrize("number", [1, 9, 11, 34, 35, 49, 63, 64])
def test_a_leader_that_dies_by_any_signal_is_named(children, pair, number):
    lines: list[str] = []
    ours, theirs = pair()
    ends, left = lifeline()
    pid = ended_child(number)
    generation = Generation(1, pid, ours, ends, range(1, 2), LOADING, SimpleNamespace(error=lines.append), ready=True)
    children.generations = [generation]
    theirs.close()
    left.close()
    deadline = time.monotonic() + 60
    while children.generations:
        children.listen(0.05)
        assert time.monotonic() < deadline
    assert lines == [f"leader {pid} ended unasked ({how(number)})"]


def test_a_leader_whose_end_raises_is_reaped(children, pair, monkeypatch):
    monkeypatch.setattr(children._ledger, "release", lambda stripe: 1 / 0)
    ours, theirs = pair()
    ends, left = lifeline()
    theirs.close()
    left.close()
    # It has no log, which raises too.
    children.generations = [Generation(1, ended_child(11), ours, ends, range(1, 2), LOADING, None, ready=True)]
    deadline = time.monotonic() + 60
    while children.generations:
        children.listen(0.05)
        assert time.monotonic() < deadline
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert len(children.counted) == 2


@pytest.mark.parametrize("data", [b"rubbish", b"", b'{"version": 2, "kind": "ready"}', b"[" * 100_000])
def test_a_leader_that_sends_anything_else_is_killed(children, pair, data):
    ours, theirs = pair()
    ends, left = lifeline()
    pid = sleeper()
    left.close()
    lines: list[str] = []
    generation = Generation(1, pid, ours, ends, range(1, 2), LOADING, SimpleNamespace(error=lines.append))
    children.generations = [generation]
    theirs.socket.send(data)
    children.listen(0)
    deadline = time.monotonic() + 60
    while children.generations:
        children.listen(0.05)
        assert time.monotonic() < deadline
    assert lines[0].startswith("the leader sent an invalid message (")


def leader(ledger, lines, pair):
    ours, theirs = pair()
    made = Leader(None, theirs, None, None, ledger, [], SimpleNamespace(error=lines.append), os.getpid())
    return made, ours


@pytest.mark.parametrize("number", [1, 9, 11, 34, 35, 49, 63, 64])
def test_a_worker_that_dies_by_any_signal_is_named(pair, number):
    lines: list[str] = []
    made, supervisor = leader(Ledger(0.0), lines, pair)
    pid = ended_child(number)
    made.workers = {pid: _Worker(pid, pair()[0], 3, 0.0)}
    made.reap()
    assert (made.workers, made.stripes) == ({}, [3])
    assert lines == [f"worker {pid} ended unasked ({how(number)}); replacing it"]
    assert supervisor.receive((Restarted,)) == Restarted(pid)


def test_a_worker_whose_end_raises_is_reaped_and_replaced(pair):
    def release(stripe):
        raise OverflowError("too large")

    lines: list[str] = []
    made, supervisor = leader(SimpleNamespace(release=release), lines, pair)
    pids = [ended_child(), ended_child()]
    made.workers = {pid: _Worker(pid, pair()[0], stripe, 0.0) for stripe, pid in enumerate(pids)}
    made.reap()
    assert (made.workers, sorted(made.stripes)) == ({}, [0, 1])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    found = [supervisor.receive((Restarted, Fenced)) for _ in range(4)]
    assert sum(isinstance(message, Restarted) for message in found) == 2
    assert sum(isinstance(message, Fenced) for message in found) == 2


@pytest.mark.parametrize("data", [b"rubbish", b"", b"null", CODEC.encode(Restarted(1))])
def test_a_worker_that_sends_anything_else_is_killed(pair, data):
    lines: list[str] = []
    made, _ = leader(Ledger(0.0), lines, pair)
    ours, theirs = pair()
    pid = sleeper(theirs.close)
    made.workers = {pid: _Worker(pid, ours, 3, 0.0)}
    theirs.socket.send(data)
    made.listen(0)
    deadline = time.monotonic() + 60
    while made.workers:
        made.reap()
        assert time.monotonic() < deadline
    assert lines[0].startswith(f"worker {pid} sent an invalid message (")


def test_a_worker_that_closes_its_channel_and_goes_on_is_killed(pair, monkeypatch):
    monkeypatch.setattr("phoenixdkim.daemon.generation._HUNG_UP", 0.01)
    lines: list[str] = []
    made, _ = leader(Ledger(0.0), lines, pair)
    ours, theirs = pair()
    pid = sleeper(theirs.close)
    made.workers = {pid: _Worker(pid, ours, 3, 0.0)}
    theirs.send(Parked())
    theirs.close()
    deadline = time.monotonic() + 60
    while made.workers:
        made.listen(0.01)
        made.reap()
        assert time.monotonic() < deadline
    assert f"worker {pid} closed its control channel; killed" in lines


def test_the_last_words_of_a_process_that_has_ended_count(monkeypatch):
    """One that is refused says so and ends at once, perhaps before it is listened to."""
    stage = Stage(monkeypatch)
    refused = Refused((TableFault(("x",), "no such option"),))
    stage.ends[-1].send(EXPORTER_CODEC.encode(refused))
    os.kill(stage.host.pid, signal.SIGKILL)
    os.waitid(os.P_PID, stage.host.pid, os.WEXITED | os.WNOWAIT)
    reaper = Reaper(Fence(stage.log.error, lambda event: None), Ledger(0.0), lambda generation: None)
    reaper.reap([stage.host], [])
    assert stage.host.state is State.REFUSED
    assert stage.host.reason == "no such option"
    assert not any("ended" in line for line in stage.log.lines)
    stage.close()


def test_children_are_reaped_when_no_descriptor_is_left(children):
    children.hosts = {"one": Broken(ended_child())}
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, limits[1]))
    taken = []
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        children.listen(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in taken:
            os.close(fd)
    assert children.hosts["one"].pid == 0
