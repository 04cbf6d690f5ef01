"""Keys of the running daemon: unchanged, replaced, missing, and such that crash or hang the library."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daemon.house import BODY, House, alive, signed
from interop.peers import KeyPair
from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.keystore import make_private_key

PATIENCE = 100.0
"""Seconds on a machine that is busy with other things."""
POISONOUS = make_private_key(Algorithm.ED25519_SHA256)
PLUGGED = """\
import os, signal
import phoenixdkim.keystore.formats as formats
import phoenixdkim.keystore.progress as progress

progress.KEY_TIMEOUT = 2.0
genuine = formats.load_der_private_key

def load(data, **options):
    if data.hex() == os.environ["POISON"]:
        if os.environ["WAY"] == "hang":
            signal.pause()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), getattr(signal, os.environ["WAY"]))
    return genuine(data, **options)

formats.load_der_private_key = load
"""


def poison(tmp_path: Path, way: str) -> dict[str, str]:
    """An environment in which the library crashes or hangs on one key."""
    (tmp_path / "sitecustomize.py").write_text(PLUGGED)
    der = base64.b64decode(b"".join(POISONOUS.splitlines()[1:-1]))
    return {"PYTHONPATH": str(tmp_path), "POISON": der.hex(), "WAY": way}


def written(path: Path, data: bytes) -> Path:
    """A key file that replaces another by renaming, as tools that care do."""
    new = path.with_name("new")
    new.touch(0o600)
    new.write_bytes(data)
    new.rename(path)
    return path


def second_key(house: House, rules: str = '[[signing.rules]]\nfrom = "*@two.example"\nkeys = ["two"]\n') -> str:
    """The house's configuration with another key, whose file is not there yet."""
    return f"""{house.text}{rules}
[keys.two]
domain = "two.example"
selector = "s"
file = "{house.base}/two.pem"
"""


def send_from(house: House, author: bytes, client: str = "127.0.0.1"):
    """The reply to a message of this author."""
    with house.client() as milter:
        fields = [(b"From", b" " + author), (b"To", b" b@example.net"), (b"Subject", b" hello")]
        return milter.send_message(fields, BODY, client_address=client)


@pytest.fixture
def house(key):
    with House(key) as running:
        yield running


def reload_as_it_is(house: House) -> bool:
    """Reload; whether that was called unchanged, which then is true of the workers too."""
    before, seen = set(house.workers()), house.log().count("reloaded: ")
    house.signal(signal.SIGHUP)
    house.wait_for("reloaded: ", seen + 1, timeout=PATIENCE)
    unchanged = house.log().rstrip().rpartition("reloaded: ")[2].startswith("unchanged")
    assert bool(set(house.workers()) - before) is not unchanged
    assert signed(house.send())
    return unchanged


def test_a_reload_without_change_makes_no_generation(house):
    assert reload_as_it_is(house)
    text = house.config.read_text()
    house.config.write_text(text)  # another mtime, the same octets
    assert reload_as_it_is(house)
    house.config.write_text(text + "# a comment\n")
    assert not reload_as_it_is(house)
    assert reload_as_it_is(house)


@pytest.mark.timeout(600)
def test_each_changed_file_makes_a_generation(house, key):
    other = KeyPair.rsa("example.com").pem

    def touch() -> None:
        os.utime(house.key_file)

    def replace() -> None:
        written(house.key_file, other)

    def rewrite() -> None:
        house.key_file.write_bytes(key.pem)

    def chmod() -> None:
        house.key_file.chmod(0o640)

    def link() -> None:
        house.key_file.rename(house.base / "real.pem")
        house.key_file.symlink_to("real.pem")

    def behind_the_link() -> None:
        written(house.base / "real.pem", other)

    def zone() -> None:
        with (house.base / "zone").open("a") as file:
            file.write("; a comment\n")

    assert reload_as_it_is(house)
    for change in (touch, replace, rewrite, chmod, link, behind_the_link, zone):
        change()
        assert not reload_as_it_is(house), change
        assert reload_as_it_is(house), change


def test_keys_of_a_kubernetes_secret_are_rotated(key):
    house = House(key)
    secret = house.base / "secret"
    secret.mkdir()
    secret.chmod(0o1777)

    def publish(version: str, data: bytes) -> None:
        (secret / version).mkdir()
        file = secret / version / "key.pem"
        file.touch(0o400)
        file.write_bytes(data)
        (secret / "..data_tmp").symlink_to(version)
        (secret / "..data_tmp").rename(secret / "..data")

    publish("..1", key.pem)
    (secret / "key.pem").symlink_to("..data/key.pem")
    house.text = house.text.replace(str(house.key_file), f"{secret}/key.pem")
    house.config.write_text(house.text)
    with house:
        assert signed(house.send()) and reload_as_it_is(house)
        publish("..2", KeyPair.rsa("example.com").pem)
        assert not reload_as_it_is(house)
        assert reload_as_it_is(house)
        assert house.stop() == 0


@pytest.mark.parametrize("way", ["SIGSEGV", "SIGABRT", "SIGKILL", "hang"])
def test_a_key_that_crashes_or_hangs_the_loader_refuses_the_reload(key, tmp_path, way):
    house = House(key)
    environment = poison(tmp_path, way)
    message = "loading this key took more than 2 s" if way == "hang" else "loading this key crashed the loader"
    try:
        house.start(environment)
        house.config.write_text(second_key(house))
        written(house.base / "two.pem", POISONOUS)
        house.signal(signal.SIGHUP)
        house.wait_for("reload refused; the configuration in force stays", timeout=PATIENCE)
        line = house.config.read_text().count("\n")
        assert f"{house.config}:{line}: keys.two.file: {message}" in house.log()
        assert way == "hang" or f"signal {way}" in house.log()
        assert signed(house.send())
        # `check` says the same, and goes on to the end.
        command = [Path(sys.executable).with_name("phoenixdkim"), "check", "-c", house.config]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=100)
        assert done.returncode == 78 and f"keys.two.file: {message}" in done.stderr
        assert "Traceback" not in house.log() + done.stderr
        # The good key instead of it is taken.
        written(house.base / "two.pem", make_private_key(Algorithm.ED25519_SHA256))
        house.reload(house.config.read_text())
        assert signed(send_from(house, b"a@two.example"))
        assert house.stop() == 0
    finally:
        house.close()


def test_a_start_with_such_a_key_is_refused(key, tmp_path):
    house = House(key)
    try:
        house.config.write_text(second_key(house))
        written(house.base / "two.pem", POISONOUS)
        command = [Path(sys.executable).with_name("phoenixdkim"), "run", "-c", house.config]
        environment = os.environ | poison(tmp_path, "SIGSEGV")
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
        assert done.returncode == 78
        assert "keys.two.file: loading this key crashed the loader (signal SIGSEGV)" in done.stderr
    finally:
        house.close()


def test_mail_of_a_missing_key_is_deferred(key):
    house = House(key, extra='[signing]\non_missing_key = "tempfail"\n')
    # The rules' table comes first.
    house.text = house.text.replace('[signing]\non_missing_key = "tempfail"\n', "")
    house.text = house.text.replace("[[signing.rules]]", '[signing]\non_missing_key = "tempfail"\n[[signing.rules]]', 1)
    both = '[[signing.rules]]\nfrom = "*@{}.example"\nkeys = {}\n'
    house.text = second_key(house, both.format("two", '["two"]') + both.format("three", '["two", "main"]'))
    house.config.write_text(house.text)
    with house:
        warning = f"keys.two.file: {house.base}/two.pem: there is no such file"
        assert warning in house.log() and 'signing.rules[1] ("*@two.example"): its mail is deferred' in house.log()
        assert signed(house.send())
        for _ in range(3):
            reply = send_from(house, b"a@two.example")
            assert reply.smtp == b"451 4.7.5 signing key not available, try again later" and not signed(reply)
        assert "unsigned=key_missing disposition=tempfail" in house.log()
        assert len(signatures(send_from(house, b"a@three.example"))) == 1
        incoming = send_from(house, b"a@two.example", client="192.0.2.1")
        assert not incoming.smtp and not signed(incoming)
        metrics = [Path(sys.executable).with_name("phoenixdkim"), "check", "-c", house.config]
        done = subprocess.run(metrics, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0 and warning in done.stderr
        written(house.base / "two.pem", make_private_key(Algorithm.ED25519_SHA256))
        assert not reload_as_it_is(house)
        assert signed(send_from(house, b"a@two.example"))
        assert len(signatures(send_from(house, b"a@three.example"))) == 2
        assert reload_as_it_is(house)
        # It goes again: what is in memory stays in force until a reload finds it missing, which is no refusal.
        (house.base / "two.pem").unlink()
        assert signed(send_from(house, b"a@two.example"))
        assert not reload_as_it_is(house)
        assert send_from(house, b"a@two.example").smtp.startswith(b"451 4.7.5 ")
        assert house.stop() == 0


def signatures(reply):
    return [change for change in reply.modifications if change.name == b"DKIM-Signature"]


def test_a_leader_that_is_killed_while_it_loads_leaves_nothing_behind(house):
    """Whoever kills it: the workers in force go on, and the next reload works."""
    workers = house.workers()
    house.config.write_text(house.text + "# changed\n")
    house.signal(signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE
    while "reload refused" not in house.log() and "reloaded: " not in house.log():
        assert time.monotonic() < deadline
        for pid, line in house.descendants().items():
            if "phoenixdkim run" in line and pid not in workers and not _leads(pid, workers):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
    assert signed(house.send())
    house.reload()
    assert signed(house.send())
    assert all(alive(pid) for pid in house.workers())


def _leads(pid: int, workers: list[int]) -> bool:
    """Whether a process is the parent of one of these."""
    for worker in workers:
        try:
            if int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]) == pid:
                return True
        except OSError:
            continue
    return False
