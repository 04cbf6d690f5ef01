"""``check`` does not say good when this host lacks something, and leaves out what the running daemon itself uses."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.house import House
from interop.peers import KeyPair
from phoenixdkim.cli import environment
from phoenixdkim.cli.environment import environment_faults
from phoenixdkim.config.load import read_text
from phoenixdkim.exporters import environment as exporter_environment
from phoenixdkim.exporters.check import _lacking, check_tables
from phoenixdkim.exporters.environment import findings
from phoenixdkim.exporters.inspection import inspect_plugin
from phoenixdkim.exporters.messages import Reported
from phoenixdkim.exporters.packages import InstalledExporter
from phoenixdkim.hookspecs import Finding, hookimpl
from phoenixdkim.listeners import listens

PROGRAM = Path(sys.executable).with_name("phoenixdkim")
QUIET = '[verifying]\nauthserv_id = "mx.example"\n[process]\nuser = "daemon"\n'
SOCKET = '[milter]\nsocket = "inet:8891@127.0.0.1"\n'


def found(text: str) -> list[str]:
    loaded = read_text(QUIET + text, "file")
    assert loaded.config is not None, loaded.faults
    faults = environment_faults(loaded, 0)
    assert not any(fault.is_error for fault in faults), "the daemon may start elsewhere, or later"
    return [str(fault) for fault in faults]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_nothing_is_lacking(tmp_path):
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    assert found(SOCKET + f'[dns]\nresolv_conf = "{tmp_path}/resolv.conf"\n') == []
    assert (
        found(f'[milter]\nsocket = "unix:{tmp_path}/socket"\nsocket_mode = "0666"\n[dns]\nnameservers = ["::1"]\n')
        == []
    )
    assert found('[milter]\nsocket = "systemd"\n[dns]\nnameservers = ["127.0.0.1"]\n') == []


def test_the_directory_of_the_socket(tmp_path):
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / "none" / "socket", "none: No such file or directory; create it"),
        (tmp_path / "file" / "socket", "file is not a directory"),
        (tmp_path / "file" / "below" / "socket", "Not a directory"),
        (Path("/proc/sys/socket"), "read-only|not writable|is not"),
    ):
        lines = found(f'[milter]\nsocket = "unix:{path}"\nsocket_mode = "0666"\n')
        assert len(lines) == (0 if path.parent == Path("/proc/sys") and os.geteuid() == 0 else 1) or lines
        assert all(re.search(message, line) and line.startswith("file:6: warning: milter.socket: ") for line in lines)


def test_what_is_at_the_sockets_path(tmp_path):
    path = tmp_path / "socket"
    text = f'[milter]\nsocket = "unix:{path}"\nsocket_mode = "0666"\n'
    path.touch()
    assert "exists and is not a socket; remove it" in found(text)[0]
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert found(text) == [], "left over: the daemon replaces it"
        listening.listen()
        assert "a program is listening there" in found(text)[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="root's sockets are root's group's")
@pytest.mark.parametrize(("mode", "warned"), [("0660", True), ("0600", True), ("0666", False), ("0662", False)])
def test_a_socket_that_postfix_cannot_reach(tmp_path, mode, warned):
    lines = found(f'[milter]\nsocket = "unix:{tmp_path}/socket"\nsocket_mode = "{mode}"\n')
    assert [("socket_group: empty" in line) for line in lines] == [True] * warned
    assert found(f'[milter]\nsocket = "unix:{tmp_path}/s"\nsocket_mode = "{mode}"\nsocket_group = "daemon"\n') == []


def test_a_tcp_socket(taken):
    def of(address: str) -> str:
        return "".join(found(f'[milter]\nsocket = "inet:{address}"\n'))

    assert "Address already in use; stop the program that uses it" in of(f"{taken}@127.0.0.1")
    assert "this host does not have the address" in of("8891@192.0.2.1")
    assert re.search("this host does not have the address|IPv6 is disabled", of("8891@[2001:db8::1]"))
    assert of("8891@127.0.0.1") == ""


def test_the_resolver(tmp_path):
    path = tmp_path / "resolv.conf"
    text = SOCKET + f'[dns]\nresolv_conf = "{path}"\n'
    assert "No such file or directory" in found(text)[0]
    path.mkdir()
    assert "Is a directory" in found(text)[0]
    path.rmdir()
    path.write_text("search example.com\n")
    assert "names no name server" in found(text)[0]
    path.write_text("search example.com\nnameserver 192.0.2.1\n")
    assert found(text) == []


@pytest.mark.parametrize("destination", ["syslog", "journal"])
def test_the_log(tmp_path, monkeypatch, destination):
    monkeypatch.setattr(environment, destination.upper(), str(tmp_path / "log"))
    text = SOCKET + f'[log]\ndestination = "{destination}"\n'
    assert "lines would go to standard error" in found(text)[0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "log"))
        assert found(text) == []


def test_who_listens(taken):
    assert listens(os.getpid(), "127.0.0.1", taken) is True
    assert listens(os.getpid(), "0.0.0.0", taken) is True
    assert listens(os.getpid(), "127.0.0.2", taken) is False
    assert listens(0, "127.0.0.1", taken) is False
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    assert listens(child.pid, "127.0.0.1", taken) is False
    child.communicate()


# Exporters.


def check(place: Path, text: str) -> tuple[int, str, str]:
    """Status, output and errors of ``check`` for these tables."""
    base = place / "phoenixdkim.toml"
    base.write_text(QUIET + SOCKET + '[dns]\nnameservers = ["127.0.0.1"]\n' + text)
    ran = subprocess.run([PROGRAM, "check", "-c", base], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can enter; pytest's own are for one user."""
    base = Path(tempfile.mkdtemp(prefix="pdkim-check-"))
    base.chmod(0o755)
    yield base
    shutil.rmtree(base)


def lacking(place: Path, text: str) -> str:
    status, output, errors = check(place, text)
    assert status == 0, errors
    assert "good" not in output and "accepted with 1 warning" in output
    assert errors.count("warning") == 1
    return errors


def test_the_textfiles_directory(place):
    text = '[exporters.textfile]\npath = "{}"\n'
    (place / "file").touch()
    (place / "open").mkdir()
    (place / "open").chmod(0o777)
    (place / "open" / "d.prom").mkdir()
    assert "No such file or directory" in lacking(place, text.format(place / "none" / "x.prom"))
    assert "is not a directory" in lacking(place, text.format(place / "file" / "x.prom"))
    below = lacking(place, text.format(place / "file" / "below" / "x.prom"))
    assert re.search("Not a directory|Permission denied", below)
    assert "is a directory" in lacking(place, text.format(place / "open" / "d.prom"))
    assert check(place, text.format(place / "open" / "x.prom"))[2] == ""
    (place / "open").chmod(0o555)
    assert "not writable for user id" in lacking(place, text.format(place / "open" / "x.prom"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_file_system_that_is_mounted_read_only(place):
    base = place / "phoenixdkim.toml"
    base.write_text(
        QUIET
        + f'[milter]\nsocket = "unix:{place}/disk/socket"\nsocket_group = "daemon"\n'
        + f'[dns]\nnameservers = ["127.0.0.1"]\n[exporters.textfile]\npath = "{place}/disk/x.prom"\n'
    )
    (place / "disk").mkdir()
    script = f"mount -t tmpfs -o ro,mode=777 none {place}/disk && exec {PROGRAM} check -c {base}"
    ran = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.count("is on a file system that is mounted read-only")) == (0, 2), ran.stderr


def test_the_http_port(place, taken):
    text = '[exporters.http]\nlisten = "{}"\n'
    assert "Address already in use" in lacking(place, text.format(f"127.0.0.1:{taken}"))
    status, output, errors = check(place, text.format("192.0.2.1:9323"))
    assert status == 0 and "this host does not have the address" in errors and "good" not in output


def test_the_statsd_server(place):
    text = '[exporters.statsd]\naddress = "{}"\n'
    assert "nothing can be sent there now" in lacking(place, text.format("no-such-host.invalid:8125"))
    assert "No such file" in lacking(place, text.format(f"unix:{place}/none"))
    assert check(place, text.format("127.0.0.1:8125"))[2] == ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.daemon
@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees whose a port is")
def test_what_the_running_daemon_uses_is_not_reported():
    key = KeyPair.rsa("example.com")
    milter, http = free_port(), free_port()
    tables = f'[exporters.http]\nlisten = ["127.0.0.1:{http}"]\n'
    with House(key, socket_line=f"inet:{milter}@127.0.0.1", exporters=tables) as house:
        deadline = time.monotonic() + 60
        while listens(house.pid, "127.0.0.1", http) is not True:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ran = subprocess.run([PROGRAM, "check", "-c", house.config], capture_output=True, text=True, check=False)
        assert "in use" not in ran.stderr, ran.stderr
        other = house.base / "other.toml"
        other.write_text(re.sub(r'(?m)(^\[control\]\nsocket = ").*"', rf'\g<1>{house.base}/other"', house.text))
        ran = subprocess.run([PROGRAM, "check", "-c", other], capture_output=True, text=True, check=False)
        assert ran.stderr.count("Address already in use") == 2, "another daemon's, as far as this file knows"


@pytest.mark.parametrize("mode", [None, 0o644])
def test_an_interpreter_that_the_exporter_cannot_run(place, monkeypatch, capfd, mode):
    python = place / "python"
    if mode is not None:
        python.touch()
        python.chmod(mode)
    monkeypatch.setattr(sys, "executable", str(python))
    (fault,) = check_tables({"http": {}})
    assert not fault.refuses
    assert "it cannot be started: its user cannot run the interpreter" in fault.message
    assert f"cannot start an exporter as user id {os.geteuid()}: {python}" in capfd.readouterr().err


# The hook.


class Looks:
    api_version = 1
    answer: object = None

    @hookimpl
    def phoenixdkim_check(self, options):
        if callable(self.answer):
            return self.answer()
        return self.answer

    @hookimpl
    def phoenixdkim_tick(self, now):
        pass


def raising() -> object:
    raise SystemExit("no")


@pytest.mark.parametrize(
    ("answer", "messages"),
    [
        (None, []),
        ([], []),
        ([Finding("one"), Finding("two", "127.0.0.1:1")], ["one", "two"]),
        ((Finding("one"),), ["one"]),
        ("text", ["phoenixdkim_check returned a str; return a list of Finding"]),
        (["text"], ["phoenixdkim_check returned a list with a str; return a list of Finding"]),
        (raising, ["phoenixdkim_check raised SystemExit: no at"]),
        ([Finding("a\nb\x1b[2J" + "x" * 1000)], ["a"]),
        ([Finding(f"{n}") for n in range(1000)], [f"{n}" for n in range(20)]),
    ],
)
def test_answers_of_the_hook(monkeypatch, answer, messages):
    plugin = type("Plugin", (Looks,), {"answer": staticmethod(answer) if callable(answer) else answer})
    one = InstalledExporter("mine", "m:X", "pkg 1", lambda: plugin)
    monkeypatch.setattr("phoenixdkim.exporters.inspection.find_exporter", lambda kind: one)
    got = findings(inspect_plugin("mine", {}))
    assert len(got) == len(messages)
    for reported, message in zip(got, messages, strict=True):
        assert reported.message.startswith(message)
        assert len(reported.message) <= 500


def test_findings_are_shown_as_one_line():
    (fault,) = _lacking("mine", [Reported("a\nb\x1b[2J")], 0)
    assert fault.message.isprintable()
    assert _lacking("mine", [Reported("x", "no address")], 0) == []


def test_a_hook_that_hangs_is_bounded(monkeypatch):
    waiting = threading.Event()
    plugin = type("Plugin", (Looks,), {"answer": staticmethod(waiting.wait)})
    one = InstalledExporter("mine", "m:X", "pkg 1", lambda: plugin)
    monkeypatch.setattr("phoenixdkim.exporters.inspection.find_exporter", lambda kind: one)
    (reported,) = findings(inspect_plugin("mine", {}), 0.2)
    assert "gave no answer in 0.2 s" in reported.message
    waiting.set()
    assert exporter_environment.HOOK_TIMEOUT < 10, "less than the check as a whole"
