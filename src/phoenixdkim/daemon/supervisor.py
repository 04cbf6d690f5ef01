"""The supervisor: owns the socket, the ledger and the control pipes; reads no key and no mail.

It is single-threaded for ever, because it forks. It starts generations of workers and exporter processes, replaces
what dies, and carries out reload (SIGHUP) and stop (SIGTERM, SIGINT).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from phoenixdkim import __version__, events
from phoenixdkim.channel import channel_pair
from phoenixdkim.config.build import faults_of_parts
from phoenixdkim.config.exporter_users import rules_of
from phoenixdkim.config.load import Loaded, read
from phoenixdkim.config.model import Config
from phoenixdkim.daemon import privileges
from phoenixdkim.daemon.children import Children, Generation
from phoenixdkim.daemon.generation import EXIT_CONFIG, open_log
from phoenixdkim.daemon.listening import ListenError, ListeningSocket, listen
from phoenixdkim.daemon.messages import CODEC, Faults, Ready, Settings, lines_for_message
from phoenixdkim.daemon.notify import Notifier
from phoenixdkim.exporters.check import check_tables
from phoenixdkim.exporters.users import Rules, parse_uids
from phoenixdkim.ledger import STRIPES, Batch, Ledger
from phoenixdkim.log import Log

EXIT_UNAVAILABLE: Final = 69
_PARK_TIMEOUT: Final = 5.0
_TICK: Final = 0.5


class StartRefused(Exception):
    """The daemon does not start; the lines say why."""

    def __init__(self, lines: Sequence[str], status: int) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)
        self.status = status


class Supervisor:
    """Runs the daemon until it is told to stop."""

    def __init__(self, path: str) -> None:
        """Prepare to run with the configuration file ``path``."""
        self._path = path
        self._ledger = Ledger(time.time())
        self._writer = self._ledger.writer(0)
        self._children = Children(self._ledger, self._count)
        self._notifier = Notifier(os.environ)
        self._log = Log()
        self._settings: Settings | None = None
        self._signals: set[int] = set()
        self._retry_at = 0.0
        self._watchdog_at = 0.0

    # Start.

    def run(self) -> int:
        """Run; returns the exit status.

        Raises:
            StartRefused: with every fault of configuration, keys and exporters.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note_signal)
        signal.set_wakeup_fd(self._children.wakeup, warn_on_full_buffer=False)
        privileges.adopt_orphans()
        privileges.hide_memory()
        self._ledger.claim(0, os.getpid())
        loaded = read(self._path, None)
        if loaded.config is None or any(fault.is_error for fault in loaded.faults):
            raise StartRefused(self._all_faults(), EXIT_CONFIG)
        config = loaded.config
        self._log = open_log(config)
        self._log.on_lost = self._line_lost
        try:
            milter = config.milter
            listening = listen(milter.socket, int(milter.socket_mode, 8), milter.socket_group, os.environ)
        except ListenError as error:
            raise StartRefused([f"phoenixdkim: {error}"], EXIT_UNAVAILABLE) from error
        try:
            self._start(loaded, config, listening)
        except BaseException:  # whatever it is goes on; no process may stay behind
            self._children.kill_all()
            listening.close()
            raise
        self._serve(listening)
        return 0

    def _all_faults(self) -> list[str]:
        """The faults of a configuration that can't be used, those of its keys and exporters among them.

        They are looked for in a process of their own: keys are not read in this one.
        """
        ours, theirs = channel_pair(CODEC)
        pid = os.fork()
        if pid == 0:
            try:
                loaded = read(self._path, check_tables)
                found = [*loaded.faults, *faults_of_parts(loaded, uid_is_root=os.geteuid() == 0)]
                lines = [str(fault) for fault in sorted(set(found), key=lambda fault: (fault.line, str(fault)))]
                theirs.send(Faults(lines_for_message(lines)))
            finally:
                os._exit(0)
        theirs.close()
        ours.wait(None)
        message = ours.receive((Faults,))
        ours.close()
        os.waitpid(pid, 0)
        return list(message.lines) if message is not None else [f"{self._path}: could not be checked"]

    def _start(self, loaded: Loaded, config: Config, listening: ListeningSocket) -> None:
        children = self._children
        generation = children.spawn_generation(self._path, listening.socket, self._log)
        children.spawn_candidates(config.exporters, rules_of(config.process), self._log)
        children.await_answers(generation)
        lines = [str(fault) for fault in loaded.faults if fault.is_error]
        lines += generation.failed
        lines += [str(loaded.locate_exporter_fault(fault)) for fault in children.candidate_faults({})]
        lines = list(dict.fromkeys(lines))
        if lines or generation.ready is None:
            raise StartRefused(lines or [f"{self._path}: the workers did not start"], EXIT_CONFIG)
        for warning in generation.ready.warnings:
            self._log.warning(warning)
        self._adopt(generation, list(config.exporters))
        self._log.notice(
            f"phoenixdkim {__version__} serving on {listening.name}"
            f" with {generation.ready.workers} workers; exporters: {', '.join(config.exporters) or 'none'}"
        )
        self._notifier.ready(f"serving with {generation.ready.workers} workers")

    def _adopt(self, generation: Generation, exporters: Sequence[str]) -> None:
        """Make a generation and a set of exporters the ones in force."""
        assert generation.ready is not None
        self._settings = generation.ready.settings
        self._ledger.set_live_generation(generation.number)
        self._ledger.set_reload(True, int(time.time()))
        self._children.adopt(exporters)

    # Serve.

    def _serve(self, listening: ListeningSocket) -> None:
        interval = self._notifier.watchdog_interval
        while True:
            self._children.listen(_TICK)
            if self._signals & {signal.SIGTERM, signal.SIGINT}:
                self._stop(listening)
                return
            if signal.SIGHUP in self._signals:
                self._signals.discard(signal.SIGHUP)
                self._reload(listening)
            self._replace_leader(listening)
            self._children.watch()
            self._log.flush()
            if interval is not None and time.monotonic() >= self._watchdog_at and self._alive():
                self._notifier.alive()
                self._watchdog_at = time.monotonic() + interval

    def _alive(self) -> bool:
        """Whether some worker of the live generation has shown a sign of life of late."""
        newest = max((self._ledger.heartbeat(stripe) for stripe in range(1, STRIPES)), default=0)
        return time.monotonic_ns() - newest < 15_000_000_000

    def _replace_leader(self, listening: ListeningSocket) -> None:
        children = self._children
        if children.live() is not None or time.monotonic() < self._retry_at:
            return
        self._log.error("the leader of the workers ended unasked; starting a new generation")
        generation = children.spawn_generation(self._path, listening.socket, self._log)
        children.await_answers(generation)
        if generation.ready is None:
            for line in generation.failed:
                self._log.error(line)
            self._end(generation)
            self._retry_at = time.monotonic() + 5
            return
        self._settings = generation.ready.settings
        self._ledger.set_live_generation(generation.number)

    def _reload(self, listening: ListeningSocket) -> None:
        children = self._children
        self._notifier.reloading()
        self._log.notice("reloading")
        old = children.live()
        generation = children.spawn_generation(self._path, listening.socket, self._log)
        children.await_answers(generation)
        lines = list(generation.failed)
        if generation.ready is not None:
            lines += self._check_exporters(generation, generation.ready)
        if lines or generation.ready is None:
            for line in lines or ["the new workers did not start"]:
                self._log.error(line)
            self._log.error("reload refused; the configuration in force stays")
            self._ledger.set_reload(False, 0)
            self._end(generation)
            children.dismiss_candidates()
            self._notifier.ready("serving; the last reload was refused")
            return
        generation.ready = replace(generation.ready, settings=self._with_fixed(generation.ready.settings))
        for warning in generation.ready.warnings:
            self._log.warning(warning)
        exporters = list(generation.ready.exporters)
        self._adopt(generation, exporters)
        if old is not None:
            self._park(old)
            self._await_parked(old)
        self._log.notice(f"reloaded; exporters: {', '.join(exporters) or 'none'}")
        self._notifier.ready(f"serving with {generation.ready.workers} workers")

    def _check_exporters(self, generation: Generation, ready: Ready) -> list[str]:
        """Begin the exporters whose tables are new; returns what speaks against them."""
        children = self._children
        tables = ready.exporters
        stay = {name: host for name, host in children.hosts.items() if host.table == tables.get(name)}
        new = {name: table for name, table in tables.items() if name not in stay}
        rules = Rules(ready.settings.user, parse_uids(ready.settings.exporter_uids))
        children.spawn_candidates(new, rules, self._log)
        children.await_answers(generation)
        loaded = read(self._path, None)
        return [str(loaded.locate_exporter_fault(fault)) for fault in children.candidate_faults(stay)]

    def _with_fixed(self, settings: Settings) -> Settings:
        """The settings with those that only a restart changes as they were; warns of each that differs."""
        before = self._settings
        assert before is not None
        if before.socket != settings.socket:
            self._log.warning("milter.socket has changed; restart the daemon to use it")
        if before.socket_mode != settings.socket_mode:
            self._log.warning("milter.socket_mode has changed; restart the daemon to use it")
        if before.socket_group != settings.socket_group:
            self._log.warning("milter.socket_group has changed; restart the daemon to use it")
        if before.log != settings.log:
            self._log.warning("[log] has changed; restart the daemon to use it for the supervisor too")
        return replace(
            settings,
            socket=before.socket,
            socket_mode=before.socket_mode,
            socket_group=before.socket_group,
            log=before.log,
        )

    def _park(self, generation: Generation) -> None:
        generation.draining = True
        assert self._settings is not None
        generation.park(self._settings.reload.soft, self._settings.reload.hard, idle_is_done=False)
        draining = [g for g in self._children.generations if g.draining and not g.ended]
        for oldest in draining[: max(0, len(draining) - self._settings.max_generations + 1)]:
            self._log.warning(f"generation {oldest.number} still had sessions when too many generations were alive")
            oldest.park(0.0, 1.0, idle_is_done=True)

    def _await_parked(self, generation: Generation) -> None:
        """Whoever reads that we have reloaded may rely on it that new connections meet the new configuration."""
        deadline = time.monotonic() + _PARK_TIMEOUT
        while not (generation.parked or generation.ended) and time.monotonic() < deadline:
            self._children.listen(0.05)

    def _end(self, generation: Generation) -> None:
        if not generation.ended:
            generation.draining = True
            # Its workers were ready, so a client may have met one of them: its message is not put off for that.
            generation.park(4.0, 5.0, idle_is_done=False)

    # Stop.

    def _stop(self, listening: ListeningSocket) -> None:
        self._notifier.stopping()
        timeout = 25.0 if self._settings is None else self._settings.stop_timeout
        self._log.notice("stopping")
        deadline = time.monotonic() + timeout + 2
        for generation in self._children.generations:
            generation.park(0.0, timeout, idle_is_done=True)
        while self._children.generations and time.monotonic() < deadline:
            self._children.listen(0.05)
        for generation in self._children.generations:
            os.kill(generation.pid, signal.SIGKILL)
        self._children.stop_all_hosts(self._log)
        privileges.end_orphans()
        listening.close()
        self._log.notice("stopped")
        self._log.give_up()

    # Events.

    def _note_signal(self, number: int, _frame: object) -> None:
        self._signals.add(number)

    def _line_lost(self) -> None:
        self._count(events.LogLineLost())

    def _count(self, event: events.Event) -> None:
        batch = Batch()
        batch.add(event)
        self._writer.record(batch)
