"""Exporter processes as the supervisor sees them: checked, started, watched, replaced."""

from __future__ import annotations

import enum
import math
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from phoenixdkim.exporters.client import Answer, ExporterClient, Failed, Passed, table_faults
from phoenixdkim.exporters.messages import Log as LogMessage
from phoenixdkim.exporters.messages import Severity, Started, TableFault
from phoenixdkim.exporters.output import Output, output_pipe
from phoenixdkim.exporters.page import Page, make_page
from phoenixdkim.exporters.record import RecordWriter
from phoenixdkim.exporters.said import ExporterLines, disarmed
from phoenixdkim.exporters.spawn import spawn
from phoenixdkim.exporters.state import StateReader
from phoenixdkim.exporters.users import Identity, UserFault
from phoenixdkim.ledger import read_only_descriptor
from phoenixdkim.log import Level, Log
from phoenixdkim.messages import MessageError, VersionMismatch
from phoenixdkim.options import process_options
from phoenixdkim.process_status import ended_how, waited_for_processor

CHECK_TIMEOUT: Final = 10.0
_HANG: Final = 10.0
_LONGEST_WAIT: Final = 120.0
_MAX_PAUSE: Final = 60.0
_HEALTHY: Final = 60.0
_HUNG_UP: Final = 2.0
_STOP_MARGIN: Final = 0.5
_MESSAGES_AT_ONCE: Final = 50
_LEVELS: Final = {Severity.ERROR: Level.ERROR, Severity.WARNING: Level.WARNING, Severity.INFO: Level.INFO}

User = Identity | UserFault | None
"""Whom a process runs as, or why it cannot have a user; None: the supervisor's own, which is not root."""


class State(enum.Enum):
    """Where an exporter's process is in its life."""

    CHECKING = "checking"
    CHECKED = "checked"
    REFUSED = "refused"
    RUNNING = "running"
    STOPPING = "stopping"
    DOWN = "down"
    MISMATCHED = "mismatched"
    """The installed package is of another version than this daemon: not started again before a restart."""


class PageStore:
    """An exporter's page and record; they outlive the exporter's processes.

    Attributes:
        fd: descriptor of the page, for the exporter's own process.
        readable: read-only descriptors of record and page, for every exporter.
        record: the supervisor's facts.
    """

    def __init__(self, name: str) -> None:
        self.fd = make_page(name)
        self.record = RecordWriter(name)
        self.readable = (read_only_descriptor(self.record.fd), read_only_descriptor(self.fd))
        self._state = StateReader(self.record, Page(self.fd, name))

    def close(self) -> None:
        """Let go of the memory."""
        self._state.close()
        for fd in (self.fd, *self.readable):
            os.close(fd)

    def keep(self, clock: Callable[[], int]) -> int | None:
        """Keep the page's totals; return its heartbeat, None for a page that the exporter would not write.

        Args:
            clock: monotonic time in nanoseconds; read after the page, since the exporter writes at any moment.
        """
        self._state.keep_in(self.record)
        heartbeat = self._state.heartbeat
        return heartbeat if self._state.sound and heartbeat <= clock() else None


class Host:
    """One exporter: its table, its page, and the process that runs it now."""

    def __init__(
        self,
        name: str,
        table: Mapping[str, Any],
        store: PageStore,
        ledger: int,
        run_as: User,
        users: Callable[[Mapping[str, str]], Mapping[str, User]],
        log: Log,
    ) -> None:
        """Start the process and ask it to check its table.

        Args:
            name: the table's name.
            table: the table.
            store: the exporter's page.
            ledger: read-only descriptor of the ledger.
            run_as: user of the process; a fault: it cannot have one now.
            users: finds one later: users by exporters' names, for their options ``user``.
            log: for what the exporter and its fate have to say.
        """
        self.name = name
        self.table = dict(table)
        self.options = process_options(table)
        self.store = store
        self.faults: list[TableFault] = []
        self.answer: Answer = ("", ())
        self.wants_samples = False
        self.answered = False
        """Whether its first check is over, whatever came of it."""
        self.reason = ""
        """Why it is down."""
        self.client: ExporterClient | None = None
        self.output: Output | None = None
        self.pid = 0
        self.state = State.DOWN
        self.run_as = run_as
        self._ledger = ledger
        self._users = users
        self._log = log
        self._since = 0.0
        self._last_sign = 0.0
        self._waited = 0.0
        self._pause = 0.5
        self._due = 0.0
        self._wanted = False
        self._started = False
        self._page_is_its_own = False  # until then its predecessor's, in whatever state
        self._user_told = False
        self._violated = False
        self._killed = False
        self._hung_up: float | None = None
        self._lines = ExporterLines(name, log.line, lambda: time.monotonic())
        self.spawn()

    def spawn(self) -> None:
        """Start a process, once the exporter has a user."""
        if wrong := self._wrong():
            self.refuse(wrong)
            return
        assert not isinstance(self.run_as, UserFault)
        self.output, writing = output_pipe()
        try:
            self.pid, control = spawn(self._ledger, self.store.fd, self.run_as, output=writing)
        finally:
            os.close(writing)
        self.client = ExporterClient(control, self.name, time.monotonic)
        self.state = State.CHECKING
        self._since = time.monotonic()
        self._page_is_its_own = False
        self._violated = False
        self._killed = False
        self._hung_up = None
        self._require(self.client.check(self.table))

    def _wrong(self) -> list[TableFault]:
        """What keeps the process from being started."""
        if isinstance(self.run_as, UserFault):
            self.run_as = self._users({self.name: self.options.user})[self.name]
        if isinstance(self.run_as, UserFault):
            place = (self.name, "user") if self.run_as.option else (self.name,)
            return [TableFault(place, self.run_as.message)]
        return table_faults(self.name, self.table)

    def start(self) -> None:
        """From now on the exporter should run."""
        self._wanted = True
        if self.state is State.CHECKED and self.client is not None:
            self.store.record.accept(self.answer[1])
            self.state = State.RUNNING
            self.reason = ""
            self._since = time.monotonic()
            self._started = True
            self.store.record.set_up(True)
            if isinstance(self.run_as, Identity) and not self._user_told:
                # Whoever gives it a directory or a socket needs to know.
                self._user_told = True
                self._log.line(Level.INFO, f"exporter '{self.name}' runs as user id {self.run_as.uid}")
            self._require(self.client.start())

    def tell_peers(self, peers: Mapping[str, PageStore]) -> None:
        """Hand over read-only descriptors of all exporters' records and pages."""
        if self.client is not None and self.state in (State.CHECKED, State.RUNNING):
            self._require(self.client.show_peers({name: store.readable for name, store in peers.items()}))

    def _require(self, sent: bool) -> None:
        """Kill a process that does not read; one that has ended is reaped anyway."""
        if not sent and self.client is not None and not self.client.ended:
            self._violate("does not read its control channel")

    def stop(self, limit: float = math.inf) -> float:
        """Ask for the last tick and the end; returns the monotonic time by which it must have ended.

        Args:
            limit: seconds that it has at most, whatever its table says.
        """
        self._wanted = False
        seconds = min(self.options.stop_timeout, limit)
        if self.state in (State.RUNNING, State.CHECKED, State.CHECKING) and self.client is not None:
            self.client.stop(seconds)
            self.state = State.STOPPING
        return time.monotonic() + seconds + _STOP_MARGIN

    def refuse(self, faults: list[TableFault]) -> None:
        """Leave the exporter down: its check was refused, or it clashes with another."""
        self.faults = faults
        self.reason = faults[0].message if faults else "refused"
        self.answered = True
        self.state = State.REFUSED
        self.kill()

    def kill(self) -> None:
        """End the process at once, and those that it has started."""
        if self.pid:
            self._killed = True
            os.kill(self.pid, signal.SIGKILL)
            self.sweep()

    def sweep(self) -> None:
        """End what the process has started: it has a session of its own. The process itself is not reaped yet."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # It ended before it had its session; nothing of a plugin ran by then.
            return

    def take_messages(self) -> None:
        """Take what the process has sent; one that sends anything invalid is killed."""
        for _ in range(_MESSAGES_AT_ONCE):
            if self.client is None:
                return
            try:
                message = self.client.receive()
            except VersionMismatch as error:
                self._mismatched(error)
                return
            except MessageError as error:
                self._violate(f"sent an invalid message ({error})")
                return
            if message is None:
                if self.client.ended:
                    # Its end is seen by waitpid, a moment later.
                    self._hung_up = time.monotonic()
                    self._hang_up()
                return
            if isinstance(message, LogMessage):
                self._lines.write(_LEVELS[message.severity], message.text)
            elif isinstance(message, Started):
                self._page_is_its_own = True
            elif self.state is not State.CHECKING:
                # It answered, or was ready to, when it was already asked to stop.
                continue
            elif isinstance(message, Passed):
                self.faults = []
                self.answer = message.answer
                self.wants_samples = message.wants_samples
                self.state = State.CHECKED
                self.answered = True
            elif isinstance(message, Failed):
                self.refuse(list(message.faults))

    def _hang_up(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None

    def _violate(self, what: str) -> None:
        """End a process that does not keep to the protocol; it is replaced after the usual pause."""
        self._violated = True
        self.reason = disarmed(what)
        self._error(f" {what}; killed")
        self._hang_up()
        self.kill()

    def _mismatched(self, error: VersionMismatch) -> None:
        self.reason = disarmed(f"{error}; restart the daemon")
        self.answered = True
        self._error(f" is down: {self.reason}")
        self.state = State.MISMATCHED
        self._hang_up()
        self.kill()

    def take_output(self) -> None:
        """Log what the process has written to stdout and stderr."""
        if self.output is not None:
            self._log_output(self.output.read(time.monotonic()), self.output)

    def _log_output(self, lines: Sequence[str], output: Output) -> None:
        for line in lines:
            self._lines.write(Level.NOTICE, line)
        self._lines.drop(output.take_dropped())

    def _finish_output(self) -> None:
        """Log the last of it; a process that was left behind and holds the pipe writes to nobody."""
        output, self.output = self.output, None
        if output is not None:
            self._log_output(output.finish(time.monotonic()), output)
            self._lines.report_dropped(last=True)

    def _error(self, text: str) -> None:
        """Log an error about the exporter; the text may have parts that it has chosen."""
        self._log.error(disarmed(f"exporter '{self.name}'{text}"))

    def ended(self, status: int) -> None:
        """The process was reaped."""
        expected = self.state in (State.STOPPING, State.REFUSED, State.MISMATCHED) and not self._violated
        was, started = self.state, self._started
        lived = time.monotonic() - self._since
        self.pid = 0
        self.answered = True
        self._started = False
        if self.state not in (State.REFUSED, State.MISMATCHED):
            self.state = State.DOWN
        self._finish_output()
        if not expected:
            self._pause = 1.0 if lived > _HEALTHY else min(_MAX_PAUSE, 2 * self._pause)
            self._due = time.monotonic() + self._pause
            doing = "while it was checked" if was is State.CHECKING else "unasked"
            how = ended_how(status, killed=self._killed)
            self.reason = self.reason or f"ended {doing} ({how})"
            self._error(f" ended {doing} ({how}); tried again in {self._pause:.0f} s")
        self._hang_up()
        if started:
            # One that was only checked has a predecessor whose page this is.
            self.store.keep(time.monotonic_ns)
            self.store.record.set_up(False)
        if not expected:
            self.store.record.add_death()

    def _silent(self, since: float, now: float) -> float:
        """Seconds since then, without those for which the process got no processor."""
        waited = waited_for_processor(self.pid, _LONGEST_WAIT)
        if since != self._last_sign:
            self._last_sign, self._waited = since, waited
        return now - since - (waited - self._waited)

    def watch(self) -> None:
        """Kill a process that hangs; start a new one when its time has come."""
        now = time.monotonic()
        self._lines.report_dropped()
        if self.pid and self._hung_up is not None and now - self._hung_up > _HUNG_UP:
            self._hung_up = now
            self._violate("closed its control channel")
        elif self.state is State.RUNNING:
            heartbeat = self.store.keep(time.monotonic_ns)
            if heartbeat is None and self._page_is_its_own and not self._violated:
                self.store.record.set_up(False)
                self._violate("overwrote its shared page with invalid values")
            elif self._silent(max((heartbeat or 0) / 1e9, self._since), now) > _HANG:
                self._error(f" hangs: no sign of life for {_HANG:.0f} s; killed")
                self._since = now
                self.kill()
        elif self.state is State.CHECKING and self._silent(self._since, now) > CHECK_TIMEOUT:
            self.reason = f"no answer to its check in {CHECK_TIMEOUT:.0f} s"
            self._error(f" hangs: {self.reason}; killed")
            self._since = now
            self.kill()
        elif self.state is State.DOWN and self._wanted and now >= self._due and not self.pid:
            self.spawn()
        elif self.state is State.REFUSED and self._wanted and not self.pid:
            for fault in self.faults:
                self._error(f": {fault.message}")
            self._pause = _MAX_PAUSE
            self._due = now + self._pause
            self.state = State.DOWN
