"""phoenixdkim.socket: systemd keeps the socket, whatever becomes of the service behind it."""

from __future__ import annotations

import signal
import threading

import pytest

from systemd.conftest import FIELDS, SPOOL, UNIT, Service
from systemd.machine import Machine, eventually

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def activated(machine: Machine, service: Service) -> Service:
    """The socket unit started, the service not."""
    service.configure("systemd")
    machine.systemctl("enable", "--now", "phoenixdkim.socket")
    assert machine.show("ActiveState") == "inactive"
    return service


def identity(machine: Machine) -> tuple[int, int]:
    found = machine.path(UNIT).stat()
    return found.st_dev, found.st_ino


def test_first_client_starts_the_service(machine: Machine, activated: Service) -> None:
    activated.assert_signs()
    assert machine.show("ActiveState") == "active"


def test_socket_outlives_restart_stop_and_crash(machine: Machine, activated: Service) -> None:
    before = identity(machine)
    activated.assert_signs()
    machine.systemctl("restart", "phoenixdkim.service")
    activated.assert_signs()
    machine.await_replacement(machine.kill(signal.SIGKILL))
    activated.assert_signs()
    machine.systemctl("stop", "phoenixdkim.service")
    activated.assert_signs()
    machine.systemctl("reload", "phoenixdkim.service")
    activated.assert_signs()
    assert identity(machine) == before


@pytest.mark.parametrize("action", ["restart", "kill"])
def test_clients_of_the_gap_are_served(machine: Machine, activated: Service, action: str) -> None:
    activated.assert_signs()
    answers: list[str] = []
    ending = threading.Event()

    def send() -> None:
        # Connections that reach the listening socket while nobody accepts wait in its backlog.
        while not ending.is_set():
            try:
                with activated.client() as client:
                    reply = client.send_message(FIELDS, b"Hello\r\n")
                answers.append("signed" if reply.modifications else reply.disposition.name)
            except OSError as error:
                answers.append(type(error).__name__)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    if action == "restart":
        machine.systemctl("restart", "phoenixdkim.service")
    else:
        machine.await_replacement(machine.kill(signal.SIGKILL))
    ending.set()
    sender.join()
    activated.assert_signs()
    # A session that a killed worker had is cut off, and Postfix defers its message.
    cut = {"MilterClosedError", "ConnectionResetError", "BrokenPipeError", "TEMPFAIL"} if action == "kill" else set()
    assert set(answers) - cut == {"signed"}


def test_crash_loop_does_not_end_the_socket(machine: Machine, activated: Service) -> None:
    activated.drop_in("phoenixdkim.service", "[Service]\nRestartSec=10ms\n")
    before = identity(machine)
    activated.assert_signs()
    for _ in range(8):
        machine.await_replacement(machine.kill(signal.SIGKILL))
    activated.assert_signs()
    assert machine.show("ActiveState", "phoenixdkim.socket") == "active"
    assert identity(machine) == before


def test_mail_goes_on_when_a_broken_configuration_is_corrected(machine: Machine, activated: Service) -> None:
    activated.drop_in("phoenixdkim.service", "[Service]\nExecStopPost=\nExecStopPost=/bin/true\n")
    activated.write("[milter\n")
    with activated.client() as client:
        assert client is not None
        eventually(lambda: machine.journal().count("status=78") > 7, "not started again", machine.journal)
        assert machine.show("ActiveState", "phoenixdkim.socket") == "active"
        activated.configure("systemd")
        assert client.send_message(FIELDS, b"Hello\r\n").modifications
    activated.assert_signs()


def test_refused_start_is_not_repeated_without_a_pause(machine: Machine, activated: Service) -> None:
    activated.write("[milter\n")
    with activated.client():
        eventually(lambda: machine.show("SubState") == "stop-post", "no pause after a refused start", machine.journal)
        assert machine.show("ActiveState", "phoenixdkim.socket") == "active"
        activated.configure("systemd")
    activated.assert_signs()


def test_restart_of_the_socket_unit(machine: Machine, activated: Service) -> None:
    activated.assert_signs()
    machine.systemctl("restart", "phoenixdkim.socket")
    activated.assert_signs()


def test_start_of_the_service_starts_the_socket_unit(machine: Machine, activated: Service) -> None:
    machine.systemctl("stop", "phoenixdkim.socket", "phoenixdkim.service")
    machine.systemctl("start", "phoenixdkim.service")
    activated.assert_signs()
    machine.systemctl("stop", "phoenixdkim.socket")
    assert machine.show("ActiveState") == "inactive"


def test_socket_below_the_spool_of_postfix(machine: Machine, service: Service) -> None:
    service.drop_in("phoenixdkim.socket", f"[Socket]\nListenStream=\nListenStream={SPOOL}\n")
    service.configure("systemd")
    service.socket = SPOOL
    machine.systemctl("enable", "--now", "phoenixdkim.socket")
    service.assert_signs()
    machine.systemctl("restart", "phoenixdkim.service")
    service.assert_signs()
    machine.await_replacement(machine.kill(signal.SIGKILL))
    service.assert_signs()
