"""The supervisor's children: generations of workers and exporter processes, begun, heard and reaped.

What to do about them is the supervisor's to decide. Nothing here waits longer than it is told to.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from types import MethodType
from typing import Any, Final

from phoenixdkim import events
from phoenixdkim.channel import channel_pair
from phoenixdkim.daemon.control_socket import Client, ControlSocket
from phoenixdkim.daemon.descriptors import spare_descriptors
from phoenixdkim.daemon.fence import Fence
from phoenixdkim.daemon.generation import lead
from phoenixdkim.daemon.generations import KILL_GRACE, Generation
from phoenixdkim.daemon.hosts import Host, PageStore, State
from phoenixdkim.daemon.key_loading import KeyLoading
from phoenixdkim.daemon.lifeline import Lifeline, lifeline
from phoenixdkim.daemon.messages import CODEC, FROM_LEADER, Failed, Fenced, Loaded, Parked, Ready, Restarted, Workers
from phoenixdkim.daemon.reaper import Reaper
from phoenixdkim.exporters.check import clash_faults
from phoenixdkim.exporters.messages import TableFault
from phoenixdkim.exporters.users import Identity, Rules, UserFault, users_of
from phoenixdkim.ledger import MAX_WORKERS, STRIPES, Ledger, read_only_descriptor
from phoenixdkim.log import Log
from phoenixdkim.messages import MessageError

_CHECK_GRACE: Final = 5.0
_LAST_MOMENT: Final = 0.5
"""Seconds from the end of a control channel to the end of its process: the kernel closes descriptors first."""


class Children:
    """All processes that the supervisor has begun.

    Attributes:
        generations: those that have not ended, the newest last.
        hosts: exporters in force, by name.
        candidates: exporters that are checked and may come into force.
        retired: exporters that are to end.
        control: the control socket, which is listened to beside them.
    """

    def __init__(
        self,
        ledger: Ledger,
        count: Callable[[events.Event], None],
        report: Callable[[str], None],
        interrupted: Callable[[], bool] = lambda: False,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """No children yet.

        Args:
            ledger: shared with all of them.
            count: takes events of the supervisor.
            report: logs an error.
            interrupted: whether the daemon should stop, so that nothing is waited for.
            beat: called at each ``listen``, also while exporters have their time to stop.
        """
        self.generations: list[Generation] = []
        self.hosts: dict[str, Host] = {}
        self.candidates: dict[str, Host] = {}
        self.retired: list[Host] = []
        self._stores: dict[str, PageStore] = {}
        self._ledger = ledger
        self._ledger_reading = read_only_descriptor(ledger.fd)
        self.control: ControlSocket | None = None
        self._count = count
        self._interrupted = interrupted
        self._beat = beat
        self._fence = Fence(report, count)
        self._reaper = Reaper(self._fence, ledger, self._take)
        self._number = 0
        self._checking = 0
        self._grace = 0.0
        self._wake, self._wakeup = socket.socketpair()
        self._wake.setblocking(False)
        self._wakeup.setblocking(False)

    @property
    def wakeup(self) -> int:
        """Descriptor that ends a ``listen`` when it is written to, for ``signal.set_wakeup_fd``."""
        return self._wakeup.fileno()

    # Generations.

    def spawn_generation(self, path: str, data: bytes, listening: socket.socket, log: Log) -> Generation | None:
        """Begin a leader, which loads a configuration and waits for ``Generation.serve``.

        Args:
            path: what faults call the configuration file.
            data: its octets.
            listening: the shared listening socket.
            log: for a leader that fails before it has a log of its own.

        Returns:
            None when older generations have all stripes; the oldest is hurried then.
        """
        stripes = self._free_block()
        if stripes is None:
            oldest = next((one for one in self.generations if one.draining), None)
            if oldest is not None and (oldest.kill_at is None or oldest.kill_at > time.monotonic() + 2 * KILL_GRACE):
                log.warning(f"generation {oldest.number} still had sessions when too many generations were alive")
                oldest.park(0.0, 1.0, idle_is_done=True)
            return None
        self._number += 1
        ours, theirs = channel_pair(CODEC)
        line, shared = lifeline()
        loading = KeyLoading(path, data)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                ours.close()
                line.close()
                self._close_in_leader()
                lead(path, data, loading, theirs, shared, listening, self._ledger, stripes, parent)
            except Exception as error:  # noqa: BLE001 - nothing may return into the supervisor's code
                log.error(f"the leader failed: {type(error).__name__}: {error}")
            finally:
                os._exit(70)
        theirs.close()
        shared.close()
        generation = Generation(self._number, pid, ours, line, stripes, loading, log)
        self.generations.append(generation)
        return generation

    def _free_block(self) -> range | None:
        """Return a block of stripes that no generation has.

        Blocks, not single stripes: a leader hands the stripe of a worker that died to the next by itself. A
        generation has its block until its last process is gone; claims in shared memory are not believed.
        """
        taken = {generation.stripes.start for generation in self.generations}
        return next(
            (
                range(start, start + MAX_WORKERS)
                for start in range(1, STRIPES, MAX_WORKERS)
                if start not in taken and start + MAX_WORKERS <= STRIPES
            ),
            None,
        )

    def _close_in_leader(self) -> None:
        self._wake.close()
        self._wakeup.close()
        if self.control is not None:
            self.control.close_in_child()
        for generation in self.generations:
            generation.control.close()
            generation.lifeline.close()
            generation.loading.close()
        for host in self.all_hosts():
            if host.client is not None:
                host.client.close()
            if host.output is not None:
                host.output.close()
        for store in self._stores.values():
            store.close()
        os.close(self._ledger_reading)

    def live(self) -> Generation | None:
        """The generation that serves, if there is one."""
        for generation in reversed(self.generations):
            if generation.ready and generation.led and not generation.draining:
                return generation
        return None

    def last_beat(self) -> float:
        """Return when a worker last showed that it lives, in monotonic seconds."""
        return max((generation.lifeline.last_beat for generation in self.generations), default=0.0)

    # Exporters.

    def all_hosts(self) -> list[Host]:
        """Exporters of every state."""
        return [*self.hosts.values(), *self.candidates.values(), *self.retired]

    @spare_descriptors(32)  # for generations of workers: mail comes first
    def spawn_candidates(self, tables: Mapping[str, Mapping[str, Any]], rules: Rules, log: Log) -> None:
        """Begin a process for each table, which checks it.

        Args:
            tables: of ``[exporters]``, by name.
            rules: what decides whose processes these are when we are root.
            log: for what exporters have to say.
        """

        def users(options: Mapping[str, str]) -> dict[str, Identity | UserFault | None]:
            return users_of(options, rules, [(host.name, host.run_as) for host in self.all_hosts()])

        chosen = users({name: str(table.get("user", "")) for name, table in tables.items()})
        for name, table in tables.items():
            store = self._stores[name] = self._stores.get(name) or PageStore(name)
            self.candidates[name] = Host(name, table, store, self._ledger_reading, chosen[name], users, log)

    def candidates_decided(self) -> bool:
        """Return whether candidates have said yes or no. One that does neither is not waited for."""
        now = time.monotonic()
        checking = sum(host.state is State.CHECKING and host.pid != 0 for host in self.candidates.values())
        if checking != self._checking:
            # Many of them take their time on a small machine; while they go on answering, nothing hangs.
            self._grace = now + _CHECK_GRACE
        self._checking = checking
        return not checking or now > self._grace

    def candidate_faults(self, stay: Mapping[str, Host]) -> list[TableFault]:
        """Faults of candidates that were checked, also of their metrics beside those of exporters that stay."""
        found = [fault for host in self.candidates.values() for fault in host.faults if host.state is State.REFUSED]
        return found + _clashes({**stay, **self.candidates})

    def adopt(self, names: Sequence[str]) -> None:
        """Make these exporters the ones in force: a candidate where there is one, else the one in force.

        The others stop first, so that their successors go on from their cursors.
        """
        hosts = {name: self.candidates.get(name) or self.hosts[name] for name in names}
        self._stop_hosts([host for name, host in self.hosts.items() if hosts.get(name) is not host])
        self.hosts, self.candidates = hosts, {}
        self._forget_stores()
        self._keep_samples()
        for host in hosts.values():
            self.start(host)

    def _keep_samples(self) -> None:
        """Keep single durations while an exporter in force wants them; what it wants is known when it was checked."""
        self._ledger.want_samples(any(host.wants_samples for host in self.hosts.values()))

    def dismiss_candidates(self) -> None:
        """They don't come into force."""
        for host in self.candidates.values():
            host.stop()
            host.kill()
            self.retired.append(host)
        self.candidates = {}
        self._forget_stores()

    def start(self, host: Host) -> None:
        """Start an exporter in force, and show it the pages of the others."""
        host.tell_peers({name: self._stores[name] for name in self.hosts})
        host.start()

    def watch(self) -> None:
        """See to it that exporters in force run: replace the dead and the hanging, start what has been checked late."""
        for host in self.hosts.values():
            before = host.state
            self._fence.run(f"exporter '{host.name}'", host.watch)
            if before is not State.CHECKING and host.state is State.CHECKING:
                continue
            if host.state is State.CHECKED:
                self._refuse_clashing()
            if host.state is State.CHECKED:
                self._keep_samples()
                self.start(host)

    def _refuse_clashing(self) -> None:
        """Refuse exporters whose metrics an earlier table has, as ``check`` does, whichever was checked first."""
        for name, faults in groupby(_clashes(self.hosts), lambda fault: str(fault.path[0])):
            if self.hosts[name].state in (State.CHECKED, State.RUNNING):
                self.hosts[name].refuse(list(faults))

    def stop_all_hosts(self, log: Log, limit: float) -> None:
        """Let all exporters deliver what there is and end, at the same time; kill those that don't in time.

        Args:
            log: names those that are killed.
            limit: seconds that each has at most.
        """
        hosts = self.all_hosts()
        self._let_end(hosts, lambda: False, limit)
        for host in hosts:
            if host.pid:
                log.error(f"exporter '{host.name}' did not stop in time; killed")
                host.kill()

    def _stop_hosts(self, hosts: Sequence[Host]) -> None:
        self._let_end(hosts, self._interrupted)
        for host in hosts:
            host.kill()
            self.retired.append(host)

    def _let_end(self, hosts: Sequence[Host], interrupted: Callable[[], bool], limit: float = math.inf) -> None:
        deadline = max((host.stop(limit) for host in hosts), default=0.0)
        while any(host.pid for host in hosts) and time.monotonic() < deadline and not interrupted():
            self.listen(0.05)

    def _forget_stores(self) -> None:
        """Let go of the pages of exporters that are no longer configured, once nothing refers to them."""
        for name in [name for name in self._stores if name not in self.hosts]:
            if all(host.name != name for host in self.retired):
                self._stores.pop(name).close()

    # All.

    def listen(self, seconds: float) -> None:
        """Wait for something to happen, take all messages that have come, and reap who has ended."""
        now = time.monotonic()
        # Not epoll: it takes a descriptor, and there may be none left.
        with selectors.PollSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            for generation in self.generations:
                if generation.led:
                    selector.register(generation.control, selectors.EVENT_READ, generation)
                if not generation.lifeline.ended:
                    selector.register(generation.lifeline, selectors.EVENT_READ, generation.lifeline)
            for host in self.all_hosts():
                if host.client is not None:
                    selector.register(host.client, selectors.EVENT_READ, host)
                if host.output is not None and host.output.due(now):
                    selector.register(host.output, selectors.EVENT_READ, host.take_output)
            for source in self.control.sources() if self.control is not None else ():
                selector.register(source, selectors.EVENT_READ, source)
            for key, _ in selector.select(seconds):
                if key.data is None:
                    self._wake.recv(4096)
                elif isinstance(key.data, Host):
                    if not self._fence.run(f"exporter '{key.data.name}'", key.data.take_messages):
                        key.data.kill()
                elif isinstance(key.data, MethodType):
                    self._fence.run("output of an exporter", key.data)
                elif isinstance(key.data, (Client, ControlSocket)):
                    if self.control is not None:
                        self._fence.run("control socket", partial(self.control.take, key.data))
                elif isinstance(key.data, Lifeline):
                    key.data.take_beats(time.monotonic())
                else:
                    self._take(key.data)
        self._reap()
        now = time.monotonic()
        for generation in self.generations:
            generation.watch_loading(now)
        self._beat()

    def _take(self, generation: Generation) -> None:
        try:
            message = generation.control.receive(FROM_LEADER)
        except MessageError as error:
            generation.log.error(f"the leader sent an invalid message ({error}); killed")
            generation.kill_leader()
            return
        if isinstance(message, Failed):
            generation.failed = list(message.lines)
        elif isinstance(message, Loaded):
            generation.loaded = message
            generation.loading.receive()
        elif isinstance(message, Ready):
            generation.ready = True
        elif isinstance(message, Workers):
            # Not even a leader decides about processes that are not its workers.
            ours = {one.pid for one in self.generations} | {host.pid for host in self.all_hosts()}
            generation.workers = frozenset(message.pids) - ours
        elif isinstance(message, Parked):
            generation.parked = True
        elif isinstance(message, Restarted):
            self._count(events.WorkerRestarted())
        elif isinstance(message, Fenced):
            self._count(events.InternalError(events.Stage.PROCESSES))
        elif generation.control.ended:
            # A leader that closed its channel and goes on is of no use.
            generation.kill_leader(_LAST_MOMENT)

    def kill_overdue(self) -> None:
        """Kill what is left of generations that should have ended."""
        now = time.monotonic()
        for generation in self.generations:
            if generation.kill_at is not None and now >= generation.kill_at:
                generation.kill()
                # Its leader's death makes its workers ours: they are next.
                generation.kill_at = now + 0.1

    def _reap(self) -> None:
        self._reaper.reap(self.all_hosts(), self.generations)
        self.retired = [host for host in self.retired if host.pid]

    def kill_all(self) -> None:
        """End everything at once, for a start that failed."""
        for host in self.all_hosts():
            host.kill()
        deadline = time.monotonic() + 2
        while self.generations and time.monotonic() < deadline:
            for generation in self.generations:
                generation.kill()
            self.listen(0.02)


def _clashes(hosts: Mapping[str, Host]) -> list[TableFault]:
    return clash_faults({name: host.answer for name, host in hosts.items() if host.answer[0]})
