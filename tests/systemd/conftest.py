"""The machine that the tests share, and what each of them finds in it: a configuration and stopped units."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Final

import pytest

from interop.peers import KeyPair
from phoenixdkim.testing.milter_client import MilterClient
from systemd.machine import Machine

METRICS: Final = "/var/lib/prometheus/node-exporter"
CONFIG: Final = """\
[milter]
socket = "{socket}"
{milter}
workers = {workers}
[process]
user = "phoenixdkim"
[log]
destination = "stderr"
[[signing.rules]]
from = "*@example.com"
keys = ["main"]
[keys.main]
domain = "example.com"
selector = "{key.selector}"
file = "/etc/phoenixdkim/key.pem"
[verifying]
authserv_id = "mx.example"
[dns]
zone = "/etc/phoenixdkim/zone"
{more}
"""
FIELDS: Final = [(b"From", b" a@example.com"), (b"To", b" b@example.net"), (b"Subject", b" hello")]
UNIT: Final = "/run/phoenixdkim/milter.sock"
SPOOL: Final = "/var/spool/postfix/phoenixdkim/milter.sock"


class Service:
    """The units of the project in the machine, and mail that goes through them."""

    def __init__(self, machine: Machine, key: KeyPair) -> None:
        self.machine = machine
        self._key = key
        self.socket = UNIT

    def configure(self, socket: str = f"unix:{UNIT}", *, workers: int = 2, more: str = "") -> None:
        """Write the configuration file."""
        milter = ""
        if socket.startswith("unix:"):
            self.socket = socket.removeprefix("unix:")
            milter = 'socket_mode = "0660"\nsocket_group = "postfix"'
        self.write(CONFIG.format(socket=socket, milter=milter, workers=workers, more=more, key=self._key))

    def write(self, text: str) -> None:
        """Write the text of the configuration file, whatever it is."""
        directory = self.machine.root / "etc/phoenixdkim"
        (directory / "new").write_text(text)
        os.rename(directory / "new", directory / "phoenixdkim.toml")

    def drop_in(self, unit: str, text: str) -> None:
        """Change a unit as ``systemctl edit`` does."""
        directory = self.machine.root / f"etc/systemd/system/{unit}.d"
        directory.mkdir()
        (directory / "test.conf").write_text(text)
        self.machine.systemctl("daemon-reload")

    def client(self) -> MilterClient:
        """A connection from Postfix's side."""
        return MilterClient(f"unix:{self.machine.path(self.socket)}", timeout=120)

    def assert_signs(self) -> None:
        """Send a message, which must be signed."""
        with self.client() as client:
            reply = client.send_message(FIELDS, b"Hello\r\n")
        assert [change.name for change in reply.modifications] == [b"DKIM-Signature"], (reply, self.machine.journal())


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


@pytest.fixture
def service(machine: Machine, key: KeyPair) -> Iterator[Service]:
    machine.begin_journal()
    directory = machine.root / "etc/phoenixdkim"
    directory.mkdir()
    (directory / "key.pem").touch(0o600)
    (directory / "key.pem").write_bytes(key.pem)
    (directory / "zone").write_text(key.zone_line)
    metrics = machine.root / METRICS.lstrip("/")
    metrics.mkdir(parents=True)
    machine.run("chown", "phoenixdkim-textfile", METRICS)
    service = Service(machine, key)
    service.configure()
    try:
        yield service
    finally:
        for unit in ("phoenixdkim.socket", "phoenixdkim.service"):
            machine.try_run("systemctl", "stop", unit)
            machine.try_run("systemctl", "reset-failed", unit)
            shutil.rmtree(machine.root / f"etc/systemd/system/{unit}.d", ignore_errors=True)
        machine.systemctl("disable", "phoenixdkim.socket")
        machine.systemctl("daemon-reload")
        machine.run("rm", "-rf", "/run/phoenixdkim", METRICS, "/etc/phoenixdkim", "/var/spool/postfix")


@pytest.fixture(scope="session")
def key() -> KeyPair:
    return KeyPair.rsa("example.com")
