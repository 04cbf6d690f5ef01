"""The supervisor: owns the socket, the ledger and the control pipes; reads no key and no mail.

It is single-threaded for ever, because it forks. It starts generations of workers and exporter processes, replaces
what dies, and carries out reload (SIGHUP) and stop (SIGTERM, SIGINT).
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from phoenixdkim import __version__, events
from phoenixdkim.config.build import faults_of_parts
from phoenixdkim.config.load import Loaded, read
from phoenixdkim.config.model import Config
from phoenixdkim.daemon import privileges
from phoenixdkim.daemon.control import Pipe, pipe
from phoenixdkim.daemon.generation import EXIT_CONFIG, lead, open_log
from phoenixdkim.daemon.hosts import Host, PageStore, State
from phoenixdkim.daemon.listening import ListenError, ListeningSocket, listen
from phoenixdkim.daemon.notify import Notifier
from phoenixdkim.exporters.check import check_tables, clash_faults
from phoenixdkim.exporters.inspection import TableFault
from phoenixdkim.exporters.spawn import Identity, identity
from phoenixdkim.ledger import MAX_WORKERS, STRIPES, Batch, Ledger, read_only_descriptor
from phoenixdkim.log import Log

EXIT_UNAVAILABLE: Final = 69
_START_TIMEOUT: Final = 40.0
_PARK_TIMEOUT: Final = 5.0
_CHECK_GRACE: Final = 5.0
_TICK: Final = 0.5


@dataclass(slots=True)
class Generation:
    """A leader and its workers, from outside."""

    number: int
    pid: int
    pipe: Pipe
    stripes: range
    ready: dict[str, Any] | None = None
    failed: list[str] = field(default_factory=list)
    ended: bool = False
    parked: bool = False
    draining_since: float = 0.0


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
        self._ledger_reading = read_only_descriptor(self._ledger.fd)
        self._writer = self._ledger.writer(0)
        self._notifier = Notifier(os.environ)
        self._log = Log()
        self._generations: list[Generation] = []
        self._number = 0
        self._hosts: dict[str, Host] = {}
        self._retired: list[Host] = []
        self._stores: dict[str, PageStore] = {}
        self._listening: ListeningSocket | None = None
        self._settings: dict[str, Any] = {}
        self._signals: set[int] = set()
        self._retry_at = 0.0
        self._watchdog_at = 0.0
        self._wake, self._wakeup = socket.socketpair()
        self._wake.setblocking(False)
        self._wakeup.setblocking(False)

    # Start.

    def run(self) -> int:
        """Run; returns the exit status.

        Raises:
            StartRefused: with every fault of configuration, keys and exporters.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note_signal)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
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
            self._listening = listen(milter.socket, int(milter.socket_mode, 8), milter.socket_group, os.environ)
        except ListenError as error:
            raise StartRefused([f"phoenixdkim: {error}"], EXIT_UNAVAILABLE) from error
        try:
            self._start(loaded, config)
        except BaseException:  # whatever it is goes on; no process may stay behind
            self._kill_everything()
            self._listening.close()
            raise
        self._serve()
        return 0

    def _all_faults(self) -> list[str]:
        """The faults of a configuration that can't be used, those of its keys and exporters among them.

        They are looked for in a process of their own: keys are not read in this one.
        """
        ours, theirs = pipe()
        pid = os.fork()
        if pid == 0:
            try:
                loaded = read(self._path, check_tables)
                found = [*loaded.faults, *faults_of_parts(loaded, uid_is_root=os.geteuid() == 0)]
                lines = [str(fault) for fault in sorted(set(found), key=lambda fault: (fault.line, str(fault)))]
                theirs.send({"faults": lines})
            finally:
                os._exit(0)
        theirs.close()
        message = ours.receive() or {}
        ours.close()
        os.waitpid(pid, 0)
        return list(message.get("faults", [f"{self._path}: could not be checked"]))

    def _start(self, loaded: Loaded, config: Config) -> None:
        generation = self._spawn_generation()
        hosts = self._spawn_hosts(config.exporters, config.process.exporter_user)
        self._await(generation, hosts)
        lines = [str(fault) for fault in loaded.faults if fault.is_error]
        lines += generation.failed + self._host_faults(loaded, hosts, {})
        if lines or generation.ready is None:
            raise StartRefused(lines or [f"{self._path}: the workers did not start"], EXIT_CONFIG)
        for warning in generation.ready["warnings"]:
            self._log.warning(warning)
        self._adopt(generation, hosts)
        self._log.notice(
            f"phoenixdkim {__version__} serving on {self._listening.name if self._listening else '?'}"
            f" with {generation.ready['workers']} workers; exporters: {', '.join(hosts) or 'none'}"
        )
        self._notifier.ready(f"serving with {generation.ready['workers']} workers")

    def _spawn_generation(self) -> Generation:
        self._number += 1
        ours, theirs = pipe()
        stripes = self._free_block()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                ours.close()
                self._close_in_leader()
                assert self._listening is not None
                lead(self._number, self._path, theirs, self._listening.socket, self._ledger, stripes, parent)
            except Exception as error:  # noqa: BLE001 - nothing may return into the supervisor's code
                self._log.error(f"the leader failed: {type(error).__name__}: {error}")
            finally:
                os._exit(70)
        theirs.close()
        generation = Generation(self._number, pid, ours, stripes)
        self._generations.append(generation)
        return generation

    def _free_block(self) -> range:
        """A block of stripes that no generation has and no worker writes to.

        Blocks, not single stripes: a leader hands the stripe of a worker that died to the next by itself.
        """
        while True:
            taken = {generation.stripes.start for generation in self._generations}
            for start in range(1, STRIPES, MAX_WORKERS):
                block = range(start, start + MAX_WORKERS)
                if start not in taken and not any(self._ledger.owner(stripe) for stripe in block):
                    return block
            # So many generations are told to end before this comes about; what is left gets a moment.
            self._listen(self._generations, [*self._hosts.values(), *self._retired], 0.1)
            self._reap({})

    def _close_in_leader(self) -> None:
        self._wake.close()
        self._wakeup.close()
        for generation in self._generations:
            generation.pipe.close()
        for host in (*self._hosts.values(), *self._retired):
            if host.pipe is not None:
                host.pipe.close()
        for store in self._stores.values():
            store.close()
        os.close(self._ledger_reading)

    def _spawn_hosts(self, tables: dict[str, dict[str, Any]], user: str) -> dict[str, Host]:
        hosts: dict[str, Host] = {}
        for name, table in tables.items():
            if name not in self._stores:
                self._stores[name] = PageStore(name)
            store = self._stores[name]
            who = self._exporter_user(str(table.get("user") or user))
            hosts[name] = Host(name, table, store, self._ledger_reading, who, self._log)
        return hosts

    def _exporter_user(self, user: str) -> Identity | None:
        if os.geteuid() != 0:
            return None
        try:
            return identity(user)
        except LookupError as error:
            raise StartRefused([f"{self._path}: process.exporter_user: {error}"], EXIT_CONFIG) from error

    def _await(self, generation: Generation, hosts: dict[str, Host]) -> None:
        """Wait until generation and exporters have said yes or no. An exporter that does neither is not waited for."""
        deadline = time.monotonic() + _START_TIMEOUT
        grace = time.monotonic() + _CHECK_GRACE
        before = len(hosts)
        while time.monotonic() < deadline:
            decided = generation.ready is not None or bool(generation.failed) or generation.ended
            checking = sum(host.state is State.CHECKING and host.pid != 0 for host in hosts.values())
            if checking < before:
                # Many of them take their time on a small machine; while they go on answering, nothing hangs.
                grace = time.monotonic() + _CHECK_GRACE
            before = checking
            if decided and (not checking or time.monotonic() > grace or bool(generation.failed)):
                return
            self._listen(self._generations, [*self._hosts.values(), *self._retired, *hosts.values()], 0.2)
            self._reap(hosts)

    def _host_faults(self, loaded: Loaded, hosts: dict[str, Host], beside: Mapping[str, Host]) -> list[str]:
        """Faults of exporters that were checked, also of their metrics beside those of exporters that stay."""
        found = [fault for host in hosts.values() for fault in host.faults if host.state is State.REFUSED]
        found += self._clashes({**beside, **hosts})
        return [str(loaded.locate_exporter_fault(fault)) for fault in found]

    @staticmethod
    def _clashes(hosts: Mapping[str, Host]) -> list[TableFault]:
        return clash_faults({name: host.answer for name, host in hosts.items() if host.answer[0]})

    def _adopt(self, generation: Generation, hosts: dict[str, Host]) -> None:
        """Make a generation and a set of exporters the ones in force."""
        assert generation.ready is not None
        self._settings = generation.ready["settings"]
        self._ledger.set_live_generation(generation.number)
        self._ledger.set_reload(True, int(time.time()))
        self._ledger.want_samples(any(host.wants_samples for host in hosts.values()))
        self._hosts = hosts
        self._forget_stores(hosts)
        for host in hosts.values():
            host.tell_peers({name: self._stores[name] for name in hosts})
            host.start()

    def _forget_stores(self, hosts: dict[str, Host]) -> None:
        """Let go of the pages of exporters that are no longer configured, once nothing refers to them."""
        for name in [name for name in self._stores if name not in hosts]:
            if all(host.name != name for host in self._retired):
                self._stores.pop(name).close()

    # Serve.

    def _serve(self) -> None:
        interval = self._notifier.watchdog_interval
        while True:
            self._listen(self._generations, [*self._hosts.values(), *self._retired], _TICK)
            self._reap({})
            if self._signals & {signal.SIGTERM, signal.SIGINT}:
                self._stop()
                return
            if signal.SIGHUP in self._signals:
                self._signals.discard(signal.SIGHUP)
                self._reload()
            self._replace_leader()
            for host in self._hosts.values():
                before = host.state
                host.watch()
                if before is not State.CHECKING and host.state is State.CHECKING:
                    continue
                if host.state is State.CHECKED and (
                    # One that could not be checked at the start may clash with what runs since.
                    faults := [fault for fault in self._clashes(self._hosts) if fault.path[0] == host.name]
                ):
                    host.refuse(faults)
                if host.state is State.CHECKED:
                    host.tell_peers({name: self._stores[name] for name in self._hosts})
                    host.start()
            self._log.flush()
            if interval is not None and time.monotonic() >= self._watchdog_at and self._alive():
                self._notifier.alive()
                self._watchdog_at = time.monotonic() + interval

    def _live(self) -> Generation | None:
        for generation in reversed(self._generations):
            if generation.ready is not None and not generation.draining_since and not generation.ended:
                return generation
        return None

    def _alive(self) -> bool:
        """Whether some worker of the live generation has shown a sign of life of late."""
        newest = max((self._ledger.heartbeat(stripe) for stripe in range(1, STRIPES)), default=0)
        return time.monotonic_ns() - newest < 15_000_000_000

    def _replace_leader(self) -> None:
        if self._live() is not None or time.monotonic() < self._retry_at:
            return
        self._log.error("the leader of the workers ended unasked; starting a new generation")
        generation = self._spawn_generation()
        self._await(generation, {})
        if generation.ready is None:
            for line in generation.failed:
                self._log.error(line)
            self._end(generation)
            self._retry_at = time.monotonic() + 5
            return
        self._settings = generation.ready["settings"]
        self._ledger.set_live_generation(generation.number)

    def _reload(self) -> None:
        self._notifier.reloading()
        self._log.notice("reloading")
        old = self._live()
        generation = self._spawn_generation()
        self._await(generation, {})
        lines = list(generation.failed)
        changed: dict[str, Host] = {}
        if generation.ready is not None:
            tables: dict[str, dict[str, Any]] = generation.ready["exporters"]
            user = generation.ready["settings"]["exporter_user"]
            new = {
                name: table
                for name, table in tables.items()
                if name not in self._hosts or self._hosts[name].table != table
            }
            try:
                changed = self._spawn_hosts(new, user)
            except StartRefused as refused:
                lines += refused.lines
            self._await(generation, changed)
            stay = {name: host for name, host in self._hosts.items() if name in tables and name not in changed}
            lines += self._host_faults(read(self._path, None), changed, stay)
        if lines or generation.ready is None:
            for line in lines or ["the new workers did not start"]:
                self._log.error(line)
            self._log.error("reload refused; the configuration in force stays")
            self._ledger.set_reload(False, 0)
            self._end(generation)
            for host in changed.values():
                host.stop()
                host.kill()
                self._retired.append(host)
            self._forget_stores(self._hosts)
            self._notifier.ready("serving; the last reload was refused")
            return
        self._complain_of_restart(generation.ready["settings"])
        for warning in generation.ready["warnings"]:
            self._log.warning(warning)
        hosts = {}
        for name in generation.ready["exporters"]:
            hosts[name] = changed.get(name) or self._hosts[name]
        self._hand_over([host for name, host in self._hosts.items() if hosts.get(name) is not host])
        self._adopt(generation, hosts)
        if old is not None:
            self._park(old)
            self._await_parked(old)
        self._log.notice(f"reloaded; exporters: {', '.join(hosts) or 'none'}")
        self._notifier.ready(f"serving with {generation.ready['workers']} workers")

    def _complain_of_restart(self, settings: dict[str, Any]) -> None:
        for key, option in (
            ("socket", "milter.socket"),
            ("socket_mode", "milter.socket_mode"),
            ("socket_group", "milter.socket_group"),
            ("log", "[log] of the supervisor"),
        ):
            if self._settings.get(key) != settings.get(key):
                self._log.warning(f"{option} has changed; it takes a restart to come into force")
                settings[key] = self._settings.get(key)

    def _hand_over(self, hosts: Sequence[Host]) -> None:
        """Stop exporters whose table has changed or gone, so that their successors go on from their cursors."""
        deadline = max((host.stop() for host in hosts), default=0.0)
        while any(host.pid for host in hosts) and time.monotonic() < deadline:
            self._listen([], hosts, 0.05)
            self._reap({host.name: host for host in hosts})
        for host in hosts:
            host.kill()
            self._retired.append(host)

    def _park(self, generation: Generation) -> None:
        generation.draining_since = time.monotonic()
        generation.pipe.send({"park": {**self._settings["reload"], "idle_is_done": False}})
        draining = [g for g in self._generations if g.draining_since and not g.ended]
        for oldest in draining[: max(0, len(draining) - self._settings["max_generations"] + 1)]:
            self._log.warning(f"generation {oldest.number} still had sessions when too many generations were alive")
            oldest.pipe.send({"park": {"soft": 0.0, "hard": 1.0, "idle_is_done": True}})

    def _await_parked(self, generation: Generation) -> None:
        """Whoever reads that we have reloaded may rely on it that new connections meet the new configuration."""
        deadline = time.monotonic() + _PARK_TIMEOUT
        while not (generation.parked or generation.ended) and time.monotonic() < deadline:
            self._listen(self._generations, [*self._hosts.values(), *self._retired], 0.05)
            self._reap({})

    def _end(self, generation: Generation) -> None:
        if not generation.ended:
            generation.draining_since = time.monotonic()
            # Its workers were ready, so a client may have met one of them: its message is not put off for that.
            generation.pipe.send({"park": {"soft": 4.0, "hard": 5.0, "idle_is_done": False}})

    # Stop.

    def _stop(self) -> None:
        self._notifier.stopping()
        timeout = float(self._settings.get("stop_timeout", 25))
        self._log.notice("stopping")
        begun = time.monotonic()
        for generation in self._generations:
            if not generation.ended:
                generation.pipe.send({"park": {"soft": 0.0, "hard": timeout, "idle_is_done": True}})
        while any(not g.ended for g in self._generations) and time.monotonic() < begun + timeout + 2:
            self._listen(self._generations, [*self._hosts.values(), *self._retired], 0.05)
            self._reap({})
        for generation in self._generations:
            if not generation.ended:
                os.kill(generation.pid, signal.SIGKILL)
        hosts = [*self._hosts.values(), *self._retired]
        deadline = max((host.stop() for host in hosts), default=0.0)
        while any(host.pid for host in hosts) and time.monotonic() < deadline:
            self._listen([], hosts, 0.05)
            self._reap({})
        for host in hosts:
            if host.pid:
                self._log.error(f"exporter '{host.name}' did not stop in time; killed")
                host.kill()
        privileges.end_orphans()
        if self._listening is not None:
            self._listening.close()
        self._log.notice("stopped")
        self._log.give_up()

    def _kill_everything(self) -> None:
        for generation in self._generations:
            if not generation.ended:
                generation.pipe.close()
        deadline = time.monotonic() + 2
        for host in (*self._hosts.values(), *self._retired):
            host.kill()
        while time.monotonic() < deadline:
            self._reap({})
            if all(generation.ended for generation in self._generations):
                return
            time.sleep(0.02)

    # Events.

    def _note_signal(self, number: int, _frame: object) -> None:
        self._signals.add(number)

    def _line_lost(self) -> None:
        batch = Batch()
        batch.add(events.LogLineLost())
        self._writer.record(batch)

    def _listen(self, generations: Sequence[Generation], hosts: Sequence[Host], seconds: float) -> None:
        """Wait for something to happen, and take all messages that have come."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            for generation in generations:
                if not generation.ended:
                    selector.register(generation.pipe, selectors.EVENT_READ, generation)
            for host in hosts:
                if host.pipe is not None:
                    selector.register(host.pipe, selectors.EVENT_READ, host)
            for key, _ in selector.select(seconds):
                if key.data is None:
                    self._wake.recv(4096)
                elif isinstance(key.data, Host):
                    key.data.take_message()
                else:
                    self._take(key.data)

    def _take(self, generation: Generation) -> None:
        message = generation.pipe.receive()
        if message is None:
            # The leader is gone; waitpid says how.
            generation.ended = True
            generation.pipe.close()
        elif "failed" in message:
            generation.failed = message["failed"]
        elif "ready" in message:
            generation.ready = message
        elif "parked" in message:
            generation.parked = True
        elif "restarted" in message:
            batch = Batch()
            batch.add(events.WorkerRestarted())
            self._writer.record(batch)

    def _reap(self, extra: dict[str, Host]) -> None:
        while True:
            try:
                # Looked at first and reaped below: what an exporter leaves behind is ended while its number is taken.
                seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if seen is None:
                break
            hosts = (*self._hosts.values(), *self._retired, *extra.values())
            for host in hosts:
                if host.pid == seen.si_pid:
                    host.sweep()
            pid, status = os.waitpid(seen.si_pid, 0)
            for host in hosts:
                if host.pid == pid:
                    host.ended(status)
                    break
            else:
                for generation in self._generations:
                    if generation.pid == pid:
                        generation.ended = True
                        generation.pid = 0
                # An orphan of a leader that died: its stripe is free, its open sessions are gone.
                for stripe in range(1, STRIPES):
                    if self._ledger.owner(stripe) == pid:
                        self._ledger.release(stripe)
        self._generations = [g for g in self._generations if not g.ended]
        self._retired = [host for host in self._retired if host.pid]
