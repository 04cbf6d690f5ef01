"""An exporter in the process that a daemon would give it: the same code, a ledger to fill, a page that outlives it.

with ExporterProcess({"type": "mine", "path": "/tmp/x", "interval": 0.1}) as exporter:
    exporter.start()
    exporter.record(list(every_event()))
    exporter.settle()
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from phoenixdkim import __version__
from phoenixdkim.exporters.check import check_tables
from phoenixdkim.exporters.client import ExporterClient, Failed, Passed, Received
from phoenixdkim.exporters.messages import Log, Started
from phoenixdkim.exporters.page import EVENTS, Page, make_page
from phoenixdkim.exporters.record import RecordWriter
from phoenixdkim.exporters.snapshots import snapshot
from phoenixdkim.exporters.spawn import spawn
from phoenixdkim.exporters.state import StateReader
from phoenixdkim.ledger import Ledger, read_only_descriptor
from phoenixdkim.metrics import Snapshot
from phoenixdkim.options import process_options
from phoenixdkim.testing.stream import Recorded, batch_of

PATIENCE: Final = 60.0
"""Seconds after which something that should have happened has not; generous, for machines that are busy."""


class ExporterError(AssertionError):
    """The exporter did not do what it should; the message has its log."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """How an exporter stopped.

    Attributes:
        seconds: from the word to stop until its process had ended.
        clean: whether it ended by itself; a daemon kills it after ``stop_timeout`` and half a second.
        left: processes that it has left behind.
    """

    seconds: float
    clean: bool
    left: tuple[int, ...]


class ExporterProcess:
    """One exporter's table, ledger and page, and the process that runs it now."""

    def __init__(self, table: Mapping[str, Any], name: str = "test") -> None:
        """Prepare; nothing runs yet.

        Args:
            table: the TOML table; ``type`` names the entry point when ``name`` does not.
            name: the table's name.
        """
        self.name = name
        self.table = dict(table)
        self.pid = 0
        self.log: list[str] = []
        """What the exporter had to say, newest last."""
        self._ledger = Ledger(time.time())
        self._reading = read_only_descriptor(self._ledger.fd)
        self._writer = self._ledger.writer(1)
        self._page_fd = make_page(name)
        self._page = Page(self._page_fd, name)
        self._record = RecordWriter(name)
        self._readable = (read_only_descriptor(self._record.fd), read_only_descriptor(self._page_fd))
        self._state = StateReader(self._record, self._page)
        self._client: ExporterClient | None = None
        self._stop_timeout = 2.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._state.close()
        for fd in (self._page_fd, *self._readable, self._reading, self._ledger.fd):
            os.close(fd)

    # The process.

    def check(self) -> list[str]:
        """What ``phoenixdkim check`` would say of the table and its plugin; empty when it is good."""
        return [f"{'.'.join(map(str, fault.path))}: {fault.message}" for fault in check_tables({self.name: self.table})]

    def start(self) -> None:
        """Start a process, let it check its table, and let it run; the first one or a successor.

        Raises:
            ExporterError: it was refused, or gave no answer.
        """
        self.pid, control = spawn(self._reading, self._page_fd, None, idle=False, observed=True)
        client = self._client = ExporterClient(control, self.name)
        client.check(self.table)
        answer = self._expect(Passed, Failed)
        if isinstance(answer, Failed):
            raise ExporterError("refused: " + "; ".join(fault.message for fault in answer.faults))
        assert isinstance(answer, Passed)
        self._stop_timeout = process_options(self.table).stop_timeout
        self._ledger.want_samples(answer.wants_samples)
        self._record.accept(answer.answer[1])
        client.show_peers({self.name: self._readable})
        client.start()
        self._record.set_up(True)
        self._expect(Started)

    def kill(self) -> None:
        """End the process with SIGKILL, wherever it is."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            os.kill(self.pid, signal.SIGKILL)
            self._reaped()

    def pause(self) -> None:
        """Let it stand still, as when the machine has no time for it."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> Stopped:
        """Tell it to stop, and wait for its end as a daemon does."""
        assert self._client is not None
        begun = time.monotonic()
        self._client.stop(self._stop_timeout)
        clean = False
        while not clean and time.monotonic() < begun + self._stop_timeout + 0.5:
            self._take_messages(0.02)
            clean = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        seconds = time.monotonic() - begun
        left = tuple(pid for pid in _session(self.pid) if pid != self.pid)
        self.kill()
        return Stopped(seconds, clean, left)

    def _reaped(self) -> None:
        self._take_messages(0)
        os.waitpid(self.pid, 0)
        self.pid = 0
        self._record.set_up(False)
        if self._client is not None:
            self._client.close()
            self._client = None

    def _expect(self, *kinds: type[Received]) -> Received:
        wanted = " or ".join(kind.__name__ for kind in kinds)
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            for message in self._take_messages(left):
                if isinstance(message, kinds):
                    return message
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                raise ExporterError(f"its process ended before it sent {wanted}; {self._told()}")
        raise ExporterError(f"it did not send {wanted} in {PATIENCE:g} s; {self._told()}")

    def _take_messages(self, seconds: float) -> list[Received]:
        """Return the messages that have come, waiting up to ``seconds`` for the first.

        Raises:
            MessageError: the exporter's process sent something that a daemon would kill it for.
        """
        assert self._client is not None
        found: list[Received] = []
        while self._client.wait(0 if found else seconds):
            message = self._client.receive()
            if message is None:
                break
            if isinstance(message, Log):
                self.log.append(message.text)
            found.append(message)
        return found

    def _told(self) -> str:
        return f"its log: {self.log[-10:]}"

    # Events.

    def record(self, recorded: Sequence[Recorded]) -> None:
        """Let events happen: they are in the ledger at once, all of them."""
        self._writer.record(batch_of(list(recorded)))

    def snapshot(self) -> Snapshot:
        """All metrics now, as the daemon's other exporters would see them."""
        return snapshot(self._ledger, self._ledger.totals(), [self._state], __version__)

    @property
    def events(self) -> int:
        """How many events there have been."""
        return sum(self._ledger.totals()[:EVENTS])

    @property
    def lost(self) -> int:
        """How many events are counted as lost."""
        return self._page.lost

    @property
    def failures(self) -> int:
        """How many calls of hooks have failed."""
        return self._page.failures

    def settle(self) -> None:
        """Wait until the exporter has taken all events, and has delivered them or counted them as lost.

        Raises:
            ExporterError: it does not, or it has ended.
        """
        deadline = time.monotonic() + PATIENCE
        tick: int | None = None
        while tick is None or self._page.settled_tick < tick:
            # The tick that has taken the last of them; one tick may follow another without a pause.
            if tick is None and self._page.taken() == self._ledger.totals()[:EVENTS]:
                tick = self._page.tick
                continue
            self._take_messages(0.01)
            if time.monotonic() > deadline or not self.pid:
                raise ExporterError(f"it does not come to rest; {self._told()}")

    def ticks(self, number: int) -> None:
        """Wait for so many more ticks."""
        deadline = time.monotonic() + PATIENCE
        until = self._page.tick + number
        while self._page.tick < until:
            self._take_messages(0.01)
            if time.monotonic() > deadline:
                raise ExporterError(f"it does not tick; {self._told()}")

    # What it costs.

    def descriptors(self) -> list[str]:
        """What its open descriptors are."""
        found = []
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(entry))
        return sorted(found)

    def threads(self) -> int:
        """How many threads it has."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def memory(self) -> int:
        """Octets of memory that are its own."""
        rows = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith("RssAnon:")) * 1024


def _session(leader: int) -> list[int]:
    """Processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    found.append(int(entry.name))
    return found
