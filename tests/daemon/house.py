"""The daemon as the tests of its processes need it: any socket, any exporters, and what is to be seen of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from interop.peers import KeyPair
from phoenixdkim.testing.milter_client import MilterClient
from phoenixdkim.testing.milter_protocol import ALL_PROTOCOL, Protocol, Reply

FIELDS = [(b"From", b" a@example.com"), (b"To", b" b@example.net"), (b"Subject", b" hello")]
BODY = b"Hello\r\n"
PATIENCE = 120.0
"""Seconds that anything may take: the machine may be busy."""


class StatsdReceiver(threading.Thread):
    """Takes datagrams on a unix socket: what its kernel buffer can't hold is refused to the sender, never lost."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o777)
        self.counters: dict[str, float] = {}
        self.timers: dict[str, int] = {}
        self.ended = False

    def run(self) -> None:
        self._socket.settimeout(0.2)
        while True:
            try:
                packet = self._socket.recv(65536)
            except TimeoutError:
                if self.ended:
                    return
                continue
            for line in packet.decode().split("\n"):
                name, _, rest = line.partition(":")
                value, kind = rest.split("|")[:2]
                if kind == "c":
                    self.counters[name] = self.counters.get(name, 0) + float(value)
                elif kind == "ms":
                    self.timers[name] = self.timers.get(name, 0) + 1

    def counters_of(self, names: Iterable[str]) -> dict[str, float]:
        """What was counted under these names."""
        wanted = set(names)
        return {name: value for name, value in self.counters.items() if name in wanted}

    def close(self) -> None:
        """Take what is left, and end."""
        self.ended = True
        self.join()
        self._socket.close()


class House:
    """``phoenixdkim run`` with one signing domain.

    Args:
        key: signs for example.com.
        socket_line: the ``socket`` option; default a unix socket of its own. ``{base}`` stands for its directory.
        exporters: TOML tables; ``{base}`` stands for its directory, ``{metrics}`` for one exporters can write to.
        extra: more TOML.
        workers: number of workers.
        milter: more TOML of the table ``milter``.
        dns: lines of the ``[dns]`` table; default a zone file with the key.
    """

    def __init__(
        self,
        key: KeyPair,
        *,
        socket_line: str = "unix:{base}/milter.sock",
        exporters: str = "",
        extra: str = "",
        workers: int = 2,
        worker_user: str = "daemon",
        dns: str = 'zone = "{base}/zone"',
        milter: str = "",
    ) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="pdkim-house-"))
        self.base.chmod(0o755)
        self.metrics = self.base / "metrics"
        self.metrics.mkdir()
        self.metrics.chmod(0o777)
        self.key_file = self.base / "key.pem"
        self.key_file.touch(0o600)
        self.key_file.write_bytes(key.pem)
        (self.base / "zone").write_text(key.zone_line)
        self.address = socket_line.format(base=self.base)
        self.config = self.base / "phoenixdkim.toml"
        self.text = f"""\
[milter]
socket = "{self.address}"
workers = {workers}
{milter}
[process]
user = "{worker_user}"
[log]
destination = "stderr"
[[signing.rules]]
from = "*@example.com"
keys = ["main"]
[keys.main]
domain = "example.com"
selector = "{key.selector}"
file = "{self.key_file}"
[verifying]
authserv_id = "mx.example"
[dns]
{dns.format(base=self.base)}
{extra.format(base=self.base, metrics=self.metrics)}
{exporters.format(base=self.base, metrics=self.metrics)}
[control]
socket = "{self.base}/control.sock"
"""
        self.config.write_text(self.text)
        self.log_file = self.base / "log"
        self._comments = 0
        self.wrapper: list[str] = []
        """A command that executes what follows it, as env(1) does."""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, environment: dict[str, str] | None = None, pass_fds: Sequence[int] = ()) -> None:
        """Start it in a process group of its own and wait until it says that it serves."""
        seen = self.log().count("serving on")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, Path(sys.executable).with_name("phoenixdkim"), "run", "-c", self.config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | (environment or {}),
                pass_fds=pass_fds,
            )
        self.wait_for("serving on", seen + 1)

    def log(self) -> str:
        """What it wrote so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_for(self, text: str, times: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until the log has ``text`` so many times."""
        deadline = time.monotonic() + timeout
        while self.log().count(text) < times:
            assert time.monotonic() < deadline, f"no {text!r} in the log:\n{self.log()[-3000:]}"
            assert self.process is not None
            assert self.process.poll() is None or self.log().count(text) >= times, self.log()[-3000:]
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: int, group: bool = False) -> None:
        """Send a signal to the supervisor, or to its whole group as a terminal does."""
        (os.killpg if group else os.kill)(self.pid, number)

    def reload(self, text: str | None = None) -> None:
        """Reload and wait for the result: with this configuration, or with the same one changed in a comment."""
        seen = self.log().count("reloaded: ")
        if text is None:
            self._comments += 1
            text = f"{self.config.read_text()}# {self._comments}\n"
        self.config.write_text(text)
        self.signal(signal.SIGHUP)
        self.wait_for("reloaded: ", seen + 1, timeout=100)

    def wait(self, timeout: float = 40) -> int:
        assert self.process is not None
        return self.process.wait(timeout)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def descendants(self) -> dict[int, str]:
        """Pid and command line of all processes of the daemon but the supervisor."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if fields[0] != "Z":
                    parents.setdefault(int(fields[1]), []).append(int(entry.name))
        found: dict[int, str] = {}
        todo = [self.pid]
        while todo:
            for child in parents.get(todo.pop(), []):
                try:
                    found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                todo.append(child)
        return found

    def workers(self) -> list[int]:
        """Pids of the workers: the leader's children."""
        from_run = [pid for pid, line in self.descendants().items() if "phoenixdkim run" in line]
        return [pid for pid in from_run if parent_of(pid) in from_run]

    def client(self) -> MilterClient:
        return MilterClient(self.address)

    def send(self) -> Reply:
        with self.client() as client:
            return client.send_message(FIELDS, BODY)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            left = list(self.descendants())
            self.signal(signal.SIGTERM)
            try:
                self.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                for pid in left:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
        shutil.rmtree(self.base, ignore_errors=True)


def parent_of(pid: int) -> int:
    """The pid of a process's parent, 0 when the process has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def signed(reply: Reply) -> bool:
    """Whether the daemon put its signature on a message."""
    return any(change.name == b"DKIM-Signature" for change in reply.modifications)


def begin(client: MilterClient) -> None:
    """Send the first half of a message; the daemon has begun to take it when this returns."""
    # MAIL is answered then: what the daemon has not read yet when it is told to stop, it puts off.
    client.negotiate(protocol=ALL_PROTOCOL & ~Protocol.NR_MAIL)
    client.open_session()
    client.mail("<a@example.com>")
    client.rcpt("<b@example.net>")
    client.data()
    for name, value in FIELDS:
        client.header(name, value)
    client.eoh()
    client.body(b"one half\r\n")


def finish(client: MilterClient) -> Reply:
    """Send the other half; the answer to the message."""
    client.body(b"the other\r\n")
    return client.eom()


class Load:
    """Threads that send messages until they are told to end; counts what became of them.

    Args:
        house: where to.
        threads: connections at once.
        messages: how many in all; None for no end.
        many: messages a connection.
    """

    def __init__(self, house: House, threads: int, messages: int | None = None, many: int = 1) -> None:
        self.good = 0
        self.bad: list[str] = []
        self._house = house
        self._left = messages
        self._many = many
        self._lock = threading.Lock()
        self._ending = False
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()

    def _take(self) -> bool:
        with self._lock:
            if self._left is not None:
                self._left -= 1
                return self._left >= 0
            return not self._ending

    def _run(self) -> None:
        while True:
            try:
                with self._house.client() as client:
                    for _ in range(self._many):
                        if not self._take():
                            return
                        reply = client.send_message(FIELDS, BODY)
                        with self._lock:
                            if signed(reply):
                                self.good += 1
                            else:
                                self.bad.append(f"{reply.disposition} {reply.smtp!r}")
            except OSError as error:
                with self._lock:
                    self.bad.append(repr(error))
                if self._ending:
                    return
