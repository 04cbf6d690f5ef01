"""What an exporter can do to the daemon, its siblings, its keys and the machine: nothing that matters."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import intruder
from daemon.house import House, alive, begin, finish, signed
from daemon.mistakes import Installed
from daemon.test_mistakes import run
from interop.peers import KeyPair
from phoenixdkim.exporters.memory import OOM_SCORE
from receivers.programs import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")

ORDINARY = 60998
MARK = f"98765.{os.getpid()}"
"""Others may run these tests at the same time: what is counted is ours."""
_PLUGIN = """
from phoenixdkim.hookspecs import hookimpl

class Exporter:
    api_version = 1

    @hookimpl
    def phoenixdkim_tick(self): {tick}
"""
_DAEMONIZE = """\
import os, time

def daemonize(depth=2):
    if os.fork() == 0:
        os.setsid()
        for _ in range(depth):
            if os.fork():
                os._exit(0)
        os.execv("/bin/sleep", ["sleep", "MARK"])
    os.wait()
"""
MODULES = {
    "intruder": Path(intruder.__file__).read_text() + "\n\nExporter = Intruder\n",
    "daemonizes": _DAEMONIZE + "daemonize()\n" + _PLUGIN.format(tick="daemonize(1); daemonize(3); os._exit(3)"),
    "daemonizes_and_hangs": _DAEMONIZE + "daemonize()\ntime.sleep(1000)\n",
    "daemonizes_and_dies": _DAEMONIZE + "daemonize()\nos._exit(3)\n",
    "daemonizes_and_stays": _DAEMONIZE + _PLUGIN.format(tick="daemonize()"),
    "forks_without_end": "import os, time\n"
    "while True:\n"
    "    try:\n"
    "        if os.fork() == 0:\n"
    "            os.setsid()\n"
    "            if os.fork() == 0:\n"
    "                os.execv('/bin/sleep', ['sleep', 'MARK'])\n"
    "    except BlockingIOError:\n"
    "        time.sleep(1000)\n",
    "runs": "import os\nos.execv('/bin/sleep', ['sleep', 'MARK'])\n" + _PLUGIN.format(tick="pass"),
    "tells": "import os\nos.write(2, b'loaded as %d\\n' % os.geteuid())\n" + _PLUGIN.format(tick="pass"),
}


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    package = Installed({name: text.replace("MARK", MARK) for name, text in MODULES.items()}, "phoenixdkim-intruders")
    yield
    package.remove()


def tables(*kinds: str, more: str = "") -> str:
    return "".join(f'[exporters.e{number}]\ntype = "{kind}"\n{more}' for number, kind in enumerate(kinds))


def exporters(house: House) -> list[int]:
    return [pid for pid, line in house.descendants().items() if "exporters.process" in line]


def status_row(pid: int, name: str) -> int:
    """The first number of a row of a process's status; -1 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/status").read_text().partition(f"\n{name}:\t")[2].split()[0])
    except (OSError, IndexError):
        return -1


def left_behind() -> list[int]:
    """Processes that a plugin of these tests has started, wherever they hang now."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == f"sleep\0{MARK}\0".encode():
                found.append(int(entry.name))
    return found


def ordinary(house: House) -> House:
    """The daemon as an ordinary user would start it."""
    for path in (house.base, *house.base.rglob("*")):
        os.chown(path, ORDINARY, ORDINARY)
    house.wrapper = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
    return house


def attack(house: House, count: int, attacks: list[str]) -> dict[str, list[list[object]]]:
    """Let all intruders attack all processes; returns what succeeded, by report."""
    pids = [house.pid, *house.descendants()]
    wanted = {"pids": pids, "files": [str(house.key_file)], "attacks": attacks}
    draft = house.metrics / "draft"
    draft.write_text(json.dumps(wanted))
    draft.chmod(0o644)
    draft.rename(house.metrics / "attack")
    eventually("all reports", lambda: len(list(house.metrics.glob("report-*[0-9]"))) == count, 60)
    reports = {path.name: json.loads(path.read_text()) for path in house.metrics.glob("report-*[0-9]")}
    assert all(report["tried"] == len(attacks) * len(pids) for report in reports.values())
    return {name: report["succeeded"] for name, report in reports.items()}


def test_no_attack_on_daemon_siblings_and_keys_succeeds(installed: None, key: KeyPair) -> None:
    more = 'attack = "{metrics}/attack"\n'
    with House(key, exporters=tables("intruder", "intruder", "intruder", more=more)) as house:
        before = sorted(house.descendants())
        found = attack(house, 3, list(intruder.ATTACKS))
        assert len(before) == 6, "leader, two workers and three exporters"
        assert found == {name: [] for name in found}
        assert sorted(house.descendants()) == before
        assert signed(house.send())
        assert "ended" not in house.log()
        assert house.stop() == 0


def test_the_attacks_are_attacks(installed: None, key: KeyPair) -> None:
    """A user that may do all this to a process of its own does it: the list is no list of mistakes."""
    harmless = [name for name in intruder.ATTACKS if name not in ("kill", "stop", "kill a group", "tgkill")]
    failed = []
    for name in harmless:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(40, signal.SIG_IGN)
            signal.pause()
            os._exit(0)
        eventually("a session", lambda child=pid: os.getsid(child) == child)  # type: ignore[misc]
        worker = os.fork()
        if worker == 0:
            try:
                intruder.ATTACKS[name](pid)
            except OSError as error:
                # Nothing is mapped at that address, or no such descriptor: access was granted.
                os._exit(0 if error.errno in (5, 9, 14) else 1)
            finally:
                os._exit(0)
        if os.waitpid(worker, 0)[1]:
            failed.append(name)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert failed == []


def test_no_process_of_the_daemon_can_be_read_by_its_own_user(installed: None, key: KeyPair) -> None:
    """Without root all have one user: memory and descriptors are safe even so, and the log says what is not."""
    memory = [name for name in intruder.ATTACKS if name.startswith(("ptrace", "process_vm", "pidfd_getfd", "kcmp"))]
    memory += ["mem", "mem, write", "environ", "maps", "fd", "fd 0", "cwd"]
    with contextlib.closing(
        House(
            key,
            exporters=tables("intruder", "tells", more="").replace(
                '"intruder"\n', '"intruder"\nattack = "{metrics}/attack"\n'
            ),
        )
    ) as house:
        ordinary(house).start()
        assert f"without root all processes run as user id {ORDINARY}" in house.log()
        assert "exporters.e0: exporters are not isolated" in house.log()
        pids = [house.pid, *house.descendants()]
        # The kernel gives the files of a process that is not dumpable to root.
        assert {os.stat(f"/proc/{pid}/mem").st_uid for pid in pids} == {0}
        (succeeded,) = attack(house, 1, memory).values()
        # It can send signals, and read a key file that its own user can read; that is documented.
        assert [what for what in succeeded if what[0] != str(house.key_file)] == []
        assert signed(house.send())


def test_exporters_are_killed_first_when_memory_runs_out(installed: None, key: KeyPair) -> None:
    with House(key, exporters=tables("tells")) as house:
        scores = {pid: int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in house.descendants()}
        (exporter,) = exporters(house)
        assert scores[exporter] == OOM_SCORE
        assert {score for pid, score in scores.items() if pid != exporter} != {OOM_SCORE}


def test_twenty_crashes_of_a_plugin_that_daemonizes_leave_none(installed: None, key: KeyPair) -> None:
    with House(key, exporters=tables(*["daemonizes"] * 20, "tells", more="interval = 0.1\n")) as house:
        eventually("twenty crashes", lambda: house.log().count("ended unasked (exit status 3)") >= 20, 120)
        assert signed(house.send())
        house.config.write_text(house.text.partition("[exporters.")[0] + '[exporters.e20]\ntype = "tells"\n')
        house.signal(signal.SIGHUP)
        house.wait_for("reloaded", timeout=60)
        eventually("no process is left", lambda: left_behind() == [])
        assert len(exporters(house)) == 1
        assert house.stop() == 0


def test_one_that_daemonizes_and_goes_on_has_no_more_processes_for_it(installed: None, key: KeyPair) -> None:
    with House(key, exporters=tables("daemonizes_and_stays", more="interval = 0.1\n")) as house:
        for _ in range(20):
            assert signed(house.send())
        eventually("no process is left for long", lambda: left_behind() == [])
        assert "ended" not in house.log()


def test_workers_that_lost_their_leader_are_no_strays(installed: None, key: KeyPair) -> None:
    with House(key, exporters=tables("daemonizes", "tells", more="interval = 0.1\n")) as house:
        workers = house.workers()
        parent = int(Path(f"/proc/{workers[0]}/stat").read_text().rpartition(")")[2].split()[1])
        with house.client() as client:
            begin(client)
            os.kill(parent, signal.SIGKILL)
            house.wait_for(f"leader {parent} ended unasked (killed from outside: signal SIGKILL, out of memory?)")
            eventually("a crash", lambda: "ended unasked (exit status 3)" in house.log())
            assert signed(finish(client)), "its worker was an orphan, and went on"
        eventually("a new generation", lambda: len(house.workers()) >= 2 and signed(house.send()))


@pytest.mark.parametrize(
    "kind", ["daemonizes", "daemonizes_and_hangs", "daemonizes_and_dies", "forks_without_end", "runs"]
)
def test_check_ends_what_a_plugin_leaves_behind(installed: None, key: KeyPair, kind: str) -> None:
    with contextlib.closing(House(key, exporters=tables(kind))) as house:
        for _ in range(1 if kind == "forks_without_end" else 2):
            status, lines = run("check", house.config, 200)
            assert status == 0, lines
            assert left_behind() == []
        house.start()
        assert signed(house.send())
        if kind not in ("daemonizes", "forks_without_end"):
            # The daemon says of it what the check said.
            (said,) = [line for line in lines if "exporters.e0: plugin " in line]
            hangs = " hangs: no answer to its check" in said
            house.wait_for(
                f"exporter 'e0' {'hangs: no answer to its check' if hangs else 'ended while it was checked'}"
            )
            eventually("no process is left", lambda: left_behind() == [], 60)
        assert house.stop() == 0
        assert left_behind() == []


def test_check_loads_plugins_as_the_user_that_run_would_use(installed: None, key: KeyPair) -> None:
    with House(key, exporters=tables("tells", "tells")) as house:
        users = sorted(
            {os.stat(f"/proc/{pid}").st_uid for pid in exporters(house)} | loaded_as(house.log().splitlines())
        )
        status, lines = run("check", house.config)
        assert status == 0
        assert loaded_as(lines) <= set(users)
        assert 0 not in loaded_as(lines)
        assert len(loaded_as(lines)) == 2


def test_check_of_an_ordinary_user_loads_plugins_as_that_user(installed: None, key: KeyPair) -> None:
    with contextlib.closing(ordinary(House(key, exporters=tables("tells")))) as house:
        command = [*house.wrapper, Path(sys.executable).with_name("phoenixdkim"), "check", "-c", house.config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert loaded_as(done.stderr.splitlines()) == {ORDINARY}
        assert f"exporters are not isolated: without root all processes run as user id {ORDINARY}" in done.stderr


def loaded_as(lines: list[str]) -> set[int]:
    return {int(line.rpartition("loaded as ")[2].split()[0]) for line in lines if "loaded as " in line}


def test_a_kill_from_outside_is_logged_as_one(installed: None, key: KeyPair) -> None:
    with House(key, exporters=tables("tells")) as house:
        (pid,) = exporters(house)
        os.kill(pid, signal.SIGKILL)
        house.wait_for("exporter 'e0' ended unasked (killed from outside: signal SIGKILL, out of memory?)")
        worker = house.workers()[0]
        os.kill(worker, signal.SIGKILL)
        house.wait_for(f"worker {worker} ended unasked (killed from outside: signal SIGKILL, out of memory?)")
        assert not alive(pid)


def test_the_services_capabilities_are_enough(installed: None, key: KeyPair) -> None:
    """All of it works with what contrib/systemd/phoenixdkim.service leaves to root."""
    unit = Path(__file__).parents[2] / "contrib/systemd/phoenixdkim.service"
    (row,) = [row for row in unit.read_text().splitlines() if row.startswith("CapabilityBoundingSet=")]
    kept = [f"+{name.removeprefix('CAP_').lower()}" for name in row.partition("=")[2].split()]
    with contextlib.closing(
        House(key, exporters=tables("daemonizes_and_stays", "tells", more="interval = 0.1\n"))
    ) as house:
        house.wrapper = ["setpriv", f"--bounding-set=-all,{','.join(kept)}", "--no-new-privs"]
        house.start()
        owners = {pid: status_row(pid, "Uid") for pid in exporters(house) if status_row(pid, "PPid") == house.pid}
        assert len(set(owners.values())) == len(owners) == 2
        assert 0 not in owners.values()
        eventually("no process is left for long", lambda: left_behind() == [])
        os.kill(min(owners), signal.SIGSTOP)
        house.wait_for("hangs: no sign of life for 10 s; killed")
        house.wait_for("ended unasked (signal SIGKILL)")
        command = [*house.wrapper, Path(sys.executable).with_name("phoenixdkim"), "check", "-c", house.config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert loaded_as(done.stderr.splitlines()) == loaded_as(house.log().splitlines()) <= set(owners.values())
        assert house.stop() == 0
        assert left_behind() == []
