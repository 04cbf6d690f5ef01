"""A generation as the supervisor sees it: what its leader reported, and whether anything of it is left."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import Final

from phoenixdkim.channel import Channel
from phoenixdkim.daemon.key_loading import KeyLoading
from phoenixdkim.daemon.lifeline import Lifeline
from phoenixdkim.daemon.messages import Deadlines, Loaded, Park, Serve
from phoenixdkim.log import Log

KILL_GRACE: Final = 3.0
"""Seconds after its deadline that a generation has before it is killed."""


@dataclass(slots=True)
class Generation:
    """A leader and its workers, from outside.

    Attributes:
        number: counts generations.
        pid: of the leader; 0 when it was reaped.
        control: channel to the leader.
        lifeline: ends when no process of the generation is left.
        stripes: of the ledger, for its workers alone.
        loading: which key the leader is at, and what the key files were.
        log: for what the leader does wrong.
        loaded: what the leader says of its configuration.
        failed: why it cannot serve.
        ready: its workers serve.
        led: the leader is there.
        parked: its workers take no more connections.
        draining: it was told to end.
        workers: process ids, by what the leader last said.
        kill_at: monotonic seconds at which what is left of it is killed.
        killed: whether the leader was killed by us.
    """

    number: int
    pid: int
    control: Channel
    lifeline: Lifeline
    stripes: range
    loading: KeyLoading
    log: Log
    loaded: Loaded | None = None
    failed: list[str] = field(default_factory=list)
    ready: bool = False
    led: bool = True
    parked: bool = False
    draining: bool = False
    workers: frozenset[int] = frozenset()
    kill_at: float | None = None
    killed: bool = False

    @property
    def ended(self) -> bool:
        """Whether all its processes are gone, which the kernel says and nobody can feign."""
        return self.pid == 0 and self.lifeline.ended

    @property
    def leaderless(self) -> bool:
        """Whether the leader has ended and it is known how."""
        return not self.led and not self.pid

    def serve(self) -> None:
        """Let the leader fork its workers."""
        self.control.send(Serve())

    def park(self, soft: float, hard: float, *, idle_is_done: bool) -> None:
        """Take no more connections; end the sessions there are by these deadlines, in seconds from now."""
        kill_at = time.monotonic() + hard + KILL_GRACE
        self.kill_at = kill_at if self.kill_at is None else min(self.kill_at, kill_at)
        self.draining = True
        if self.led:
            self.control.send(Park(Deadlines(soft, hard, idle_is_done)))
        else:
            self.lifeline.order(Deadlines(soft, hard, idle_is_done))
            # Nobody reports for them; they look several times a second.
            self.parked = True

    def hang_up(self) -> None:
        """Let go of a leader that has ended, or that is about to."""
        if self.led:
            self.led = False
            self.control.close()

    def leader_ended(self, pid: int, how: str) -> None:
        """Note that the leader was reaped, and how it ended."""
        self.hang_up()
        self.failed = self.failed or self.loading.crash(how)
        if self.ready and not self.draining:
            self.log.error(f"leader {pid} ended unasked ({how})")

    def watch_loading(self, now: float) -> None:
        """Kill a leader that hangs on a key.

        Args:
            now: monotonic seconds.
        """
        if self.led and not self.failed and (lines := self.loading.hang(now)):
            self.failed = lines
            self.kill_leader()

    def kill_leader(self, seconds: float = 0.0) -> None:
        """Kill the leader unless it ends by itself within ``seconds``; its workers go on."""
        if self.pid and not _has_ended(self.pid, seconds):
            self.killed = True
            os.kill(self.pid, signal.SIGKILL)
        self.hang_up()

    def kill(self) -> None:
        """Kill the leader and the workers that it left to us.

        A worker whose leader lives is not our child: its pid may be another process by now. It becomes ours when the
        leader is gone.
        """
        if self.pid:
            self.kill_leader()
            return
        for pid in self.workers:
            try:
                # A child of ours keeps its pid until we reap it.
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                continue
            os.kill(pid, signal.SIGKILL)


def _has_ended(pid: int, seconds: float) -> bool:
    """Whether a child ends within this time; it is not reaped."""
    deadline = time.monotonic() + seconds
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.002)
    return True
