"""The daemon serves with any of descriptors 0, 1 and 2 closed, and whatever becomes of the reader of its log."""

from __future__ import annotations

import itertools
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from daemon.house import FIELDS, House, signed
from phoenixdkim.ledger import LedgerReader, families
from phoenixdkim.metrics import Snapshot

pytestmark = pytest.mark.usefixtures("unmeasured")

CLOSED = [set(some) for count in (1, 2, 3) for some in itertools.combinations((0, 1, 2), count)]
OTHER = 65534
PROGRAM = Path(sys.executable).with_name("phoenixdkim")
TEXTFILE = '[exporters.textfile]\npath = "{metrics}/x.prom"\ninterval = 0.2\n'


def serving(house: House) -> None:
    """Wait until the daemon takes connections."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with house.client():
                return
        except OSError:
            assert house.process is not None
            assert house.process.poll() is None, house.log()
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.daemon
@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_descriptors_that_are_closed(key, closed):
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    house = House(key, exporters=TEXTFILE)
    config = house.config.read_bytes()
    try:
        with house.log_file.open("ab") as log:
            house.process = subprocess.Popen(
                [PROGRAM, "run", "-c", house.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=close,
            )  # fmt: skip
        serving(house)
        for _ in range(20):
            assert signed(house.send())
        path = house.metrics / "x.prom"
        deadline = time.monotonic() + 60
        while not path.exists() or "phoenixdkim_messages_total 20" not in path.read_text():
            assert time.monotonic() < deadline, house.log()
            time.sleep(0.05)
        # What an exporter prints goes into a pipe of the supervisor's.
        ours = [pid for pid, line in house.descendants().items() if "exporters.process" not in line]
        for pid in [house.pid, *ours]:
            for descriptor in closed:
                assert not os.readlink(f"/proc/{pid}/fd/{descriptor}").startswith(("socket:", "pipe:", "/memfd:"))
        assert house.stop() == 0
        assert "Traceback" not in house.log()
        if 2 not in closed:
            assert house.log().count("summary action=sign") == 20
        assert house.config.read_bytes() == config
    finally:
        house.close()


def pipe() -> tuple[int, int]:
    return os.pipe()


def connected() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


STALLED: dict[str, Callable[[], tuple[int, int]]] = {"pipe": pipe, "socket": connected, "terminal": pty.openpty}


def drain(descriptor: int, into: list[bytes]) -> None:
    try:
        while chunk := os.read(descriptor, 1 << 16):
            into.append(chunk)
    except OSError:
        # A terminal whose last user has gone.
        return


@pytest.mark.daemon
@pytest.mark.parametrize("other", [False, True], ids=["own", "another user's"])
@pytest.mark.parametrize("kind", STALLED)
def test_a_log_that_nobody_reads_stops_no_mail(key, kind, other):
    if other and os.geteuid() != 0:
        pytest.skip("only root can run a process as another user")
    messages = 4000
    house = House(key)
    user = {"user": OTHER, "group": OTHER, "extra_groups": []} if other else {}
    if other:
        for path in [house.base, *house.base.rglob("*")]:
            shutil.chown(path, OTHER, OTHER)
    reading, writing = STALLED[kind]()
    try:
        house.process = subprocess.Popen(
            [PROGRAM, "run", "-c", house.config],
            stdin=subprocess.DEVNULL, stdout=writing, stderr=writing, start_new_session=True, **user,
        )  # type: ignore[call-overload]  # fmt: skip
        os.close(writing)
        serving(house)
        ledger = next(
            os.open(entry, os.O_RDONLY | os.O_CLOEXEC)
            for entry in Path(f"/proc/{house.pid}/fd").iterdir()
            if "memfd:phoenixdkim-ledger" in os.readlink(entry)
        )
        with closing(LedgerReader(ledger)) as reader:
            os.close(ledger)
            slowest = 0.0
            with house.client() as client:
                for _ in range(messages):
                    begun = time.monotonic()
                    assert signed(client.send_message(FIELDS, b"Hello\r\n"))
                    slowest = max(slowest, time.monotonic() - begun)
            # One that waited for the reader would wait for ever.
            assert slowest < 30
            found: list[bytes] = []
            thread = threading.Thread(target=drain, args=(reading, found))
            thread.start()
            assert house.stop() == 0
            thread.join(60)
            totals = Snapshot(tuple(families(reader, reader.totals(), "")))
            lines = b"".join(found).decode().splitlines()
            summaries = [line for line in lines if re.search(r"summary action=sign", line)]
            lost = totals.value("phoenixdkim_log_lines_lost_total")
            assert totals.value("phoenixdkim_messages_total") == messages
            assert lost > 100, "the reader was stalled"
            # Lost lines may be others than summaries, of which there are few; one may have left its first half.
            assert messages <= len(summaries) + lost <= messages + 40
            assert "Traceback" not in "".join(lines)
    finally:
        house.close()
        os.close(reading)
