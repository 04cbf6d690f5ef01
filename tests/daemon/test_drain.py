"""Stop, reload and kill: messages under way get their verdict, nothing is refused, nothing is left behind."""

from __future__ import annotations

import grp
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daemon.house import BODY, FIELDS, PATIENCE, House, Load, alive, begin, finish, signed
from phoenixdkim.testing.milter_client import MilterClient

STOP_TIMEOUT = 25.0
"""Seconds that the daemon's stop takes when it waits for sessions (milter.stop_timeout)."""


@pytest.fixture
def house(key):
    with House(key) as running:
        yield running


@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)],
    ids=["TERM", "TERM to the group", "Ctrl-C"],
)
@pytest.mark.parametrize("round_", range(2))
def test_stop_in_the_middle_of_sixteen_messages(house, number, group, round_):
    clients = [house.client() for _ in range(16)]
    for client in clients:
        begin(client)
    house.signal(number, group)
    time.sleep(0.2 * round_)
    assert [signed(finish(client)) for client in clients] == [True] * 16
    for client in clients:
        client.close()
    assert house.wait() == 0
    assert not Path(house.address.removeprefix("unix:")).exists()


def test_reload_in_the_middle_of_sixteen_messages_again_and_again(house):
    for _ in range(3):
        clients = [house.client() for _ in range(16)]
        for client in clients:
            begin(client)
        house.reload()
        assert [signed(finish(client)) for client in clients] == [True] * 16
        for client in clients:
            client.close()
    deadline = time.monotonic() + PATIENCE
    while len(house.workers()) > 2:
        assert time.monotonic() < deadline, "the old workers are still there"
        time.sleep(0.05)


def test_reload_under_load_refuses_nothing(house):
    with Load(house, 8) as load:
        for _ in range(6):
            time.sleep(0.4)
            house.reload()
    assert load.bad == []
    assert load.good > 200


def test_reloads_that_come_too_fast_are_joined(house):
    for _ in range(20):
        house.signal(signal.SIGHUP)
        time.sleep(0.01)
    house.wait_for("reloaded")
    assert signed(house.send())
    time.sleep(1.5)
    assert house.log().count("reloaded") < 15
    assert len(house.workers()) <= 6
    assert house.stop() == 0


def test_a_session_that_outlives_a_reload_keeps_its_worker_and_the_next_has_the_new_configuration(house):
    with house.client() as old:
        assert signed(old.send_message(FIELDS, BODY))
        house.config.write_text(house.text.replace('authserv_id = "mx.example"', 'authserv_id = "new.example"'))
        house.signal(signal.SIGHUP)
        house.wait_for("reloaded")
        other = [(b"From", b" x@example.org")]
        assert b"mx.example;" in old.send_message(other, BODY).modifications[0].value
        with house.client() as new:
            assert b"new.example;" in new.send_message(other, BODY).modifications[0].value


def test_after_the_soft_deadline_an_old_session_is_asked_to_come_again(key):
    with House(key) as house:
        house.config.write_text(house.text.replace("workers = 2", "workers = 2\nreload_soft_deadline = 0"))
        house.signal(signal.SIGHUP)
        house.wait_for("reloaded")
        with house.client() as client:
            assert signed(client.send_message(FIELDS, BODY))
            house.reload()
            time.sleep(0.3)
            reply = client.send_message(FIELDS, BODY)
            assert reply.smtp.startswith(b"421 4.3.2")
        assert "unsigned=closing" in house.log()
        assert signed(house.send())


def test_a_broken_configuration_is_refused_and_the_old_one_stays(house):
    house.config.write_text(house.text + "\n[nonsense]\n")
    house.signal(signal.SIGHUP)
    house.wait_for("reload refused")
    assert "there is no option 'nonsense'" in house.log()
    assert signed(house.send())
    house.key_file.unlink()
    house.config.write_text(house.text)
    house.signal(signal.SIGHUP)
    house.wait_for("reload refused", 2)
    assert signed(house.send()), "the key is in memory"
    for pid in house.workers():
        os.kill(pid, signal.SIGKILL)
    house.wait_for("ended unasked", 2)
    time.sleep(0.3)
    assert signed(house.send()), "and in the memory of workers that are replaced"


def test_stop_with_no_session_open_is_quick(house):
    begun = time.monotonic()
    assert house.stop() == 0
    assert time.monotonic() - begun < STOP_TIMEOUT, "it is not waited for"


def test_an_idle_session_does_not_hold_up_the_stop(house):
    with house.client() as client:
        client.open_session()
        begun = time.monotonic()
        assert house.stop() == 0
        assert time.monotonic() - begun < STOP_TIMEOUT, "it is not waited for"


def test_kill_of_the_supervisor_leaves_nothing_and_run_starts_again_at_once(house):
    with Load(house, 4) as load:
        time.sleep(0.5)
        left = house.descendants()
        assert len(left) >= 3
        house.signal(signal.SIGKILL)
        killed = time.monotonic()
        house.wait()
        house.start()
        while any(alive(pid) for pid in left):
            assert time.monotonic() - killed < PATIENCE, "a process is left"
            time.sleep(0.02)
        good = load.good
        time.sleep(0.5)
    assert load.good > good, "the new daemon serves"


def test_a_second_daemon_is_refused_and_harms_nothing(house):
    second = subprocess.run(
        [Path(sys.executable).with_name("phoenixdkim"), "run", "-c", house.config],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 69
    assert "another daemon is running with this socket" in second.stderr
    assert signed(house.send())


@pytest.mark.parametrize("socket_line", ["inet:{port}@127.0.0.1", "inet:{port}@[::1]"])
def test_inet_sockets(key, socket_line):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with House(key, socket_line=socket_line.replace("{port}", str(port))) as house:
        assert signed(house.send())
        for _ in range(20):
            assert signed(house.send())


def test_socket_mode_and_group(key):
    with House(key) as house:
        assert Path(house.address.removeprefix("unix:")).stat().st_mode & 0o777 == 0o660
        house.stop()
        options = 'workers = 2\nsocket_mode = "0600"\nsocket_group = "mail"'
        house.config.write_text(house.text.replace("workers = 2", options))
        house.start()
        found = Path(house.address.removeprefix("unix:")).stat()
        assert (found.st_mode & 0o777, found.st_gid) == (0o600, grp.getgrnam("mail").gr_gid)


def test_an_inherited_socket(key):
    """From systemd's own tool, which listens, and starts the daemon when the first client comes."""
    house = House(key, socket_line="systemd")
    path = house.base / "activated.sock"
    program = Path(sys.executable).with_name("phoenixdkim")
    command = ["systemd-socket-activate", "-l", path, program, "run", "-c", house.config]
    with house.log_file.open("ab") as log:
        house.process = subprocess.Popen(command, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with MilterClient(f"unix:{path}") as client:
            assert signed(client.send_message(FIELDS, BODY)), "the connection that started it waits and is served"
        house.signal(signal.SIGHUP)
        house.wait_for("reloaded")
        with MilterClient(f"unix:{path}") as client:
            assert signed(client.send_message(FIELDS, BODY))
        assert house.stop() == 0
        assert path.exists(), "it is not ours to remove"
    finally:
        house.close()


def test_systemd_is_told(key, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        house = House(key)
        try:
            house.start({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"})

            def told(wanted):
                while True:
                    message = manager.recv(4096)
                    if wanted in message:
                        return message

            assert told(b"READY=1").startswith(b"READY=1\nSTATUS=")
            told(b"WATCHDOG=1")
            house.signal(signal.SIGHUP)
            assert b"MONOTONIC_USEC=" in told(b"RELOADING=1")
            told(b"READY=1")
            house.stop()
            told(b"STOPPING=1")
        finally:
            house.close()
