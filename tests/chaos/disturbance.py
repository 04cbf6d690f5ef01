"""What goes wrong around a daemon: kills, reloads, bad configuration files, dead name servers, full disks."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from daemon.house import House, parent_of
from interop.peers import KeyPair
from phoenixdkim.testing.dns_behaviour import Behaviour, Fault
from phoenixdkim.testing.dns_server import ScriptedDnsServer

PATIENCE = 120.0
"""Seconds after which something has not happened; generous, for machines that are busy."""


class Bad(StrEnum):
    """What a configuration file can be instead of a good one."""

    EMPTY = "empty"
    CUT = "cut"
    BROKEN = "broken"
    NO_RULES = "no-rules"
    NO_TRUST = "no-trust"
    MISSING = "missing"
    DIRECTORY = "directory"
    BLANK = "blank"


class Disturbance:
    """Disturbs a daemon in random order, each time leaving it in a state that it can serve from.

    Args:
        house: the daemon; its directory ``metrics`` may be filled.
        dns: its name server.
        key: published key of the other site.
        chosen: the source of random numbers.
    """

    def __init__(self, house: House, dns: ScriptedDnsServer, key: KeyPair, chosen: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self.worker_kills = 0
        self._house = house
        self._dns = dns
        self._key = key
        self._chosen = chosen
        self._good = house.config.read_text()
        self.publish()

    def publish(self) -> None:
        """Let the name server answer."""
        self._dns.set_txt(self._key.name, self._key.record.encode())

    def run(self, seconds: float) -> None:
        """Disturb for so long; every kind at least once, however busy the machine is."""
        kinds: list[Callable[[], None]] = [
            self.kill_worker,
            self.kill_leader,
            self.kill_exporter,
            self.reload,
            self.reload_by_other_signal,
            self.break_dns,
            self.fill_disk,
            *(lambda bad=bad: self.swap_configuration(bad) for bad in Bad),
        ]
        self._chosen.shuffle(kinds)
        deadline = time.monotonic() + seconds
        for kind in kinds:
            kind()
        while time.monotonic() < deadline:
            self._chosen.choice(kinds)()
            time.sleep(self._chosen.random() * 0.2)

    def kill_worker(self) -> None:
        """SIGKILL for one worker, of the generation in force or of an older one."""
        workers = self._house.workers()
        if workers:
            self.done["worker killed"] += 1
            self.worker_kills += 1
            self._kill(self._chosen.choice(workers), signal.SIGKILL)

    def kill_leader(self) -> None:
        """A signal that ends the leaders, those of older generations too, and wait for another."""
        before = self._leaders()
        if not before:
            return
        self.done["leader killed"] += 1
        for pid in before:
            self._kill(pid, self._chosen.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]))
        deadline = time.monotonic() + PATIENCE
        while not set(self._leaders()) - set(before):
            assert time.monotonic() < deadline, f"no new leader:\n{self._house.log()[-3000:]}"
            time.sleep(0.02)

    def kill_exporter(self) -> None:
        """A signal that ends one of the exporters."""
        exporters = [pid for pid, line in self._house.descendants().items() if "exporters.process" in line]
        if exporters:
            self.done["exporter killed"] += 1
            self._kill(self._chosen.choice(exporters), self._chosen.choice([signal.SIGKILL, signal.SIGBUS, 63]))

    def reload(self) -> None:
        """SIGHUP with a good file, which has changed a little, and wait until it is in force."""
        self.done["reload"] += 1
        self._reload(signal.SIGHUP)

    def reload_by_other_signal(self) -> None:
        """The same by the signal that OpenDKIM takes."""
        self.done["reload by SIGUSR1"] += 1
        self._reload(signal.SIGUSR1)

    def _reload(self, number: int) -> None:
        before = self._house.log().count("reloaded")
        self._write(self._good + f"# {self._chosen.random()}\n")
        self._house.signal(number)
        self._house.wait_for("reloaded", before + 1, PATIENCE)

    def swap_configuration(self, bad: Bad) -> None:
        """Replace the file, reload, kill the leader, and put the good file back."""
        self.done[f"file {bad}"] += 1
        path = self._house.config
        before = self._house.log().count("reload refused")
        match bad:
            case Bad.EMPTY:
                path.write_text("")
            case Bad.BLANK:
                self._write("\n# nothing here\n")
            case Bad.CUT:
                self._write(self._good[: self._good.index("[[signing.rules]]")])
            case Bad.BROKEN:
                self._write(self._good[: self._good.index("selector") + 12])
            case Bad.NO_RULES:
                rule = self._good.index("[[signing.rules]]")
                self._write(self._good[:rule] + "[signing]\n" + self._good[self._good.index("[verifying]") :])
            case Bad.NO_TRUST:
                self._write(self._good.replace("[[signing.rules]]", "[signing]\ntrusted = []\n[[signing.rules]]", 1))
            case Bad.MISSING:
                path.unlink()
            case Bad.DIRECTORY:
                path.unlink()
                path.mkdir()
        self._house.signal(signal.SIGHUP)
        self._house.wait_for("reload refused", before + 1, PATIENCE)
        self.kill_leader()
        if path.is_dir():
            path.rmdir()
        self._write(self._good)

    def _write(self, text: str) -> None:
        path = self._house.config
        if self._chosen.random() < 0.5:
            path.write_text(text)
            return
        new = path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, path)

    def break_dns(self) -> None:
        """Let the name server be silent or wrong for a while."""
        self.done["dns broken"] += 1
        fault = self._chosen.choice([Fault.DROP, Fault.GARBAGE, Fault.WRONG_ID, Fault.COMPRESSION_LOOP])
        self._dns.set(self._key.name, Behaviour(fault=fault))
        time.sleep(0.5)
        self.publish()

    def fill_disk(self) -> None:
        """Leave no room where the textfile is written, for a while."""
        self.done["disk full"] += 1
        filler: Path = self._house.metrics / "filler"
        try:
            with filler.open("wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
        except OSError:
            time.sleep(0.5)
        finally:
            filler.unlink()

    def _leaders(self) -> list[int]:
        """Pids of the leaders: children of the supervisor that have workers."""
        parents = {pid: parent_of(pid) for pid in self._house.workers()}
        return [pid for pid in set(parents.values()) if parent_of(pid) == self._house.pid]

    def _kill(self, pid: int, number: int) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
