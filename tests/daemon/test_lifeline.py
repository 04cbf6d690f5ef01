"""The lifeline ends when the last process of a generation does; what is written to shared memory changes nothing."""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.house import House, alive, signed
from interop.peers import KeyPair
from phoenixdkim import ledger
from phoenixdkim.daemon.lifeline import lifeline
from phoenixdkim.daemon.messages import Deadlines


def test_a_beat_is_seen_and_the_end_is_that_of_the_last_holder() -> None:
    ours, theirs = lifeline()
    ours.take_beats(5.0)
    assert (ours.last_beat, ours.ended) == (0.0, False)
    pids = []
    for _ in range(2):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            ours.close()
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        os.close(read)
        pids.append((pid, write))
    theirs.beat()
    theirs.close()
    ours.take_beats(6.0)
    assert (ours.last_beat, ours.ended) == (6.0, False)
    for pid, write in pids:
        ours.take_beats(7.0)
        assert not ours.ended
        os.write(write, b"x")
        os.waitpid(pid, 0)
        os.close(write)
    # The first child holds the second pipe's end too; both are gone now.
    ours.take_beats(8.0)
    assert (ours.last_beat, ours.ended) == (6.0, True)
    ours.close()


def test_each_holder_sees_all_orders() -> None:
    ours, theirs = lifeline()
    assert theirs.orders() == []
    first, second = Deadlines(300, 600), Deadlines(0, 25, True)
    ours.order(first)
    assert theirs.orders() == [first]
    ours.order(second)
    assert theirs.orders() == theirs.orders() == [first, second]
    for _ in range(1000):
        ours.order(second)
    assert theirs.orders()[0] == first
    ours.close()
    theirs.close()


def test_nobody_waits_for_the_other_side() -> None:
    ours, theirs = lifeline()
    for _ in range(200_000):
        theirs.beat()
    ours.take_beats(1.0)
    assert ours.last_beat == 1.0
    ours.close()
    theirs.beat()
    assert theirs.orders() == []
    theirs.close()


class Page:
    """The counters of a running daemon, written as a process of the same user could that got hold of them."""

    def __init__(self, pid: int) -> None:
        line = next(row for row in Path(f"/proc/{pid}/maps").read_text().splitlines() if "phoenixdkim-ledger" in row)
        self._start = int(line.split("-")[0], 16)
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)

    def write(self, word: int, value: int) -> None:
        os.pwrite(self._memory, struct.pack("Q", value), self._start + 8 * word)

    def close(self) -> None:
        os.close(self._memory)

    def spoil(self, value: Callable[[], int]) -> None:
        # Magic, digest and number of stripes come first: with others no exporter would read anything.
        for word in range(3, ledger._HEADER_WORDS):
            self.write(word, value())
        for stripe in range(ledger.STRIPES):
            for word in range(ledger._STRIPE_HEADER_WORDS):
                self.write(ledger._HEADER_WORDS + stripe * ledger._STRIPE_WORDS + word, value())


@pytest.fixture
def house(key: KeyPair) -> Iterator[House]:
    with House(key) as running:
        yield running


def eventually(what: str, look: Callable[[], object], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("value", ["random", "supervisor", "worker", 0, 1, 2**63, 2**64 - 2, 2**64 - 1])
def test_reload_stop_and_replacement_keep_their_limits_whatever_the_counters_say(
    house: House, value: str | int
) -> None:
    fixed = {"supervisor": house.pid, "worker": house.workers()[0]}.get(str(value), value)
    page = Page(house.pid)
    ending = threading.Event()

    def spoil() -> None:
        while not ending.is_set():
            try:
                page.spoil(lambda: fixed if isinstance(fixed, int) else random.getrandbits(64))
            except OSError:
                # Its memory goes a moment before the process does.
                eventually("the daemon has ended", lambda: not alive(house.pid))
                return

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        for number in range(6):
            # More than there are blocks of stripes.
            house.config.write_text(f"{house.text}# {number}\n")
            house.signal(signal.SIGHUP)
            house.wait_for("reloaded: rules 1, keys 1, trusted 2\n", number + 1)
            assert signed(house.send())
        eventually("old workers end", lambda: len(house.workers()) == 2)
        leader = int(Path(f"/proc/{house.workers()[0]}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(leader, signal.SIGKILL)
        eventually("the leader is dead", lambda: not alive(leader))
        assert signed(house.send())
        eventually("two workers", lambda: len(house.workers()) == 2)
        assert signed(house.send())
        left = house.descendants()
        begun = time.monotonic()
        house.signal(signal.SIGTERM)
        assert house.wait(60) == 0
        assert time.monotonic() - begun < 20
        assert not any(alive(one) for one in left)
        for words in ("no sign of life", "Traceback", "hangs"):
            assert words not in house.log()
    finally:
        ending.set()
        thread.join(60)
        page.close()


def test_sessions_that_hold_all_stripes_do_not_keep_a_reload_for_ever(key: KeyPair) -> None:
    with House(key, milter="max_generations = 20\n") as house:
        clients = []
        for number in range(6):
            client = house.client()
            client.open_session()
            clients.append(client)
            house.config.write_text(f"{house.text}# {number}\n")
            house.signal(signal.SIGHUP)
            house.wait_for("reloaded: rules 1, keys 1, trusted 2\n", number + 1, timeout=60)
            assert signed(house.send())
        assert "still had sessions when too many generations were alive" in house.log()
        for client in clients:
            client.close()
        assert house.stop() == 0
