"""Reaping: what the end of a child leads to, whichever child it is and whatever is raised on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from phoenixdkim.daemon.fence import Fence
from phoenixdkim.daemon.generations import Generation
from phoenixdkim.daemon.hosts import Host
from phoenixdkim.ledger import Ledger
from phoenixdkim.orphans import kill_strays
from phoenixdkim.process_status import ended_how

_AT_ONCE: Final = 1000
"""Children that are reaped before other things get their turn; plugins may fork without end."""


class Reaper:
    """Reaps the supervisor's children."""

    def __init__(self, fence: Fence, ledger: Ledger, take: Callable[[Generation], None]) -> None:
        """Prepare.

        Args:
            fence: around what each child's end leads to.
            ledger: the ledger.
            take: takes a leader's next message.
        """
        self._fence = fence
        self._ledger = ledger
        self._take = take

    def reap(self, hosts: Sequence[Host], generations: list[Generation]) -> None:
        """Reap who has ended, and kill what they have left behind; generations that have ended leave the list."""
        for _ in range(_AT_ONCE):
            try:
                # Looked at first and reaped below: what an exporter leaves behind is ended while its number is taken.
                seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if seen is None:
                break
            self._reap_one(seen.si_pid, hosts, generations)
        for generation in [one for one in generations if one.ended]:
            generations.remove(generation)
            generation.lifeline.close()
            self._fence.run(f"generation {generation.number}", partial(self._release, generation))
        # What a plugin starts ends with its parent, whether that is the exporter's process or another one.
        self._fence.run("orphans", partial(kill_strays, {host.pid for host in hosts}))

    def _reap_one(self, pid: int, hosts: Sequence[Host], generations: Sequence[Generation]) -> None:
        host = next((host for host in hosts if host.pid == pid), None)
        if host is not None:
            self._fence.run(f"exporter '{host.name}'", host.sweep)
            # Its last words: a refusal is sent just before the end.
            self._fence.run(f"exporter '{host.name}'", host.take_messages)
        status = os.waitpid(pid, 0)[1]
        if host is not None:
            if not self._fence.run(f"exporter '{host.name}'", partial(host.ended, status)):
                host.pid = 0
            return
        for generation in generations:
            if generation.pid == pid:
                generation.pid = 0
                if not self._fence.run(
                    f"generation {generation.number}", partial(self._leader_ended, generation, pid, status)
                ):
                    generation.hang_up()

    def _leader_ended(self, generation: Generation, pid: int, status: int) -> None:
        while generation.led and generation.control.wait(0):
            # Its last words.
            self._take(generation)
        generation.leader_ended(pid, ended_how(status, killed=generation.killed))

    def _release(self, generation: Generation) -> None:
        generation.loading.close()
        for stripe in generation.stripes:
            # Totals stay; gauges of a worker that was killed go.
            self._ledger.release(stripe)
