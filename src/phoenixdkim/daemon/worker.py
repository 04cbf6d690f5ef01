"""A worker: answers the MTA until it is parked and its last session is done.

libmilter runs in a thread; the main thread obeys the control pipe. Python's signal handlers lose to libmilter's own
signal thread, so a worker ignores the signals that stop or reload a daemon: the supervisor acts on them for all.
A worker never ends by ``milter.stop()``, which would strand its sessions: it parks its listener, sees its accepted
sockets go, and exits.
"""

from __future__ import annotations

import os
import select
import threading
import time
from dataclasses import dataclass
from socket import socket
from typing import Final, NoReturn

from phoenixdkim.channel import Channel
from phoenixdkim.daemon.descriptors import Shortage
from phoenixdkim.daemon.lifeline import LifelineEnd
from phoenixdkim.daemon.messages import Beat, Deadlines, Park, Parked, WorkerReady
from phoenixdkim.daemon.signals import ignore_all
from phoenixdkim.dns import Resolver, ResolverOptions
from phoenixdkim.ledger import Ledger
from phoenixdkim.log import Log
from phoenixdkim.milter.pymilter_engine import Engine, EngineOptions
from phoenixdkim.milter.pymilter_listener import Listener
from phoenixdkim.policy import Policy

EXIT_SOFTWARE: Final = 70
_POLL: Final = 0.2
_POLL_PARKED: Final = 0.02
_QUIET: Final = 0.25
_ORPHAN_DEADLINE: Final = 1.0
_BEAT: Final = 1.0


@dataclass(frozen=True, slots=True)
class WorkerSetting:
    """All that a worker is made of; it reads nothing else."""

    policy: Policy
    resolver: ResolverOptions
    engine: EngineOptions


def run_worker(
    setting: WorkerSetting,
    control: Channel,
    lifeline: LifelineEnd,
    listening: socket,
    ledger: Ledger,
    stripe: int,
    log: Log,
    supervisor: int,
) -> NoReturn:
    """Be a worker; the process exits in here.

    Args:
        setting: the generation's configuration and keys.
        control: our end of the control pipe to the leader.
        lifeline: shows the supervisor that we live, and has its orders when the leader is gone.
        listening: the shared listening socket.
        ledger: the ledger.
        stripe: our stripe in it.
        log: where the summary lines go.
        supervisor: pid of the supervisor.
    """
    ignore_all()
    writer = ledger.writer(stripe)
    resolver = Resolver(setting.resolver, setting.policy.limits)
    engine = Engine(setting.policy, resolver, writer, log, setting.engine)
    engine.register()
    listener = Listener(listening)
    resolver.about_to_wait = listener.rouse
    libmilter = threading.Thread(target=_serve, args=(engine, log), name="libmilter", daemon=True)
    libmilter.start()
    listener.serve(libmilter)
    shortage = Shortage(listener, log, setting.resolver.max_concurrent)
    control.send(WorkerReady())
    parked: Deadlines | None = None
    connected = True
    beat_at = 0.0
    while parked is None:
        now = time.monotonic()
        if now >= beat_at:
            beat_at = now + _BEAT
            lifeline.beat()
            control.send(Beat())
        # For whoever waits beside something else than name servers: a large message, half a packet.
        listener.rouse()
        shortage.look()
        log.flush()
        if connected and select.select([control], [], [], _POLL)[0]:
            message = control.receive((Park,))
            if message is not None:
                parked = message.deadlines
            connected = not control.ended
        elif not connected:
            time.sleep(_POLL)
            parked = _orphaned(lifeline, supervisor)
    listener.pause()
    control.send(Parked())
    _drain(engine, listener, parked, control if connected else None, lifeline, supervisor)
    log.give_up()
    os._exit(0)


def _serve(engine: Engine, log: Log) -> None:
    engine.run()
    log.error("libmilter stopped serving; the worker ends")
    os._exit(EXIT_SOFTWARE)


def _orphaned(lifeline: LifelineEnd, supervisor: int) -> Deadlines | None:
    """Return how to end for a worker whose leader is gone; None: go on until the supervisor says otherwise."""
    if os.getppid() != supervisor:
        return Deadlines(0, _ORPHAN_DEADLINE, True)
    orders = lifeline.orders()
    return orders[0] if orders else None


def _is_empty(listener: Listener) -> bool:
    try:
        return listener.accepted() == 0
    except OSError:
        # Sessions have all the descriptors there are.
        return False


def _drain(
    engine: Engine,
    listener: Listener,
    deadlines: Deadlines,
    control: Channel | None,
    lifeline: LifelineEnd,
    supervisor: int,
) -> None:
    begun = time.monotonic()
    beat_at = begun
    obeyed = 0
    hard = begun + deadlines.hard
    soft = begun + deadlines.soft
    empty = 0
    quiet_since: float | None = None
    while True:
        now = time.monotonic()
        if now >= beat_at:
            beat_at = now + _BEAT
            lifeline.beat()
        listener.rouse()
        if now >= soft:
            engine.closing = True
        # Twice, because a connection may have been accepted between our two looks.
        empty = empty + 1 if _is_empty(listener) else 0
        if empty == 2 or now >= hard:
            return
        if deadlines.idle_is_done and engine.messages == 0:
            # The last reply leaves libmilter a moment after our callback has returned.
            quiet_since = quiet_since or now
            if now - quiet_since >= _QUIET:
                return
        else:
            quiet_since = None
        if control is None:
            time.sleep(_POLL_PARKED)
            if os.getppid() != supervisor:
                hard = min(hard, now + _ORPHAN_DEADLINE)
            orders = lifeline.orders()
            for again in orders[obeyed:]:
                deadlines = again
                soft, hard = min(soft, now + again.soft), min(hard, now + again.hard)
            obeyed = len(orders)
        elif select.select([control], [], [], _POLL_PARKED)[0]:
            message = control.receive((Park,))
            if message is not None:
                deadlines = message.deadlines
                soft, hard = min(soft, now + deadlines.soft), min(hard, now + deadlines.hard)
            if control.ended:
                control = None
