"""The process of one exporter: the only place where plugin code runs.

It is started by exec with a control socket, the ledger (read-only) and its page. It is told its table, answers
with what is wrong with it, waits for the word to start, and then at each interval turns what the ledger gained into
events. Whatever a hook raises is fenced, counted and logged once a change of state; a hook that never returns lets
the heartbeat stand still, and the supervisor replaces the process.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any, Final

from phoenixdkim import __version__
from phoenixdkim.exporters.declared import schema_text
from phoenixdkim.exporters.described import described
from phoenixdkim.exporters.inspection import Inspected, PluginRefused, inspect_plugin
from phoenixdkim.exporters.page import HostPage, Page
from phoenixdkim.exporters.snapshots import snapshot
from phoenixdkim.ledger import LAYOUT, LedgerReader
from phoenixdkim.metrics import MetricSpec, Snapshot

_HEARTBEAT: Final = 0.5
_MAX_PEERS: Final = 250
"""Descriptors that the kernel hands over in one message, and a few less."""
EXIT_SOFTWARE: Final = 70


class _ControlHandler(logging.Handler):
    """Hands log lines to the supervisor, without ever waiting for it."""

    def __init__(self, control: socket.socket) -> None:
        super().__init__()
        self._control = control
        self._last: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)[:4000]
        now = time.monotonic()
        if now - self._last.get(text, -60.0) < 60.0:
            return
        if len(self._last) > 100:
            self._last.clear()
        self._last[text] = now
        try:
            self._control.send(json.dumps({"log": [record.levelno, text]}).encode(), socket.MSG_DONTWAIT)
        except OSError:
            # Nobody reads just now; a log line is not worth waiting for.
            return


class HostContext:
    """What the plugin is given; see ``hookspecs.Context``."""

    def __init__(
        self, name: str, inspected: Inspected, reader: LedgerReader, page: HostPage, log: logging.Logger
    ) -> None:
        self.name = name
        self.options: Any = inspected.options
        self.log = log
        self.peers: tuple[Page, ...] = ()
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
        self._page.delivered(events)

    def lost(self, count: int) -> None:
        if count < 0:
            raise ValueError(f"{count} events can't have been lost")
        self._page.add_lost(count)


class ExporterHost:
    """Runs one checked plugin until it is told to stop."""

    def __init__(self, inspected: Inspected, context: HostContext, reader: LedgerReader, page: HostPage) -> None:
        self._hook = inspected.manager.hook
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
            self._context.log.error("%s: out of memory at its limit of %d MiB", hook, self._options.memory_limit)
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


def _limit_memory(mebibytes: int) -> None:
    status = Path("/proc/self/status").read_text()
    used = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
    limit = used + mebibytes * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


class _Control:
    """The exporter's end of the control socket."""

    def __init__(self, control: socket.socket) -> None:
        self.socket = control

    def receive(self) -> tuple[dict[str, Any] | None, list[int]]:
        data, fds, _flags, _address = socket.recv_fds(self.socket, 262144, _MAX_PEERS)
        return (json.loads(data) if data else None), fds

    def send(self, message: Mapping[str, Any]) -> None:
        self.socket.send(json.dumps(message).encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one exporter; see the module's text. Returns an exit status."""
    parser = argparse.ArgumentParser(prog="phoenixdkim-exporter")
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--ledger", type=int, required=True)
    parser.add_argument("--page", type=int, required=True)
    given = parser.parse_args(arguments)
    control = _Control(socket.socket(fileno=given.control))
    message, _ = control.receive()
    if message is None:
        return 0
    name: str = message["name"]
    log = logging.getLogger(f"exporter.{name}")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(_ControlHandler(control.socket))
    try:
        inspected = inspect_plugin(name, message["table"])
    except PluginRefused as refused:
        control.send({"checked": False, "faults": [asdict(fault) for fault in refused.faults]})
        return 0
    options = inspected.options
    control.send(
        {
            "checked": True,
            "interval": options.interval,
            "stop_timeout": options.stop_timeout,
            "wants_samples": options.wants_samples,
            "plugin": inspected.plugin,
            "metrics": schema_text([metric.shown for metric in inspected.metrics]).decode(),
        }
    )
    reader = LedgerReader(given.ledger)
    page = HostPage(given.page, name)
    context = HostContext(name, inspected, reader, page, log)
    return _serve(control, ExporterHost(inspected, context, reader, page), context, page, inspected)


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
        if not select.select([control.socket], [], [], wait)[0]:
            continue
        message, fds = control.receive()
        if message is None:
            return 0
        if "peers" in message:
            for peer in context.peers:
                peer.close()
            context.peers = tuple(Page(fd, peer) for fd, peer in zip(fds, message["peers"], strict=True))
            for fd in fds:
                os.close(fd)
        if "start" in message:
            _limit_memory(inspected.options.memory_limit)
            # Only now: while it was checked the page was still its predecessor's.
            page.declare(inspected.metrics)
            if lost := page.recover(inspected.takes_events):
                context.log.warning("%d events of its predecessor were taken and not delivered", lost)
            host.start()
            host.tick(time.time())
            next_tick = time.monotonic() + interval
            control.send({"started": True})
        if "stop" in message:
            if next_tick is not None:
                host.stop(time.monotonic() + message["stop"])
            page.beat(time.monotonic_ns())
            control.send({"stopped": True})
            return 0


if __name__ == "__main__":
    status = main()
    # Threads of a plugin must not keep the process alive, nor may interpreter shutdown wait for them.
    sys.stderr.flush()
    os._exit(status)
