"""Who exporters run as: each as a user of its own, which its table names, its name finds, or the daemon chooses."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from daemon.house import House, signed
from daemon.mistakes import Installed
from daemon.test_mistakes import run
from phoenixdkim.exporters.users import DEFAULT_UIDS, parse_uids
from receivers.programs import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")

IDLE = """\
from phoenixdkim.hookspecs import hookimpl

class Exporter:
    api_version = 1

    @hookimpl
    def phoenixdkim_tick(self): pass
"""
GREEDY = """\
import os, sys
from phoenixdkim.options import Options
from phoenixdkim.hookspecs import hookimpl

os.write(2, b"loaded as %d\\n" % os.geteuid())

class Greedy(Options):
    user: str = "root"
    memory_limit: int = 65536
    stop_timeout: float = 60.0

class Exporter:
    api_version = 1

    @hookimpl
    def phoenixdkim_options(self): return Greedy

    @hookimpl
    def phoenixdkim_tick(self): pass
"""
MISSING = "no-such-user-here"
UIDS = parse_uids(DEFAULT_UIDS)


@pytest.fixture
def installed():
    package = Installed({"idle": IDLE, "greedy": GREEDY}, "phoenixdkim-named")
    yield
    package.remove()


def tables(*names: str, more: str = "") -> str:
    return "".join(f'[exporters.{name}]\ntype = "idle"\ninterval = 0.2\n{more}' for name in names)


def users(house: House) -> dict[int, tuple[int, int]]:
    """User and group ids of exporters' processes; all four of each kind are one, and there are no other groups."""
    found = {}
    for pid, line in house.descendants().items():
        if "exporters.process" in line:
            rows = dict(row.split(":", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines())
            (uid,), (gid,) = set(rows["Uid"].split()), set(rows["Gid"].split())
            assert rows["Groups"].split() == []
            found[pid] = int(uid), int(gid)
    return found


def test_each_runs_as_a_user_of_its_own_also_after_a_restart_and_a_crash(installed, key):
    with House(key, exporters=tables("one", "two", "three")) as house:
        first = users(house)
        assert len({uid for uid, _ in first.values()}) == 3
        assert all(uid in UIDS and gid == uid for uid, gid in first.values())
        os.kill(next(iter(first)), signal.SIGKILL)
        eventually("three other processes", lambda: sorted(users(house).values()) == sorted(first.values()), 60)
        assert house.stop() == 0
        house.start()
        assert sorted(users(house).values()) == sorted(first.values())


def test_the_tables_user_is_taken_by_name_and_by_number(installed, key):
    named = tables("one", more='user = "nobody"\n') + tables("two", more='user = "60999"\n')
    with House(key, exporters=named) as house:
        assert sorted(users(house).values()) == [(60999, 60999), (65534, 65534)]
        house.wait_for("exporter 'one' runs as user id 65534")
        house.wait_for("exporter 'two' runs as user id 60999")


@pytest.mark.parametrize(
    ("exporters", "place", "message"),
    [
        (
            tables("one", "two", more='user = "nobody"\n'),
            "exporters.two.user",
            "exporter 'one' runs as it too (user id 65534); give each exporter its own",
        ),
        (tables("one", more='user = "root"\n'), "exporters.one.user", "'root' is root"),
        (tables("one", more='user = "daemon"\n'), "exporters.one.user", "'daemon' is the user of the daemon's own"),
        (tables("one", more=f'user = "{MISSING}"\n'), "exporters.one.user", f'there is no user "{MISSING}"; make it: '),
        (tables("one", more="user = 5\n"), "exporters.one.user", "5 is not of the right type"),
        (tables("one", more="memory_limit = 1\n"), "exporters.one.memory_limit", "1 is too small; write at least 32"),
        (tables("one", more="stop_timeout = 61\n"), "exporters.one.stop_timeout", "61 is too large; write at most 60"),
        (tables("one", more="stop_timeout = nan\n"), "exporters.one.stop_timeout", "the number is nan; only finite"),
        (tables("one", more="memory_limit = true\n"), "exporters.one.memory_limit", "true is not of the right type"),
    ],
)
def test_what_the_core_reads_is_refused_once_with_its_place(installed, key, exporters, place, message):
    with contextlib.closing(House(key, exporters=exporters)) as house:
        option = place.rpartition(".")[2]
        line = max(n for n, text in enumerate(house.text.splitlines(), 1) if text.startswith(option))
        told = []
        for command in ("run", "check"):
            status, lines = run(command, house.config)
            assert status == 78
            told.append([line for line in lines if place in line])
        assert told[0] == told[1]
        (found,) = told[0]
        assert found.startswith(f"{house.config}:{line}: {place}: {message}")


def test_no_id_is_left(installed, key):
    few = House(key, exporters=tables("one", "two"))
    with contextlib.closing(few) as house:
        house.config.write_text(house.text.replace("[log]", 'exporter_uids = "60706-60706"\n[log]'))
        for command in ("run", "check"):
            status, lines = run(command, house.config)
            assert status == 78
            (line,) = [line for line in lines if "no free user id" in line]
            assert "exporters.two: no free user id in 60706-60706 (process.exporter_uids)" in line


def test_the_option_that_is_gone_says_what_to_write(key):
    with contextlib.closing(House(key)) as house:
        house.config.write_text(house.text.replace("[log]", 'exporter_user = "nobody"\n[log]'))
        for command in ("run", "check"):
            status, lines = run(command, house.config)
            assert status == 78
            assert any(
                "process.exporter_user: unknown option 'exporter_user'; each exporter has" in one for one in lines
            )


def test_a_reload_without_the_user_is_refused_and_leaves_no_process(installed, key):
    with House(key, exporters=tables("one")) as house:
        before = len(house.descendants())
        house.config.write_text(house.text + tables("two", more=f'user = "{MISSING}"\n'))
        house.signal(signal.SIGHUP)
        house.wait_for("reload refused; the configuration in force stays")
        assert house.log().count(f'exporters.two.user: there is no user "{MISSING}"; make it: useradd ') == 1
        assert signed(house.send())
        eventually("no other process", lambda: len(house.descendants()) == before)


def test_a_class_that_sets_what_the_core_reads_is_refused_and_never_was_root(installed, key):
    with House(key, exporters="[exporters.greedy]\n") as house:
        status, lines = run("check", house.config)
        assert status == 78
        assert signed(house.send())
        for option in ("user", "memory_limit", "stop_timeout"):
            assert any(f"class Greedy: option '{option}' is the core's" in line for line in lines)
            house.wait_for(f"class Greedy: option '{option}' is the core's")
        assert not any("loaded as 0" in line for line in [*lines, *house.log().splitlines()])


def test_an_exporter_gives_up_an_id_that_the_workers_get(installed, key):
    with House(key, exporters=tables("one", "two")) as house:
        before = {uid for uid, _ in users(house).values()}
        taken = min(before)
        house.config.write_text(house.text.replace('user = "daemon"', f'user = "{taken}"'))
        os.chown(house.key_file, taken, taken)
        house.signal(signal.SIGHUP)
        house.wait_for("reloaded")
        eventually(
            "other ids", lambda: len(users(house)) == 2 and taken not in {uid for uid, _ in users(house).values()}
        )
        assert before - {taken} < {uid for uid, _ in users(house).values()}
        assert signed(house.send())
