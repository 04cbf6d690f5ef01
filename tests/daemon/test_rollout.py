"""Signing is never switched off by accident: whatever lies at the configuration's path, and whoever dies."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.house import House, alive, signed
from interop.peers import KeyPair

PHOENIXDKIM = Path(sys.executable).with_name("phoenixdkim")
AGAIN = "the workers have a leader again"


@pytest.fixture
def house(key: KeyPair) -> Iterator[House]:
    with House(key) as running:
        yield running


def eventually(what: str, look: Callable[[], object], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def leader(house: House) -> int:
    """Pid of the leader: a child of the supervisor that has children."""
    workers = house.workers()
    return int(Path(f"/proc/{workers[0]}/stat").read_text().rpartition(")")[2].split()[1])


def remove(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def empty(path: Path, _text: str) -> None:
    path.write_text("")


def comments(path: Path, text: str) -> None:
    path.write_text("".join(f"# {line}\n" for line in text.splitlines()))


def cut(path: Path, text: str) -> None:
    path.write_text(text.partition("[[signing.rules]]")[0])


def cut_in_a_line(path: Path, text: str) -> None:
    path.write_text(text[: text.index("selector =") + 12])


def cut_before_the_keys(path: Path, text: str) -> None:
    path.write_text(text.partition("[keys.")[0])


def no_rules(path: Path, text: str) -> None:
    path.write_text(text.partition("[[signing.rules]]")[0] + "[signing]\n")


def no_networks(path: Path, text: str) -> None:
    path.write_text(text + "\n[signing]\ntrusted = []\n")


def broken(path: Path, text: str) -> None:
    path.write_text(text + "\n[[[")


def zeros(path: Path, text: str) -> None:
    path.write_bytes(bytes(len(text)))


def missing(path: Path, _text: str) -> None:
    path.unlink()


def directory(path: Path, _text: str) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path, _text: str) -> None:
    path.unlink()
    os.mkfifo(path)


def dangling(path: Path, _text: str) -> None:
    path.unlink()
    path.symlink_to("/nonexistent/file")


def endless(path: Path, _text: str) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


BAD = [
    empty,
    comments,
    cut,
    cut_in_a_line,
    cut_before_the_keys,
    no_rules,
    no_networks,
    broken,
    zeros,
    missing,
    directory,
    fifo,
    dangling,
    endless,
]


def test_neither_a_signal_nor_a_killed_leader_takes_a_bad_file(house: House) -> None:
    for number, spoil in enumerate(BAD, 1):
        remove(house.config)
        house.config.write_text(house.text)
        spoil(house.config, house.text)
        os.kill(leader(house), signal.SIGKILL)
        house.wait_for(AGAIN, number)
        assert signed(house.send()), spoil.__name__
        house.signal(signal.SIGUSR1 if number % 2 else signal.SIGHUP)
        house.wait_for("reload refused; the configuration in force stays", number)
        assert signed(house.send()), spoil.__name__
    remove(house.config)
    house.config.write_text(house.text + "# restored\n")
    house.signal(signal.SIGHUP)
    house.wait_for("reloaded: rules 1, keys 1, trusted 2\n")
    assert signed(house.send())
    assert house.stop() == 0


def test_the_workers_outlive_their_leader_while_its_key_is_missing(house: House) -> None:
    key = house.key_file.read_bytes()
    house.key_file.unlink()
    workers = house.workers()
    os.kill(leader(house), signal.SIGKILL)
    house.wait_for("could not be replaced; trying again in 1 s")
    house.wait_for("could not be replaced; trying again in 2 s")
    assert "key.pem" in house.log()
    for _ in range(10):
        assert signed(house.send())
    assert all(alive(pid) for pid in workers)
    house.key_file.write_bytes(b"no key")
    house.wait_for("could not be replaced; trying again in 4 s")
    assert signed(house.send())
    house.key_file.chmod(0o600)
    house.key_file.write_bytes(key)
    house.wait_for(AGAIN, timeout=60)
    assert signed(house.send())
    eventually("the old workers end", lambda: not any(alive(pid) for pid in workers))
    assert len(house.workers()) == 2


def test_a_reload_replaces_a_dead_leader_too(house: House) -> None:
    house.key_file.rename(house.base / "other.pem")
    workers = house.workers()
    os.kill(leader(house), signal.SIGKILL)
    house.wait_for("could not be replaced")
    house.config.write_text(house.text.replace("key.pem", "other.pem"))
    house.signal(signal.SIGHUP)
    house.wait_for("reloaded: rules 1, keys 1 (changed), trusted 2")
    assert signed(house.send())
    eventually("the old workers end", lambda: not any(alive(pid) for pid in workers))


def test_a_message_at_a_worker_without_leader_is_finished_at_stop(house: House) -> None:
    house.key_file.unlink()
    os.kill(leader(house), signal.SIGKILL)
    house.wait_for("could not be replaced")
    begun = time.monotonic()
    assert house.stop() == 0
    assert time.monotonic() - begun < 15


def test_a_key_that_was_replaced_is_named(house: House) -> None:
    data = house.key_file.read_bytes()
    other = house.base / "new.pem"
    other.touch(0o600)
    other.write_bytes(data)
    other.rename(house.key_file)
    house.signal(signal.SIGHUP)
    house.wait_for("reloaded: rules 1, keys 1, trusted 2, key files changed\n")
    house.signal(signal.SIGHUP)
    house.wait_for("reloaded: unchanged")
    assert signed(house.send())


RULES = "".join(f'[[signing.rules]]\nfrom = "*@d{number}.example"\nkeys = ["main"]\n' for number in range(7))


def reload(house: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [PHOENIXDKIM, "reload", "-c", house.config, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def check(house: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [PHOENIXDKIM, "check", "-c", house.config, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_shrunk_configuration_needs_consent(key: KeyPair) -> None:
    with House(key, extra=RULES) as house:
        house.config.write_text(house.text.replace(RULES, ""))
        asked = check(house)
        assert asked.returncode == 0
        assert f"reload of the running daemon (pid {house.pid}): rules 8 -> 1, keys 1, trusted 2" in asked.stdout
        assert "a reload would be refused: signing.rules: 8 -> 1 removes more than" in asked.stdout
        done = reload(house)
        assert (done.returncode, done.stdout) == (1, "")
        assert "signing.rules: 8 -> 1 removes more than reload.max_shrink = 0.5 allows" in done.stderr
        assert "phoenixdkim reload --accept-shrink" in done.stderr
        assert "signing.rules: 8 -> 1 removes more" in house.log()
        accepted = reload(house, "--accept-shrink")
        assert (accepted.returncode, accepted.stderr) == (0, "")
        assert accepted.stdout == "reloaded: rules 8 -> 1, keys 1, trusted 2\n"
        assert "reloaded: rules 8 -> 1, keys 1, trusted 2\n" in house.log()
        assert signed(house.send())


def test_signing_is_switched_off_by_saying_so(house: House) -> None:
    house.config.write_text(house.text + "\n[signing]\nenabled = false\n")
    done = reload(house)
    assert (done.returncode, done.stdout) == (0, "reloaded: rules 1 -> 0, keys 1, trusted 2, signing on -> off\n")
    assert not signed(house.send())
    house.config.write_text(house.text)
    assert reload(house).stdout == "reloaded: rules 0 -> 1, keys 1, trusted 2, signing off -> on\n"
    assert signed(house.send())


def test_no_message_meets_a_configuration_that_is_refused(house: House) -> None:
    sent: list[bool] = []
    ending = threading.Event()

    def send() -> None:
        while not ending.is_set():
            sent.append(signed(house.send()))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        for number in range(3):
            house.config.write_text(house.text.partition("[[signing.rules]]")[0])
            house.signal(signal.SIGHUP)
            house.wait_for("reload refused", number + 1)
    finally:
        ending.set()
        thread.join(60)
    assert len(sent) > 3
    assert all(sent)


def test_a_file_that_is_being_written_is_waited_for(house: House) -> None:
    more = house.text + RULES
    # Half of it is a valid configuration.
    half = more.index('[[signing.rules]]\nfrom = "*@d3.')
    with house.config.open("w") as file:
        file.write(more[:half])
        file.flush()
        time.sleep(0.3)
        house.signal(signal.SIGHUP)
        time.sleep(0.4)
        file.write(more[half:])
    house.wait_for("reloaded: rules 1 -> 8")
    assert "rules 1 -> 4" not in house.log()


def test_a_file_that_is_written_for_ever_is_given_up(house: House) -> None:
    ending, begun = threading.Event(), threading.Event()

    def write() -> None:
        other = house.base / "other.toml"
        while not ending.wait(0.02):
            other.write_text(house.text)
            other.rename(house.config)
            begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert begun.wait(60)
        for attempt in range(1, 6):
            house.signal(signal.SIGHUP)
            eventually("an end", lambda n=attempt: len(re.findall("reload refused|reloaded: ", house.log())) == n)
            if "reload refused" in house.log():
                break
            # The writer did not get the processor for a second.
        assert "is still being written to; reload when it is complete" in house.log()
        assert signed(house.send())
    finally:
        ending.set()
        thread.join(60)


def test_a_file_with_a_time_in_the_future_is_read(house: House) -> None:
    house.config.write_text(house.text + RULES)
    os.utime(house.config, (time.time() + 86400,) * 2)
    house.signal(signal.SIGHUP)
    house.wait_for("reloaded: rules 1 -> 8")


def test_a_stop_does_not_wait_for_a_reload(house: House) -> None:
    with house.config.open("a"):
        house.config.write_text(house.text)
        house.signal(signal.SIGHUP)
        house.wait_for("reloading")
        begun = time.monotonic()
        assert house.stop() == 0
        assert time.monotonic() - begun < 15


def test_a_leader_that_hangs_is_given_up_at_stop(house: House, tmp_path: Path) -> None:
    """A key that a leader never finishes to read stops neither mail nor the stop."""
    del tmp_path
    pids = set(house.descendants())
    os.kill(leader(house), signal.SIGSTOP)
    assert signed(house.send())
    house.config.write_text(house.text.replace("workers = 2", "workers = 2\nstop_timeout = 2"))
    house.signal(signal.SIGHUP)
    house.wait_for("reloaded: ", timeout=60)
    assert signed(house.send())
    begun = time.monotonic()
    assert house.stop() == 0
    assert time.monotonic() - begun < 20
    eventually("all processes end", lambda: not any(alive(pid) for pid in pids))


def test_restart_with_a_bad_file_lists_every_error(house: House) -> None:
    assert house.stop() == 0
    house.key_file.unlink()
    house.config.write_text(house.text.replace("workers = 2", 'workers = "two"').replace("[dns]", "[dns]\nnone = 1"))
    done = subprocess.run([PHOENIXDKIM, "run", "-c", house.config], capture_output=True, text=True, timeout=60)
    assert done.returncode == 78
    for part in ("milter.workers", "dns.none", "keys.main.file"):
        assert part in done.stderr
    shutil.rmtree(house.base / "control.sock", ignore_errors=True)
