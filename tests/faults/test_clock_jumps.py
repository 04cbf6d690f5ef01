"""A wall clock that jumps (R7): it decides on t= and x= and on nothing else.

Exporters get no variables of the daemon's, so theirs is the machine's clock. What time it is they are told at each
tick, and when a tick is due the monotonic clock decides.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.house import BODY, FIELDS, House, signed
from daemon.test_tables import standing_clock
from faults.test_hostile_messages import cpu_of
from interop.peers import KeyPair
from phoenixdkim.testing.milter_protocol import apply
from receivers.programs import eventually

DAY = 86_400
YEAR = 31_536_000
STRANGER = "192.0.2.1"
JUMPS = [DAY, -DAY, 68 * YEAR, -68 * YEAR, 0]
INTERVAL = 0.5
WATCHED = 2.0


class Clock:
    """The daemon's wall clock, which is that of the machine and an offset."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offset = 0
        self.jump(0)

    def jump(self, offset: int) -> None:
        """Be so many seconds off from now on."""
        self.offset = offset
        # Renamed into place, for it is read at any time.
        new = self._path.with_suffix(".new")
        new.write_text(f"{offset:+d}\n")
        new.chmod(0o644)
        new.rename(self._path)

    def now(self) -> float:
        return time.time() + self.offset

    def variables(self) -> dict[str, str]:
        """What makes a program have this clock."""
        preload = {name: value for name, value in standing_clock(0).items() if name not in ("FAKETIME", "TZ")}
        return {**preload, "FAKETIME_TIMESTAMP_FILE": str(self._path), "FAKETIME_NO_CACHE": "1"}


@pytest.fixture(scope="module")
def jumping() -> Iterator[tuple[House, Clock]]:
    house = House(
        KeyPair.rsa("example.com"),
        exporters=f'[exporters.textfile]\npath = "{{metrics}}/x.prom"\ninterval = {INTERVAL}\n',
        extra="[limits]\nclock_drift = 300\n",
    )
    clock = Clock(house.base / "clock")
    try:
        house.start(clock.variables())
        yield house, clock
    finally:
        house.close()


def used_by_all(house: House) -> float:
    """Seconds of processor time of all processes of the daemon."""
    return sum(cpu_of(pid) for pid in [house.pid, *house.descendants()])


def series(house: House, name: str) -> float:
    text = (house.metrics / "x.prom").read_text()
    (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(value)


def signature_time(house: House) -> tuple[int | None, list[tuple[bytes, bytes]]]:
    """The t= of a message that is signed now, and the message."""
    reply = house.send()
    assert signed(reply)
    message = apply(reply, FIELDS)
    (value,) = [value for name, value in message if name == b"DKIM-Signature"]
    found = re.search(rb"\bt=(-?[0-9]+);", value)
    return None if found is None else int(found[1]), message


def verdict(house: House, message: list[tuple[bytes, bytes]]) -> str:
    """What a stranger's message comes to."""
    with house.client() as client:
        reply = client.send_message(message, BODY, client_address=STRANGER)
    (field,) = [change.value for change in reply.modifications if change.name == b"Authentication-Results"]
    found = re.search(rb"dkim=(\w+)", field)
    assert found is not None
    return found[1].decode()


@pytest.mark.parametrize("offset", JUMPS)
def test_r7_a_jump_changes_what_time_it_is_and_nothing_else(jumping, offset):
    house, clock = jumping
    clock.jump(0)
    moment, old = signature_time(house)
    assert moment is not None
    clock.jump(offset)
    moment, new = signature_time(house)
    if clock.now() < 0:
        assert moment is None, "t= can't tell a time before 1970"
    else:
        assert moment == pytest.approx(clock.now(), abs=5)
    assert verdict(house, new) == "pass"
    assert verdict(house, old) == ("pass" if offset >= 0 else "permerror"), "signed in the future"
    eventually("the file", (house.metrics / "x.prom").exists)
    messages = series(house, "phoenixdkim_messages_total")
    before = used_by_all(house)
    assert signed(house.send())
    written = set()
    until = time.monotonic() + WATCHED
    while time.monotonic() < until:
        written.add((house.metrics / "x.prom").stat().st_mtime_ns)
        time.sleep(0.02)
    assert len(written) <= WATCHED / INTERVAL + 2, "no interval is cut short"
    assert used_by_all(house) - before < WATCHED / 2, "nothing spins"
    eventually("the message", lambda: series(house, "phoenixdkim_messages_total") > messages)
    assert "hangs" not in house.log()
    assert "ended" not in house.log()
