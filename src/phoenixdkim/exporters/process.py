"""The process of one exporter: the only place where plugin code runs.

It is started by exec with a control socket, the ledger (read-only) and its page. It receives its table, answers
with what is wrong with it, waits for the message to start, and then at each interval turns what the ledger gained into
events. Whatever a hook raises is fenced, counted and logged once a change of state; a hook that never returns lets
the heartbeat stand still, and the supervisor replaces the process.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from pydantic import ValidationError

from phoenixdkim import __version__
from phoenixdkim.channel import MAX_DESCRIPTORS, Channel
from phoenixdkim.exporters.declared import schema_text
from phoenixdkim.exporters.described import described
from phoenixdkim.exporters.environment import findings
from phoenixdkim.exporters.inspection import Inspected, PluginRefused, inspect_plugin
from phoenixdkim.exporters.memory import free_reserve, limit_memory, prefer_for_killing
from phoenixdkim.exporters.messages import (
    CODEC,
    Check,
    Checked,
    Mismatch,
    Peers,
    Start,
    Started,
    Stop,
    Stopped,
    TableFault,
    log_message,
    refused_message,
)
from phoenixdkim.exporters.page import MOST, HostPage, Page
from phoenixdkim.exporters.rate_limit import RateLimit
from phoenixdkim.exporters.record import Facts, Record
from phoenixdkim.exporters.snapshots import snapshot
from phoenixdkim.exporters.state import StateReader
from phoenixdkim.ledger import LAYOUT, LedgerError, LedgerReader
from phoenixdkim.messages import Message, MessageError, VersionMismatch
from phoenixdkim.metrics import MetricSpec, Snapshot
from phoenixdkim.options import ProcessOptions, process_options
from phoenixdkim.prctl import hide_memory

_HEARTBEAT: Final = 0.5
_REPEAT: Final = 60.0
LOG_BURST: Final = 20
LOG_PER_SECOND: Final = 1.0
EXIT_SOFTWARE: Final = 70
_EXIT_PROTOCOL: Final = 76


class _ControlHandler(logging.Handler):
    """Hands log lines to the supervisor, without ever waiting for it, and no more than it accepts."""

    def __init__(self, control: Channel) -> None:
        super().__init__()
        self._control = control
        self._limit = RateLimit(LOG_BURST, LOG_PER_SECOND)
        self._last: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        message = log_message(record.levelno, self.format(record))
        now = time.monotonic()
        if now - self._last.get(message.text, -_REPEAT) < _REPEAT or not self._limit.allows(now):
            return
        if refused := self._limit.take_refused():
            self._control.send(log_message(logging.WARNING, f"{refused} log lines dropped: too many in a short time"))
        if len(self._last) > 100:
            self._last.clear()
        self._last[message.text] = now
        # Nobody may read just now; a log line is not worth waiting for.
        self._control.send(message)


class HostContext:
    """What the plugin is given; see ``hookspecs.Context``."""

    def __init__(
        self, name: str, inspected: Inspected, reader: LedgerReader, page: HostPage, log: logging.Logger
    ) -> None:
        self.name = name
        self.options: Any = inspected.options
        self.log = log
        self.peers: tuple[StateReader, ...] = ()
        self._reader = reader
        self._page = page
        self._taken: list[int] | None = None

    def within_tick(self, totals: list[int] | None) -> None:
        """Fix the totals that ``snapshot`` shows to those of the tick under way."""
        self._taken = totals

    def snapshot(self) -> Snapshot:
        taken = self._taken
        return snapshot(self._reader, self._reader.totals() if taken is None else taken, self.peers, __version__)

    def add(self, metric: MetricSpec, labels: Mapping[str, Enum] | None = None, amount: int = 1) -> None:
        self._page.add(metric, dict(labels or {}), amount)

    def set(self, metric: MetricSpec, value: float, labels: Mapping[str, Enum] | None = None) -> None:
        self._page.set(metric, dict(labels or {}), value)

    def delivered(self, events: int) -> None:
        self._page.delivered(_number_of_events(events))

    def lost(self, count: int) -> None:
        self._page.add_lost(_number_of_events(count))


def _number_of_events(count: int) -> int:
    if type(count) is not int or not 0 <= count <= MOST:
        raise ValueError(f"a number of events is an int from 0 to {MOST}")
    return count


class ExporterHost:
    """Runs one checked plugin until it is told to stop."""

    def __init__(self, inspected: Inspected, context: HostContext, reader: LedgerReader, page: HostPage) -> None:
        self._hook = inspected.manager.hook
        self._inspected = inspected
        self._takes_events = inspected.takes_events
        self._options = inspected.options
        self._context = context
        self._reader = reader
        self._page = page
        self._started = False
        self._failing: set[str] = set()
        self._early: dict[int, list[float]] = {}

    def _call(self, hook: str, **arguments: object) -> bool:
        """Call a hook inside the fence; True when it did not raise."""
        try:
            getattr(self._hook, hook)(**arguments)
        except MemoryError:
            # Nothing a plugin holds can be freed from outside: only a new process is a cure.
            free_reserve()
            self._context.log.error("%s: out of memory at memory_limit = %d MiB", hook, self._options.memory_limit)
            os._exit(EXIT_SOFTWARE)
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit included
            self._page.add_failure()
            if hook not in self._failing:
                self._failing.add(hook)
                self._context.log.error("%s failed: %s", hook, described(error))
            return False
        if hook in self._failing:
            self._failing.discard(hook)
            self._context.log.info("%s works again", hook)
        return True

    def recover(self) -> None:
        """Go on from the page and the record that a predecessor left, and lay out the plugin's own metrics."""
        own = [peer.record for peer in self._context.peers if peer.name == self._context.name]
        facts = own[0].read() if own else Facts()
        found = self._page.recover(self._reader.totals(), self._reader.ring_heads(), facts, self._takes_events)
        self._page.declare(self._inspected.metrics)
        if found.reset:
            self._context.log.warning("its shared page had invalid values; events since the last tick are left out")
        elif found.lost:
            self._context.log.warning("%d events of its predecessor were taken and not delivered", found.lost)

    def start(self) -> None:
        """Call the start hook; a failure is tried again at the next tick."""
        self._started = self._call("phoenixdkim_start", context=self._context)

    def tick(self, now: float) -> None:
        """Deliver what the ledger gained since the last tick."""
        if not self._started:
            self.start()
            if not self._started:
                return
        totals = self._reader.totals()
        if self._options.wants_samples and self._takes_events:
            samples, heads = self._reader.samples_since(self._page.ring_heads())
            self._page.set_ring_heads(heads)
            for slot, seconds in samples.items():
                self._early.setdefault(slot, []).extend(seconds)
        self._context.within_tick(totals)
        try:
            for slot, count in self._page.take(totals):
                if not self._takes_events:
                    break
                self._page.beat(time.monotonic_ns())
                # Values of messages that came after the totals were read are kept for the next tick.
                found = self._early.pop(slot, [])
                if found[count:]:
                    self._early[slot] = found[count:]
                found = found[:count]
                if not self._call("phoenixdkim_event", event=LAYOUT.events[slot], count=count, samples=found):
                    self._page.add_lost(count)
            self._call("phoenixdkim_tick", now=now)
            self._page.settle()
        finally:
            self._context.within_tick(None)

    def stop(self, deadline: float) -> None:
        """A last tick, then the stop hook."""
        self.tick(time.time())
        if self._started:
            self._call("phoenixdkim_stop", deadline=deadline)


class _Control:
    """The exporter's end of the control channel, and what may come through it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._accepted: tuple[type[Message], ...] = (Check,)

    def receive(self, seconds: float | None) -> tuple[Message | None, list[int]]:
        """Return the next message within ``seconds`` and its descriptors; ``ended`` says whether more may come."""
        if not self._channel.wait(seconds):
            return None, []
        message, fds = self._channel.receive_with_descriptors(self._accepted, MAX_DESCRIPTORS)
        if isinstance(message, Check):
            self._accepted = (Peers, Start, Stop)
        elif isinstance(message, Start):
            self._accepted = (Peers, Stop)
        if fds and not (isinstance(message, Peers) and len(fds) == 2 * len(message.names)):
            for fd in fds:
                os.close(fd)
            raise MessageError("descriptors that do not belong to it")
        return message, fds

    @property
    def ended(self) -> bool:
        return self._channel.ended

    def send(self, message: Message) -> None:
        """Send; a supervisor that is gone is noticed elsewhere."""
        self._channel.send(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one exporter; see the module's text. Returns an exit status."""
    parser = argparse.ArgumentParser(prog="phoenixdkim-exporter")
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--ledger", type=int, required=True)
    parser.add_argument("--page", type=int, required=True)
    parser.add_argument("--observed", action="store_true")
    given = parser.parse_args(arguments)
    prefer_for_killing()
    if not given.observed:
        hide_memory()
    # Programs that a plugin starts get none of them.
    for fd in (given.control, given.ledger, given.page):
        os.set_inheritable(fd, False)
    channel = Channel(socket.socket(fileno=given.control), CODEC)
    control = _Control(channel)
    try:
        message, _ = control.receive(None)
        if not isinstance(message, Check):
            return 0
        name = message.name
        reader = LedgerReader(given.ledger)
        page = HostPage(given.page, name)
    except (VersionMismatch, LedgerError):
        control.send(Mismatch())
        return 0
    except MessageError:
        return _EXIT_PROTOCOL
    log = logging.getLogger(f"exporter.{name}")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(_ControlHandler(channel))
    limit_memory(_memory_limit(message.table))
    try:
        inspected = inspect_plugin(name, message.table)
        metrics = schema_text([metric.shown for metric in inspected.metrics]).decode()
        lacking = findings(inspected) if message.environment else ()
        control.send(Checked(inspected.options.wants_samples, inspected.plugin, metrics, lacking))
    except PluginRefused as refused:
        control.send(refused_message(refused.faults))
        return 0
    except (MessageError, MemoryError) as error:
        words = described(error) if isinstance(error, MemoryError) else str(error)
        fault = TableFault((name,), f"plugin '{message.table.get('type') or name}': it cannot be checked: {words}")
        control.send(refused_message([fault]))
        return 0
    context = HostContext(name, inspected, reader, page, log)
    try:
        return _serve(control, ExporterHost(inspected, context, reader, page), context, page, inspected)
    except MessageError:
        return _EXIT_PROTOCOL
    except MemoryError as error:
        log.error("%s", described(error))
        return EXIT_SOFTWARE


def _memory_limit(table: Mapping[str, Any]) -> int:
    try:
        return process_options(table).memory_limit
    except ValidationError:
        # The check of the whole table refuses it.
        return ProcessOptions().memory_limit


def _serve(control: _Control, host: ExporterHost, context: HostContext, page: HostPage, inspected: Inspected) -> int:
    interval = inspected.options.interval
    next_tick: float | None = None
    while True:
        if next_tick is not None:
            page.beat(time.monotonic_ns())
        now = time.monotonic()
        if next_tick is not None and now >= next_tick:
            host.tick(time.time())
            # A tick that took longer than its interval is not made up for: the next one carries the counts.
            next_tick = max(next_tick + interval, time.monotonic())
        wait = _HEARTBEAT if next_tick is None else min(_HEARTBEAT, max(0.0, next_tick - time.monotonic()))
        message, fds = control.receive(wait)
        if control.ended:
            return 0
        if isinstance(message, Peers):
            for peer in context.peers:
                peer.close()
            context.peers = tuple(
                StateReader(Record(record, peer), Page(shared, peer))
                for record, shared, peer in zip(fds[0::2], fds[1::2], message.names, strict=True)
            )
            for fd in fds:
                os.close(fd)
        elif isinstance(message, Start):
            # Only now: while it was checked the page was still its predecessor's.
            host.recover()
            host.start()
            host.tick(time.time())
            next_tick = time.monotonic() + interval
            control.send(Started())
        elif isinstance(message, Stop):
            if next_tick is not None:
                host.stop(time.monotonic() + message.seconds)
            page.beat(time.monotonic_ns())
            control.send(Stopped())
            return 0


if __name__ == "__main__":
    try:
        status = main()
    except BaseException as error:  # noqa: BLE001 - a plugin can exchange any descriptor and function that we use
        print(f"fatal: {described(error)}", file=sys.stderr)
        status = EXIT_SOFTWARE
    # Threads of a plugin must not keep the process alive, nor may interpreter shutdown wait for them.
    sys.stderr.flush()
    os._exit(status)
