"""The supervisor: owns the socket, the ledger and the control channels; reads no key and no mail.

It is single-threaded for ever, because it forks. It starts generations of workers and exporter processes, replaces
what dies, and carries out reload and stop.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from socket import socket
from textwrap import shorten
from typing import Final, NoReturn

from phoenixdkim import __version__, events
from phoenixdkim.config.load import read_octets
from phoenixdkim.config.source import SourceError, read_source
from phoenixdkim.daemon.children import Children
from phoenixdkim.daemon.control_messages import Status
from phoenixdkim.daemon.control_socket import ControlSocket, ControlSocketError
from phoenixdkim.daemon.fence import Fence
from phoenixdkim.daemon.generation import EXIT_CONFIG, open_log
from phoenixdkim.daemon.generations import Generation
from phoenixdkim.daemon.hosts import State
from phoenixdkim.daemon.in_force import InForce, exporter_rules
from phoenixdkim.daemon.listening import ListenError, ListeningSocket, listen
from phoenixdkim.daemon.messages import Loaded
from phoenixdkim.daemon.notify import Notifier
from phoenixdkim.daemon.rollout import Rollout
from phoenixdkim.daemon.signals import SignalNotes
from phoenixdkim.ledger import Batch, Ledger
from phoenixdkim.log import Log
from phoenixdkim.orphans import end_children
from phoenixdkim.prctl import adopt_orphans, hide_memory

EXIT_UNAVAILABLE: Final = 69
_TICK: Final = 0.5
_TICK_BUSY: Final = 0.05
_START_TIMEOUT: Final = 300.0
_LIFE: Final = 15.0
_REASONS: Final = 1200
"""Characters of all reasons in the line about exporters that are down."""
_LEAST_REASON: Final = 40

_LAST_TICK: Final = 1.0
"""Seconds that exporters have to stop when messages have used up the daemon's stop_timeout."""


class StartRefused(Exception):
    """The daemon does not start; the lines say why."""

    def __init__(self, lines: Sequence[str], status: int) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)
        self.status = status


class _StoppedEarly(Exception):
    """The daemon was asked to stop before it served."""


class Supervisor:
    """Runs the daemon until it is asked to stop."""

    def __init__(self, path: str, signals: SignalNotes) -> None:
        """Prepare to run.

        Args:
            path: the configuration file.
            signals: installed already, so that no signal during the start is lost.
        """
        self._path = path
        self._signals = signals
        self._ledger = Ledger(time.time())
        self._writer = self._ledger.writer(0)
        self._children = Children(self._ledger, self._count, self._report, lambda: signals.stopping, self._beat)
        self._notifier = Notifier(os.environ)
        self._log = Log()
        self._fence = Fence(self._report, self._count)
        self._serving_told = False
        self._watchdog_at = 0.0

    # Start.

    def run(self) -> int:
        """Run; returns the exit status.

        Raises:
            StartRefused: with all errors of the configuration and its keys.
        """
        signal.set_wakeup_fd(self._children.wakeup, warn_on_full_buffer=False)
        adopt_orphans()
        hide_memory()
        try:
            data = read_source(self._path).data
        except SourceError as error:
            raise StartRefused([f"{self._path}: {error}"], EXIT_CONFIG) from error
        config = read_octets(data, self._path).config
        try:
            if config is None:
                self._refuse(data)
            self._log = open_log(config)
            self._log.on_lost = self._line_lost
            try:
                milter = config.milter
                listening = listen(milter.socket, int(milter.socket_mode, 8), milter.socket_group, os.environ)
            except ListenError as error:
                raise StartRefused([f"phoenixdkim: {error}"], EXIT_UNAVAILABLE) from error
            try:
                rollout = self._start(data, listening)
            except BaseException:  # whatever it is goes on; no process may stay behind
                self._children.kill_all()
                listening.close()
                raise
        except _StoppedEarly:
            self._log.notice("stopped before the start was complete")
            return 0
        self._serve(listening, rollout)
        return 0

    def _refuse(self, data: bytes) -> NoReturn:
        """Report all errors of a configuration that is not valid, those of its keys among them.

        A leader finds them: this process reads no key.
        """
        with socket() as unused:
            generation = self._children.spawn_generation(self._path, data, unused, self._log)
            assert generation is not None
            try:
                self._await(generation)
            finally:
                self._children.kill_all()
        raise StartRefused(generation.failed or [f"{self._path}: cannot be checked"], EXIT_CONFIG)

    def _await(self, generation: Generation) -> None:
        """Wait until a generation has loaded its configuration, then until it serves."""
        deadline = time.monotonic() + _START_TIMEOUT
        while not generation.ready:
            if self._signals.stopping:
                raise _StoppedEarly
            if generation.failed or generation.leaderless or time.monotonic() > deadline:
                raise StartRefused(generation.failed or [f"{self._path}: the workers did not start"], EXIT_CONFIG)
            served = generation.loaded is not None
            self._children.listen(0.2)
            if generation.loaded is not None and not served:
                generation.serve()

    def _start(self, data: bytes, listening: ListeningSocket) -> Rollout:
        """Serve mail first; exporters come afterwards."""
        children = self._children
        generation = children.spawn_generation(self._path, data, listening.socket, self._log)
        assert generation is not None
        self._await(generation)
        loaded = generation.loaded
        assert loaded is not None
        for warning in loaded.warnings:
            self._log.warning(warning)
        self._ledger.set_reload(True, int(time.time()))
        in_force = InForce(data, loaded.summary, loaded.settings, loaded.workers, generation.loading.identities)
        self._log.notice(
            f"listening on {listening.name} with {in_force.workers} workers;"
            f" checking exporters: {', '.join(loaded.exporters) or 'none'}"
        )
        if not loaded.summary.has_signing:
            self._log.warning("outgoing mail is not signed: the configuration has no [signing] table")
        rollout = Rollout(self._path, in_force, children, listening, self._ledger, self._notifier, self._log)
        self._open_control(loaded.settings.control_socket, rollout)
        self._notifier.ready(f"serving with {in_force.workers} workers")
        self._fence.run("exporters", partial(self._start_exporters, loaded))
        return rollout

    def _start_exporters(self, loaded: Loaded) -> None:
        try:
            self._children.spawn_candidates(loaded.exporters, exporter_rules(loaded.settings), self._log)
        finally:
            # Those that there was room for.
            self._children.adopt(list(self._children.candidates))

    def _open_control(self, path: str, rollout: Rollout) -> None:
        if not path:
            return

        def status() -> Status:
            return Status(os.getpid(), __version__, self._path, rollout.in_force.summary)

        control = ControlSocket(path, rollout.request_reload, status, self._log)
        try:
            control.open()
        except ControlSocketError as error:
            self._log.warning(f"control.socket: {error}; 'phoenixdkim reload' will not work")
            return
        self._children.control = control

    # Serve.

    def _serve(self, listening: ListeningSocket, rollout: Rollout) -> None:
        while True:
            self._tell_serving(listening, rollout)
            self._children.listen(_TICK_BUSY if rollout.busy else _TICK)
            if self._signals.stopping:
                self._stop(listening, rollout.in_force.settings.stop_timeout)
                return
            if self._signals.take_reload():
                rollout.request_reload()
            if not self._fence.run("reload", rollout.advance):
                self._fence.run("reload", rollout.abandon)
            if self._children.control is not None:
                self._children.control.expire()
            self._children.kill_overdue()
            self._children.watch()
            self._log.flush()

    def _tell_serving(self, listening: ListeningSocket, rollout: Rollout) -> None:
        """Log once which exporters run, when all have answered their first check."""
        hosts = self._children.hosts
        if self._serving_told or not all(host.answered for host in hosts.values()):
            return
        self._serving_told = True
        up = [name for name, host in hosts.items() if host.state is State.RUNNING]
        # Each reason has a line of its own too; this line must not be cut.
        most = max(_LEAST_REASON, _REASONS // max(1, len(hosts) - len(up)))
        down = [
            f"{name} ({shorten(host.reason or 'not started', most, placeholder=' ...')})"
            for name, host in hosts.items()
            if name not in up
        ]
        self._log.notice(
            f"phoenixdkim {__version__} serving on {listening.name} with {rollout.in_force.workers} workers;"
            f" exporters: {', '.join(up) or 'none'}" + (f"; down: {', '.join(down)}" if down else "")
        )

    def _beat(self) -> None:
        """Tell systemd's watchdog that we live, whatever is waited for just now."""
        interval = self._notifier.watchdog_interval
        if interval is not None and time.monotonic() >= self._watchdog_at and self._alive():
            self._notifier.alive()
            self._watchdog_at = time.monotonic() + interval

    def _alive(self) -> bool:
        """Whether some worker has shown a sign of life lately."""
        return time.monotonic() - self._children.last_beat() < _LIFE

    # Stop.

    def _stop(self, listening: ListeningSocket, timeout: float) -> None:
        self._notifier.stopping()
        self._log.notice("stopping")
        begun = time.monotonic()
        deadline = begun + timeout + 2
        for generation in self._children.generations:
            if not generation.ready:
                # A leader that loads keys does not listen to us; it has no worker yet, or the next line is for them.
                generation.kill()
            generation.park(0.0, timeout, idle_is_done=True)
        while self._children.generations and time.monotonic() < deadline:
            self._children.listen(0.05)
        for generation in self._children.generations:
            generation.kill()
        # Exporters get what the messages have left of the time, and a moment for the last counts in any case.
        self._children.stop_all_hosts(self._log, max(_LAST_TICK, begun + timeout - time.monotonic()))
        end_children()
        if self._children.control is not None:
            self._children.control.close()
        listening.close()
        self._log.notice("stopped")
        self._log.give_up()

    # Events.

    def _report(self, text: str) -> None:
        self._log.error(text)

    def _line_lost(self) -> None:
        self._count(events.LogLineLost())

    def _count(self, event: events.Event) -> None:
        batch = Batch()
        batch.add(event)
        self._writer.record(batch)
