"""Exporter processes as the supervisor sees them: checked, started, watched, replaced."""

from __future__ import annotations

import enum
import logging
import os
import signal
import time
from collections.abc import Mapping
from typing import Any, Final

from phoenixdkim.daemon.control import Pipe
from phoenixdkim.exporters.check import Answer, answer_from, ended_how, faults_from
from phoenixdkim.exporters.inspection import TableFault
from phoenixdkim.exporters.page import Page, make_page
from phoenixdkim.exporters.spawn import Identity, spawn
from phoenixdkim.ledger import read_only_descriptor
from phoenixdkim.log import Level, Log

CHECK_TIMEOUT: Final = 10.0
_HANG: Final = 10.0
_MAX_PAUSE: Final = 60.0
_HEALTHY: Final = 60.0
_LOG_BURST: Final = 20


class State(enum.Enum):
    """Where an exporter's process is in its life."""

    CHECKING = "checking"
    CHECKED = "checked"
    REFUSED = "refused"
    RUNNING = "running"
    STOPPING = "stopping"
    DOWN = "down"


class PageStore:
    """An exporter's page and both ways to it; it outlives the exporter's processes."""

    def __init__(self, name: str) -> None:
        self.fd = make_page(name)
        self.read_only = read_only_descriptor(self.fd)
        self.page = Page(self.fd, name, writable=True)

    def close(self) -> None:
        """Let go of the memory."""
        self.page.close()
        os.close(self.fd)
        os.close(self.read_only)


class Host:
    """One exporter: its table, its page, and the process that runs it now."""

    def __init__(
        self, name: str, table: Mapping[str, Any], store: PageStore, ledger: int, run_as: Identity | None, log: Log
    ) -> None:
        """Start the process and ask it to check its table.

        Args:
            name: the table's name.
            table: the table.
            store: the exporter's page.
            ledger: read-only descriptor of the ledger.
            run_as: user of the process; None: ours.
            log: for what the exporter and its fate have to say.
        """
        self.name = name
        self.table = dict(table)
        self.store = store
        self.faults: list[TableFault] = []
        self.answer: Answer = ("", ())
        self.wants_samples = False
        self.stop_timeout = 2.0
        self.pipe: Pipe | None = None
        self.pid = 0
        self.state = State.DOWN
        self._ledger = ledger
        self._run_as = run_as
        self._log = log
        self._since = 0.0
        self._pause = 0.5
        self._due = 0.0
        self._wanted = False
        self._started = False
        self._tokens = float(_LOG_BURST)
        self._tokens_at = time.monotonic()
        self.spawn()

    def spawn(self) -> None:
        """Start a process."""
        self.pid, control = spawn(self._ledger, self.store.fd, self._run_as)
        self.pipe = Pipe(control)
        self.state = State.CHECKING
        self._since = time.monotonic()
        self.pipe.send({"name": self.name, "table": self.table})

    def start(self) -> None:
        """From now on the exporter should run."""
        self._wanted = True
        if self.state is State.CHECKED and self.pipe is not None:
            self.pipe.send({"start": True})
            self.state = State.RUNNING
            self._since = time.monotonic()
            self._started = True
            self.store.page.set_up(True)

    def tell_peers(self, peers: Mapping[str, PageStore]) -> None:
        """Hand over read-only descriptors of all exporters' pages."""
        if self.pipe is not None and self.state in (State.CHECKED, State.RUNNING):
            self.pipe.send({"peers": list(peers)}, [store.read_only for store in peers.values()])

    def stop(self) -> float:
        """Ask for the last tick and the end; returns the monotonic time by which it must have ended."""
        self._wanted = False
        deadline = time.monotonic() + self.stop_timeout + 0.5
        if self.state in (State.RUNNING, State.CHECKED, State.CHECKING) and self.pipe is not None:
            self.pipe.send({"stop": self.stop_timeout})
            self.state = State.STOPPING
        return deadline

    def refuse(self, faults: list[TableFault]) -> None:
        """Take back that the check was passed: it clashes with another exporter."""
        self.faults = faults
        self.state = State.REFUSED
        self.kill()

    def kill(self) -> None:
        """End the process at once, and those that it has started."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.sweep()

    def sweep(self) -> None:
        """End what the process has started: it has a session of its own. The process itself is not reaped yet."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # It ended before it had its session; nothing of a plugin ran by then.
            return

    def take_message(self) -> bool:
        """Read one message; True when the state changed."""
        assert self.pipe is not None
        message = self.pipe.receive()
        if message is None:
            # Its end is seen by waitpid; until then this pipe has nothing more.
            self.pipe.close()
            self.pipe = None
            return False
        if "log" in message:
            self._take_log(*message["log"])
        elif "checked" in message:
            self._take_check(message)
            return True
        return False

    def _take_check(self, message: Mapping[str, Any]) -> None:
        if not message["checked"]:
            self.faults = faults_from(message)
            self.state = State.REFUSED
            return
        self.faults = []
        self.answer = answer_from(message)
        self.wants_samples = message["wants_samples"]
        self.stop_timeout = message["stop_timeout"]
        self.state = State.CHECKED

    def _take_log(self, level: int, text: str) -> None:
        now = time.monotonic()
        self._tokens = min(float(_LOG_BURST), self._tokens + (now - self._tokens_at))
        self._tokens_at = now
        if self._tokens < 1:
            return
        self._tokens -= 1
        severity = Level.ERROR if level >= logging.ERROR else Level.WARNING if level >= logging.WARNING else Level.INFO
        self._log.line(severity, f"exporter '{self.name}': {text}")

    def ended(self, status: int) -> None:
        """The process was reaped."""
        expected = self.state in (State.STOPPING, State.REFUSED)
        self.pid = 0
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None
        lived = time.monotonic() - self._since
        was = self.state
        if self.state is not State.REFUSED:
            self.state = State.DOWN
        if self._started:
            # One that was only checked has a predecessor whose page this is.
            self._started = False
            self.store.page.set_up(False)
        if expected:
            return
        self.store.page.add_death()
        self._pause = 1.0 if lived > _HEALTHY else min(_MAX_PAUSE, 2 * self._pause)
        self._due = time.monotonic() + self._pause
        doing = "while it was checked" if was is State.CHECKING else "unasked"
        self._log.error(
            f"exporter '{self.name}' ended {doing} ({ended_how(status)}); tried again in {self._pause:.0f} s"
        )

    def watch(self) -> None:
        """Kill a process that hangs; start a new one when its time has come."""
        now = time.monotonic()
        if self.state is State.RUNNING:
            beat = max(self.store.page.heartbeat / 1e9, self._since)
            if now - beat > _HANG:
                self._log.error(f"exporter '{self.name}' hangs: no sign of life for {_HANG:.0f} s; killed")
                self._since = now
                self.kill()
        elif self.state is State.CHECKING and now - self._since > CHECK_TIMEOUT:
            self._log.error(f"exporter '{self.name}' hangs: no answer to its check in {CHECK_TIMEOUT:.0f} s; killed")
            self._since = now
            self.kill()
        elif self.state is State.DOWN and self._wanted and now >= self._due and not self.pid:
            self.spawn()
        elif self.state is State.REFUSED and self._wanted and not self.pid:
            for fault in self.faults:
                self._log.error(f"exporter '{self.name}': {fault.message}")
            self._pause = _MAX_PAUSE
            self._due = now + self._pause
            self.state = State.DOWN
