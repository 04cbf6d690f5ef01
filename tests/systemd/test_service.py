"""phoenixdkim.service with a socket of its own, in a real systemd, with mail before and after."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from systemd.conftest import METRICS, SPOOL, UNIT, Service
from systemd.machine import Machine, eventually

pytestmark = pytest.mark.timeout(900)


def test_units_are_valid(machine: Machine) -> None:
    for unit in ("phoenixdkim.service", "phoenixdkim.socket"):
        assert machine.run("systemd-analyze", "verify", "--man=no", unit).strip() == ""


def test_start_and_stop(machine: Machine, service: Service) -> None:
    machine.systemctl("start", "phoenixdkim.service")
    assert machine.show("StatusText").startswith("serving with 2 workers")
    service.assert_signs()
    machine.systemctl("stop", "phoenixdkim.service")
    assert machine.show("ActiveState") == "inactive"
    assert machine.show("Result") == "success"
    assert not machine.path(UNIT).exists()
    assert machine.show("TasksCurrent") in ("[not set]", "0")
    machine.systemctl("start", "phoenixdkim.service")
    service.assert_signs()


def test_restart(machine: Machine, service: Service) -> None:
    machine.systemctl("start", "phoenixdkim.service")
    for _ in range(3):
        service.assert_signs()
        machine.systemctl("restart", "phoenixdkim.service")
    service.assert_signs()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV], ids=lambda number: number.name)
def test_supervisor_is_killed(machine: Machine, service: Service, number: signal.Signals) -> None:
    machine.systemctl("start", "phoenixdkim.service")
    service.assert_signs()
    machine.await_replacement(machine.kill(number))
    service.assert_signs()
    assert machine.show("NRestarts") == "1"


def test_supervisor_is_killed_too_often_for_a_start_limit(machine: Machine, service: Service) -> None:
    service.drop_in("phoenixdkim.service", "[Service]\nRestartSec=10ms\n")
    machine.systemctl("start", "phoenixdkim.service")
    for _ in range(8):
        machine.await_replacement(machine.kill(signal.SIGKILL))
    service.assert_signs()


def test_stopped_supervisor_is_replaced_by_the_watchdog(machine: Machine, service: Service) -> None:
    service.drop_in("phoenixdkim.service", "[Service]\nWatchdogSec=5\nTimeoutStopSec=600\n")
    machine.systemctl("start", "phoenixdkim.service")
    service.assert_signs()
    machine.await_replacement(machine.kill(signal.SIGSTOP))
    service.assert_signs()


def test_reload(machine: Machine, service: Service) -> None:
    machine.systemctl("start", "phoenixdkim.service")
    pid = machine.show("MainPID")
    service.assert_signs()
    service.configure(workers=3)
    machine.systemctl("reload", "phoenixdkim.service")
    eventually(lambda: machine.show("StatusText") == "serving with 3 workers", "no reload", machine.journal)
    service.assert_signs()
    assert machine.show("MainPID") == pid


BROKEN = {
    "syntax": "[milter\n",
    "empty": "",
    "user": "[process]\nuser = 'missing'\n",
    # Valid by itself: only the running daemon knows that its rules would be gone.
    "shrunk": "[process]\nuser = 'phoenixdkim'\n[verifying]\nauthserv_id = 'mx.example'\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_failed_reload_changes_nothing(machine: Machine, service: Service, text: str) -> None:
    machine.systemctl("start", "phoenixdkim.service")
    pid = machine.show("MainPID")
    service.write(text)
    assert machine.try_run("systemctl", "reload", "phoenixdkim.service").returncode != 0
    assert machine.show("ActiveState") == "active"
    assert machine.show("MainPID") == pid
    service.assert_signs()


def test_refused_start_is_red_and_not_repeated(machine: Machine, service: Service) -> None:
    service.write("[milter\n")
    assert machine.try_run("systemctl", "start", "phoenixdkim.service").returncode != 0
    assert machine.show("ActiveState") == "failed"
    assert machine.show("ExecMainStatus") == "78"
    assert machine.show("NRestarts") == "0"


def test_textfile_is_written_inside_the_sandbox(machine: Machine, service: Service) -> None:
    service.configure(more=f'[exporters.textfile]\npath = "{METRICS}/phoenixdkim.prom"\ninterval = 1\n')
    machine.systemctl("start", "phoenixdkim.service")
    file = machine.path(METRICS) / "phoenixdkim.prom"

    def counted(messages: int) -> bool:
        return file.exists() and f"\nphoenixdkim_messages_total {messages}.0\n" in file.read_text()

    for messages in (1, 2):
        service.assert_signs()
        eventually(lambda: counted(messages), f"not {messages} messages in the file", machine.journal)  # noqa: B023
    # node_exporter reads it as a user of its own.
    assert "phoenixdkim_messages_total" in machine.run("cat", f"{METRICS}/phoenixdkim.prom", user="www-data")
    machine.await_replacement(machine.kill(signal.SIGKILL))
    service.assert_signs()
    eventually(lambda: counted(1), "no metrics after a crash", machine.journal)


def processes(machine: Machine) -> list[str]:
    """User id and command line of each process of the service."""
    found = []
    for pid in machine.run("cat", f"/sys/fs/cgroup{machine.show('ControlGroup')}/cgroup.procs").split():
        process = machine.path(f"/proc/{pid}")
        uid = (process / "status").read_text().partition("\nUid:")[2].split()[0]
        found.append(f"{uid} {(process / 'cmdline').read_bytes()!r}")
    return found


def test_exporters_run_inside_the_sandbox_as_other_users(machine: Machine, service: Service) -> None:
    service.configure(
        more=f'[exporters.textfile]\npath = "{METRICS}/phoenixdkim.prom"\ninterval = 1\n'
        '[exporters.http]\nlisten = "127.0.0.1:9323"\nbeside_textfile = true\n'
        '[exporters.statsd]\naddress = "127.0.0.1:8125"\n'
    )
    machine.systemctl("start", "phoenixdkim.service")
    eventually(lambda: (machine.path(METRICS) / "phoenixdkim.prom").exists(), "no metrics", machine.journal)
    users = [line.split()[0] for line in processes(machine) if "phoenixdkim.exporters" in line]
    assert len(users) == len(set(users)) == 3
    assert not set(users) & {"0", machine.run("id", "-u", "phoenixdkim").strip()}
    # Two have users that are named for them.
    assert {machine.run("id", "-u", f"phoenixdkim-{name}").strip() for name in ("textfile", "http")} < set(users)
    service.assert_signs()


def test_socket_below_the_spool_of_postfix(machine: Machine, service: Service) -> None:
    machine.run("install", "-d", "-o", "root", "-g", "postfix", "-m", "0750", str(Path(SPOOL).parent))
    service.configure(f"unix:{SPOOL}")
    machine.systemctl("start", "phoenixdkim.service")
    service.assert_signs()
    machine.systemctl("restart", "phoenixdkim.service")
    service.assert_signs()
    machine.await_replacement(machine.kill(signal.SIGKILL))
    service.assert_signs()


CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


def test_socket_is_for_postfix_only(machine: Machine, service: Service) -> None:
    machine.systemctl("start", "phoenixdkim.service")
    machine.run("python3", "-c", CONNECT, UNIT, user="postfix")
    assert "PermissionError" in machine.try_run("python3", "-c", CONNECT, UNIT, user="www-data").stdout
