"""A generation: a leader that has loaded configuration and keys once, and the workers forked from it.

The supervisor hands the leader the configuration's text; the leader opens no configuration file. It loads the keys,
reports what the configuration is, and forks workers when the supervisor agrees. A worker that dies is replaced by
another fork of the leader: it has the same configuration and keys whatever is on the disk by then.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from socket import socket
from typing import Final, NoReturn

from phoenixdkim.channel import Channel, channel_pair
from phoenixdkim.config.build import build, faults_of_parts
from phoenixdkim.config.load import read_octets
from phoenixdkim.config.model import Config
from phoenixdkim.config.summary import summarize
from phoenixdkim.daemon import privileges
from phoenixdkim.daemon.descriptors import raise_limit
from phoenixdkim.daemon.key_loading import KeyLoading
from phoenixdkim.daemon.lifeline import LifelineEnd
from phoenixdkim.daemon.messages import (
    CODEC,
    FROM_WORKER,
    Deadlines,
    Failed,
    Fenced,
    Loaded,
    LogSettings,
    Park,
    Parked,
    Ready,
    Restarted,
    Serve,
    Settings,
    WorkerReady,
    Workers,
    lines_for_message,
)
from phoenixdkim.daemon.signals import ignore_all
from phoenixdkim.daemon.worker import EXIT_SOFTWARE, WorkerSetting, run_worker
from phoenixdkim.exporters.described import described
from phoenixdkim.exporters.users import Identity, identity
from phoenixdkim.keystore.identities import Identities
from phoenixdkim.ledger import MAX_WORKERS, Ledger
from phoenixdkim.log import Destination, Facility, Level, Log
from phoenixdkim.messages import MessageError
from phoenixdkim.milter.pymilter_engine import EngineOptions
from phoenixdkim.prctl import hide_memory
from phoenixdkim.process_status import ended_how

EXIT_CONFIG: Final = 78
_POLL: Final = 0.25
_HANG: Final = 30.0
_HUNG_UP: Final = 2.0
_READY: Final = 30.0
_MAX_PAUSE: Final = 10.0
_CROWD: Final = 16
_CROWD_SECONDS: Final = 10.0


def worker_count(config: Config) -> int:
    """How many workers a configuration asks for; 0 stands for two a core.

    libmilter has a thread a session, and the threads of a process wait for the one interpreter: two processes a core
    were measured to verify a fifth faster than one, and to sign as fast.
    """
    return config.milter.workers or min(MAX_WORKERS, 2 * len(os.sched_getaffinity(0)))


def open_log(config: Config) -> Log:
    """The log that a configuration names."""
    return Log(
        Destination(config.log.destination), Level[config.log.level.upper()], Facility[config.log.facility.upper()]
    )


def run_as(config: Config) -> Identity | None:
    """The user of leader and workers: None unless the daemon was started as root.

    Raises:
        LookupError: there is no such user.
    """
    return identity(config.process.user) if os.geteuid() == 0 else None


@dataclass(slots=True)
class _Worker:
    pid: int
    control: Channel
    stripe: int
    seen: float
    ready: bool = False
    parked: bool = False
    hung_up: float | None = None
    killed: bool = False

    def kill(self) -> None:
        """End the process at once."""
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)


@dataclass(slots=True)
class Leader:
    """The leader's state."""

    setting: WorkerSetting
    control: Channel
    lifeline: LifelineEnd
    listening: socket
    ledger: Ledger
    stripes: list[int]
    log: Log
    supervisor: int
    workers: dict[int, _Worker] = field(default_factory=dict)
    parked: Deadlines | None = None
    _deaths: list[float] = field(default_factory=list)
    _due: float = 0.0

    def fork_worker(self) -> None:
        """Start a worker on a free stripe."""
        ours, theirs = channel_pair(CODEC)
        stripe = self.stripes.pop()
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                ours.close()
                self.control.close()
                for other in self.workers.values():
                    other.control.close()
                run_worker(
                    self.setting,
                    theirs,
                    self.lifeline,
                    self.listening,
                    self.ledger,
                    stripe,
                    self.log,
                    self.supervisor,
                )
            except Exception as error:  # noqa: BLE001 - nothing may return into the leader's code
                self.log.error(f"worker failed to start: {type(error).__name__}: {error}")
            finally:
                os._exit(EXIT_SOFTWARE)
        theirs.close()
        self.workers[pid] = _Worker(pid, ours, stripe, time.monotonic())
        self.control.send(Workers(tuple(self.workers)))

    def reap(self) -> None:
        """Take the stripes of workers that ended, and count those that ended unasked."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self.workers.pop(pid, None)
            if worker is None:
                continue
            try:
                self._ended(worker, status)
            except Exception as error:  # noqa: BLE001 - workers are replaced whatever the end of one leads to
                self.log.error(f"worker {pid} ended: internal error: {described(error)}")
                self.control.send(Fenced())

    def _ended(self, worker: _Worker, status: int) -> None:
        self.stripes.append(worker.stripe)
        worker.control.close()
        if self.parked is None:
            self._back_off(time.monotonic())
            how = ended_how(status, killed=worker.killed)
            self.log.error(f"worker {worker.pid} ended unasked ({how}); replacing it")
            self.control.send(Restarted(worker.pid))
        self.ledger.release(worker.stripe)

    def _back_off(self, now: float) -> None:
        """One that dies now and then is replaced at once; a crowd of deaths is slowed down."""
        self._deaths = [*(death for death in self._deaths if now - death < _CROWD_SECONDS), now]
        beyond = len(self._deaths) - _CROWD
        self._due = now + min(_MAX_PAUSE, 0.1 * 2**beyond) if beyond > 0 else 0.0

    def replace(self, wanted: int) -> None:
        """Fork what is missing, not faster than the back-off allows."""
        while self.parked is None and len(self.workers) < wanted and time.monotonic() >= self._due:
            self.fork_worker()

    def kill_hanging(self) -> None:
        """Kill workers that have sent nothing for too long."""
        now = time.monotonic()
        for worker in self.workers.values():
            if worker.ready and self.parked is None and now - worker.seen > _HANG:
                self.log.error(f"worker {worker.pid} shows no sign of life for {_HANG:.0f} s; killed")
                worker.seen = now
                worker.kill()

    def park(self, deadlines: Deadlines) -> None:
        """Tell all workers to take no more connections and to end."""
        self.parked = deadlines
        for worker in self.workers.values():
            worker.control.send(Park(deadlines))

    def listen(self, seconds: float) -> list[Park | None]:
        """Messages of the supervisor, None when it has ended; also takes the workers'."""
        workers = {worker.control.fileno(): worker for worker in self.workers.values()}
        poll = select.poll()
        for fd in (self.control.fileno(), *workers):
            poll.register(fd, select.POLLIN)
        found: list[Park | None] = []
        for fd, _ in poll.poll(1000 * seconds):
            if fd in workers:
                self._hear(workers[fd])
                continue
            message = self.control.receive((Park,))
            if message is not None or self.control.ended:
                found.append(message)
        return found

    def _hear(self, worker: _Worker) -> None:
        """Take a worker's message; one that sends anything invalid, or closes its channel and goes on, is killed."""
        try:
            message = worker.control.receive(FROM_WORKER)
            worker.seen = time.monotonic()
        except MessageError as error:
            self.log.error(f"worker {worker.pid} sent an invalid message ({error}); killed")
            worker.kill()
            return
        if isinstance(message, WorkerReady):
            worker.ready = True
        elif isinstance(message, Parked):
            worker.parked = True
        elif worker.control.ended:
            # Its end is seen by waitpid in a moment; until then there is nothing to read.
            time.sleep(0.002)
            worker.hung_up = worker.hung_up or time.monotonic()
            if time.monotonic() - worker.hung_up > _HUNG_UP:
                self.log.error(f"worker {worker.pid} closed its control channel; killed")
                worker.kill()


def lead(
    path: str,
    data: bytes,
    loading: KeyLoading,
    control: Channel,
    lifeline: LifelineEnd,
    listening: socket,
    ledger: Ledger,
    stripes: Sequence[int],
    supervisor: int,
) -> NoReturn:
    """Be a generation's leader; the process exits in here.

    Args:
        path: what faults call the configuration file; it is not opened.
        data: its octets.
        loading: tells the supervisor which key is being loaded, and what the key files were.
        control: our end of the control pipe to the supervisor.
        lifeline: shared by all processes of the generation.
        listening: the shared listening socket.
        ledger: the ledger.
        stripes: stripes of the ledger that are ours alone.
        supervisor: pid of the supervisor.
    """
    ignore_all()
    root = os.geteuid() == 0
    loaded = read_octets(data, path)
    faults = list(loaded.faults)
    config = loaded.config
    policy = None
    identities = Identities()
    if config is not None:
        policy, resolver, more = build(
            config, uid_is_root=root, loaded=loaded, progress=loading.progress.note, identities=identities
        )
        faults += more
    else:
        faults += faults_of_parts(loaded, uid_is_root=root, progress=loading.progress.note)
    faults = sorted(dict.fromkeys(faults), key=lambda fault: fault.line)
    errors = [str(fault) for fault in faults if fault.is_error]
    if config is None or policy is None or errors:
        control.send(Failed(lines_for_message(errors or [f"{path}: cannot be used"])))
        os._exit(EXIT_CONFIG)
    log = open_log(config)
    try:
        user = run_as(config)
        if user is not None:
            privileges.drop(user)
    except (LookupError, OSError, privileges.PrivilegeError) as error:
        control.send(Failed(lines_for_message([f"{path}: process.user: {error}"])))
        os._exit(EXIT_CONFIG)
    hide_memory()
    milter = config.milter
    few = raise_limit(milter.max_sessions, resolver.max_concurrent)
    setting = WorkerSetting(policy, resolver, EngineOptions(milter.max_sessions, milter.timeout))
    wanted = worker_count(config)
    warnings = lines_for_message([*map(str, faults), *([few] if few else [])])
    loading.send(identities)
    control.send(Loaded(summarize(config, loaded.tables), wanted, config.exporters, warnings, _settings(config)))
    # The supervisor may refuse what it has learned: until it agrees no mail may meet this configuration.
    control.wait(None)
    if control.receive((Serve, Park)) != Serve():
        os._exit(0)
    leader = Leader(setting, control, lifeline, listening, ledger, list(stripes), log, supervisor)
    leader.replace(wanted)
    deadline = time.monotonic() + _READY
    while not all(worker.ready for worker in leader.workers.values()) or len(leader.workers) < wanted:
        if None in leader.listen(_POLL) or time.monotonic() > deadline or not leader.workers:
            control.send(Failed(lines_for_message([f"{path}: the workers did not start, see the log"])))
            _kill_all(leader)
            os._exit(EXIT_SOFTWARE)
        before = len(leader.workers)
        leader.reap()
        if len(leader.workers) < before:
            control.send(Failed(lines_for_message([f"{path}: a worker ended at its start, see the log"])))
            _kill_all(leader)
            os._exit(EXIT_SOFTWARE)
    control.send(Ready())
    _serve(leader, wanted)


def _settings(config: Config) -> Settings:
    """What the supervisor needs to know of a configuration."""
    milter, log = config.milter, config.log
    return Settings(
        milter.socket,
        milter.socket_mode,
        milter.socket_group,
        config.control.socket,
        config.process.user,
        config.process.exporter_uids,
        milter.stop_timeout,
        milter.max_generations,
        Deadlines(milter.reload_soft_deadline, milter.reload_hard_deadline),
        LogSettings(str(log.destination), str(log.level), str(log.facility)),
    )


def _kill_all(leader: Leader) -> None:
    for worker in leader.workers.values():
        os.kill(worker.pid, signal.SIGKILL)
    for pid in list(leader.workers):
        os.waitpid(pid, 0)
        leader.ledger.release(leader.workers[pid].stripe)


def _serve(leader: Leader, wanted: int) -> NoReturn:
    kill_at: float | None = None
    told = False
    while True:
        # A worker's end shows at once: its control pipe closes.
        for message in leader.listen(_POLL):
            if message is None:
                # The supervisor is gone: nobody would stop or count us.
                if leader.parked is None or leader.parked.hard > 1:
                    leader.park(Deadlines(0, 1.0, True))
                kill_at = min(kill_at or time.monotonic() + 1.3, time.monotonic() + 1.3)
                leader.listening.close()
                _await_end(leader, kill_at)
            else:
                leader.park(message.deadlines)
                kill_at = time.monotonic() + message.deadlines.hard + 1.0
        leader.reap()
        leader.kill_hanging()
        leader.replace(wanted)
        if leader.parked is not None:
            if not told and all(worker.parked for worker in leader.workers.values()):
                leader.control.send(Parked())
                told = True
            if not leader.workers:
                os._exit(0)
            if kill_at is not None and time.monotonic() > kill_at:
                _kill_all(leader)
                os._exit(0)


def _await_end(leader: Leader, deadline: float) -> NoReturn:
    while leader.workers and time.monotonic() < deadline:
        leader.reap()
        time.sleep(0.02)
    _kill_all(leader)
    os._exit(0)
