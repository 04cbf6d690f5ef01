"""Too few descriptors (R4): connections wait, nothing spins, and what is open goes on."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from daemon.house import BODY, FIELDS, House, signed
from faults.test_hostile_messages import cpu_of
from interop.peers import KeyPair
from phoenixdkim.testing.milter_client import MilterClient

LIMIT = 64
WATCHED = 3.0
"""Seconds in which the worker is to do next to nothing."""


@pytest.fixture(scope="module")
def key() -> KeyPair:
    return KeyPair.rsa("example.com")


def limit_of(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max open")]
    return int(line.split()[3])


def test_r4_connections_wait_when_descriptors_run_short(key):
    house = House(key, workers=1)
    house.wrapper = ["prlimit", f"--nofile={LIMIT}:{LIMIT}"]
    with house, contextlib.ExitStack() as stack:
        assert f"{LIMIT} open files are allowed, and milter.max_sessions = 1000 with dns.max_concurrent = 64" in (
            house.log()
        )
        (worker,) = house.workers()
        first = stack.enter_context(MilterClient(house.address))
        assert signed(first.send_message(FIELDS, BODY))
        crowd = [stack.enter_context(MilterClient(house.address)) for _ in range(100)]
        house.wait_for("no more connections are taken until some sessions end")
        before = cpu_of(worker)
        time.sleep(WATCHED)
        assert cpu_of(worker) - before < WATCHED / 10, "nothing spins"
        assert signed(first.send_message(FIELDS, BODY)), "an open session goes on"
        assert house.log().count("no more connections are taken") == 1
        for client in crowd:
            client.__exit__(None, None, None)
        house.wait_for("connections are taken", 2)
        assert signed(house.send())
        assert house.workers() == [worker]


def test_r4_a_stop_with_all_descriptors_taken_ends_in_time(key):
    house = House(key, workers=1)
    house.wrapper = ["prlimit", f"--nofile={LIMIT}:{LIMIT}"]
    with house, contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(MilterClient(house.address))
        house.wait_for("no more connections are taken until some sessions end")
        begun = time.monotonic()
        assert house.stop() == 0
        assert time.monotonic() - begun < 20, "idle sessions hold up no stop"


def test_the_limit_is_raised_to_what_the_options_ask_for(key):
    house = House(key, milter="max_sessions = 500")
    house.wrapper = ["prlimit", "--nofile=256:4096"]
    with house:
        assert [limit_of(worker) for worker in house.workers()] == [500 + 2 * 64 + 64] * 2
        assert "open files" not in house.log()
