"""Exporters do not take the last descriptors of the supervisor."""

from __future__ import annotations

import os
import signal

from daemon.house import House, parent_of, signed
from interop.peers import KeyPair

TABLES = "".join(f'[exporters.t{n}]\ntype = "textfile"\npath = "{{metrics}}/{n}.prom"\n' for n in range(20))


def test_a_leader_is_replaced_when_exporters_have_used_up_the_descriptors(key: KeyPair) -> None:
    house = House(key, exporters=TABLES, milter="max_sessions = 10")
    house.wrapper = ["prlimit", "--nofile=100:100"]
    with house:
        house.wait_for("exporters: internal error: OSError: [Errno 24] Too many open files")
        up = house.log().rpartition("; exporters: ")[2]
        assert "t0, " in up
        (leader,) = {parent_of(pid) for pid in house.workers()}
        os.kill(leader, signal.SIGKILL)
        house.wait_for("the workers have a leader again")
        assert signed(house.send())
        assert house.stop() == 0
