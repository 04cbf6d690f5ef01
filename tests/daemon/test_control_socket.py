"""The control socket: who may use it, what it bears, and that mail does not depend on it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.house import House, signed
from interop.peers import KeyPair
from phoenixdkim.daemon.control_client import Unreachable, request_reload, request_status
from phoenixdkim.daemon.control_messages import CODEC, ReloadRequest, StatusRequest, Verdict
from phoenixdkim.daemon.control_socket import MAX_CLIENTS

PHOENIXDKIM = Path(sys.executable).with_name("phoenixdkim")


@pytest.fixture
def house(key: KeyPair) -> Iterator[House]:
    with House(key) as running:
        yield running


def path_of(house: House) -> Path:
    return house.base / "control.sock"


def connect(house: House) -> socket.socket:
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end.settimeout(30)
    end.connect(str(path_of(house)))
    return end


def run(*arguments: object, uid: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PHOENIXDKIM, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, user=uid
    )


def test_it_is_there_for_its_user_alone_and_gone_at_the_end(house: House) -> None:
    found = path_of(house).lstat()
    assert stat.S_ISSOCK(found.st_mode)
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, os.geteuid())
    assert request_status(str(path_of(house))).pid == house.pid
    assert request_status(str(path_of(house))).path == str(house.config)
    assert house.stop() == 0
    assert not path_of(house).exists()


def test_reload_says_what_changed(house: House) -> None:
    done = run("reload", "-c", house.config)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("reloaded: rules 1, keys 1, trusted 2", "unchanged"))
    house.config.write_text(house.text + "[verifying.x]\n")
    done = run("reload", "-c", house.config)
    assert (done.returncode, done.stdout) == (1, "")
    assert "verifying.x" in done.stderr
    assert done.stderr.endswith("phoenixdkim: reload refused; the configuration in force stays\n")
    # A file that is no TOML does not say where the socket is.
    house.config.write_text("[[[")
    assert run("reload", "--socket", path_of(house)).returncode == 1
    assert signed(house.send())


def test_reload_without_a_daemon(tmp_path: Path) -> None:
    config = tmp_path / "file"
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as made:
        made.bind(str(stale))
    for text, words in (
        (f'[control]\nsocket = "{tmp_path}/none"\n', "No such file"),
        (f'[control]\nsocket = "{stale}"\n', "Connection refused"),
        (f'[control]\nsocket = "{config}"\n', "Connection refused"),
        ('[control]\nsocket = ""\n', "control.socket is empty"),
    ):
        config.write_text(text + '[process]\nuser = "daemon"\n')
        done = run("reload", "-c", config)
        assert (done.returncode, done.stdout) == (69, "")
        assert words in done.stderr
        verbose = run("check", "-v", "-c", config)
        assert "no running daemon was reached" in verbose.stdout
        assert "no running daemon" not in run("check", "-c", config).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
def test_other_users_are_refused_even_if_they_can_connect(house: House) -> None:
    path_of(house).chmod(0o777)
    pid = os.fork()
    if pid == 0:
        status = 9
        try:
            os.setresuid(65534, 65534, 65534)
            try:
                request_status(str(path_of(house)))
            except Unreachable:
                status = 7
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert request_status(str(path_of(house))).pid == house.pid


JUNK = [
    b"",
    b"\0",
    b"null",
    b"[]",
    b"{}",
    b"{" * 1000,
    b'{"version": 99, "kind": "statusrequest"}',
    b'{"version": 1, "kind": "statusrequest", "x": 1}',
    b'{"version": 1, "kind": "reloadrequest", "accept_shrink": "yes"}',
    b'{"version": 1, "kind": "status"}',
    os.urandom(200_000),
]


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_ends_its_own_connection_only(house: House, junk: bytes) -> None:
    with connect(house) as good, connect(house) as bad:
        bad.send(junk)
        try:
            assert bad.recv(100) == b""
        except ConnectionResetError:
            pass
        good.send(CODEC.encode(StatusRequest()))
        assert b'"pid"' in good.recv(100_000)
    assert signed(house.send())
    assert "Traceback" not in house.log()


def test_clients_that_hang_are_bounded_and_dropped(house: House) -> None:
    hanging = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(4 * MAX_CLIENTS)]
    for end in hanging:
        # Waits while the queue is full.
        end.connect(str(path_of(house)))
    begun = time.monotonic()
    while True:
        try:
            assert request_status(str(path_of(house)), 1).pid == house.pid
            break
        except Unreachable:
            assert time.monotonic() - begun < 60
            time.sleep(0.1)
    assert signed(house.send())
    house.signal(signal.SIGHUP)
    house.wait_for("reload")
    for end in hanging:
        end.close()
    assert house.stop() == 0


def test_clients_that_leave_before_the_answer_harm_nothing(house: House) -> None:
    for _ in range(5):
        with connect(house) as end:
            end.send(CODEC.encode(ReloadRequest(False)))
    assert request_reload(str(path_of(house)), False).verdict is not Verdict.REFUSED
    assert signed(house.send())


def test_many_requests_at_once_are_few_reloads_and_all_are_answered(house: House) -> None:
    ends = [connect(house) for _ in range(MAX_CLIENTS)]
    for end in ends:
        end.send(CODEC.encode(ReloadRequest(False)))
    for end in ends:
        assert b'"reloadresult"' in end.recv(100_000)
        end.close()
    assert house.log().count("\nreloading\n") <= 2


def test_a_request_that_a_stop_overtakes_ends(house: House) -> None:
    house.config.write_text(house.text)
    with connect(house) as end:
        end.send(CODEC.encode(ReloadRequest(False)))
        house.wait_for("reloading")
        assert house.stop() == 0
        try:
            assert end.recv(100) == b""
        except ConnectionResetError:
            pass


def test_a_path_that_cannot_be_used_is_a_warning(key: KeyPair) -> None:
    house = House(key)
    path = path_of(house)
    other = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        path.write_text("not a socket")
        house.start()
        assert "control.sock exists and is not a socket; remove it or set another path" in house.log()
        assert signed(house.send())
        house.stop()
        assert path.read_text() == "not a socket"
        path.unlink()
        other.bind(str(path))
        other.listen(1)
        house.start()
        assert "control.sock: another program listens there; set another path" in house.log()
        assert signed(house.send())
        house.stop()
        assert path.exists(), "it is not ours"
        other.close()
        house.start()
        assert request_status(str(path)).pid == house.pid
        house.process.kill() if house.process else None
        house.wait()
        assert path.exists()
        house.start()
        assert request_status(str(path)).pid == house.pid
        path.unlink()
        path.write_text("somebody else's")
        house.stop()
        assert path.read_text() == "somebody else's"
        house.config.write_text(house.text.replace("control.sock", "nowhere/control.sock"))
        house.start()
        assert "nowhere/control.sock: No such file or directory; 'phoenixdkim reload' will not work" in house.log()
        assert signed(house.send())
    finally:
        other.close()
        house.close()


def test_leader_workers_and_exporters_do_not_hold_it(key: KeyPair) -> None:
    with House(key, exporters='[exporters.textfile]\npath = "{metrics}/x.prom"\n') as house, connect(house):
        house.signal(signal.SIGHUP)
        house.wait_for("reloaded: ")
        inode = next(
            row.split()[6] for row in Path("/proc/net/unix").read_text().splitlines() if str(path_of(house)) in row
        )
        for pid in house.descendants():
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    assert os.readlink(entry) != f"socket:[{inode}]"
                except FileNotFoundError:
                    continue


def test_an_empty_path_means_none(key: KeyPair) -> None:
    house = House(key)
    house.config.write_text(house.text.replace(f'"{path_of(house)}"', '""'))
    try:
        house.start()
        assert signed(house.send())
        assert not path_of(house).exists()
        assert "control.socket" not in house.log()
    finally:
        house.close()
