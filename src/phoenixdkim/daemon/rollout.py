"""Bringing a configuration into force, step by step: at start, at reload, and when a leader died.

Only one rollout is under way at a time, and no step waits: the supervisor comes by several times a second. The file
is read at start and at reload only. A leader that is replaced gets the text in force again, which the supervisor
keeps; it holds no key.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from phoenixdkim.config.load import read_octets
from phoenixdkim.config.source import PATIENCE, Completeness, QuietPeriod, SourceError, read_source
from phoenixdkim.config.summary import ACCEPT, Summary, changes, objections
from phoenixdkim.daemon.children import Children
from phoenixdkim.daemon.control_messages import ReloadResult, Verdict
from phoenixdkim.daemon.generations import Generation
from phoenixdkim.daemon.hosts import Host
from phoenixdkim.daemon.in_force import InForce, exporter_rules, with_fixed
from phoenixdkim.daemon.listening import ListeningSocket
from phoenixdkim.daemon.messages import Loaded, lines_for_message
from phoenixdkim.daemon.notify import Notifier
from phoenixdkim.exporters.users import may_stay
from phoenixdkim.keystore.identities import unchanged
from phoenixdkim.ledger import Ledger
from phoenixdkim.log import Log

_CHANGING: Final = "{}: is still being written to; reload when it is complete"
_LOAD_TIMEOUT: Final = 120.0
_START_TIMEOUT: Final = 40.0
_STRIPES_TIMEOUT: Final = 10.0
_PARK_TIMEOUT: Final = 5.0
_MAX_PAUSE: Final = 60.0
_REST: Final = 0.2
"""Seconds after a reload without change in which further requests are joined: each looks at all key files."""


Reply = Callable[[ReloadResult], None]


class _Step(enum.Enum):
    FILE = "file"
    STRIPES = "stripes"
    LOAD = "load"
    EXPORTERS = "exporters"
    WORKERS = "workers"
    PARK = "park"


@dataclass(slots=True)
class _Attempt:
    """A rollout under way.

    Attributes:
        is_reload: it was asked for; otherwise a leader is replaced.
        step: what is waited for.
        deadline: of the step, in monotonic seconds.
        data: the configuration's octets.
        accept_shrink: objections are not raised.
        replies: told the result.
        period: shows whether the file is complete.
        generation: the new one.
        old: those that served before.
        summary: of the new configuration.
        change: what it changes, in words.
    """

    is_reload: bool
    step: _Step
    deadline: float
    data: bytes = b""
    accept_shrink: bool = False
    replies: list[Reply] = field(default_factory=list)
    period: QuietPeriod | None = None
    generation: Generation | None = None
    old: list[Generation] = field(default_factory=list)
    summary: Summary | None = None
    change: str = ""


class Rollout:
    """Carries out reloads and replaces leaders."""

    def __init__(
        self,
        path: str,
        in_force: InForce,
        children: Children,
        listening: ListeningSocket,
        ledger: Ledger,
        notifier: Notifier,
        log: Log,
    ) -> None:
        """Begin with a configuration that serves.

        Args:
            path: the configuration file.
            in_force: the configuration that the start brought into force.
            children: the supervisor's processes.
            listening: the shared listening socket.
            ledger: told of success and failure.
            notifier: told of reloads.
            log: told of all of it.
        """
        self.in_force = in_force
        self._path = path
        self._children = children
        self._listening = listening
        self._ledger = ledger
        self._notifier = notifier
        self._log = log
        self._attempt: _Attempt | None = None
        self._wanted = False
        self._accept_shrink = False
        self._replies: list[Reply] = []
        self._leaderless = False
        self._pause = 0.5
        self._retry_at = 0.0
        self._next_at = 0.0

    # Requests.

    def request_reload(self, accept_shrink: bool = False, reply: Reply | None = None) -> None:
        """Reload when the rollout under way is done; several requests are one reload.

        Args:
            accept_shrink: the new file may remove rules and keys.
            reply: told the result.
        """
        self._wanted = True
        self._accept_shrink = self._accept_shrink or accept_shrink
        if reply is not None:
            self._replies.append(reply)

    @property
    def busy(self) -> bool:
        """Whether something is under way that wants a look soon."""
        return self._attempt is not None or self._wanted

    def advance(self) -> None:
        """Do what can be done now, without waiting."""
        now = time.monotonic()
        if self._attempt is None:
            self._attempt = self._next(now)
        while self._attempt is not None:
            attempt, step = self._attempt, self._attempt.step
            _STEPS[step](self, attempt, now)
            if self._attempt is attempt and attempt.step is step:
                return

    def abandon(self) -> None:
        """Give up what is under way after an internal error; what serves goes on."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        if attempt.step is _Step.PARK:
            # The new configuration is in force already.
            self._finish(attempt, Verdict.RELOADED, [attempt.change])
        else:
            self._refuse(attempt, ["internal error, see the log"])

    def _next(self, now: float) -> _Attempt | None:
        if self._wanted and now >= self._next_at:
            attempt = _Attempt(True, _Step.FILE, now + 2 * PATIENCE, b"", self._accept_shrink, self._replies)
            attempt.period = QuietPeriod(self._path, now)
            self._wanted, self._accept_shrink, self._replies = False, False, []
            self._notifier.reloading()
            self._log.notice("reloading")
            return attempt
        if self._children.live() is None and now >= self._retry_at:
            if not self._leaderless:
                self._leaderless = True
                self._log.error("the leader of the workers ended unasked; starting another with the same configuration")
            return _Attempt(False, _Step.STRIPES, now + _STRIPES_TIMEOUT, self.in_force.data)
        return None

    # Steps. Each looks once, and sets the next step when its own is done.

    def _read(self, attempt: _Attempt, now: float) -> None:
        assert attempt.period is not None
        found = attempt.period.look(now, time.time())
        if found is Completeness.CHANGING:
            return
        if found is Completeness.GIVEN_UP:
            self._refuse(attempt, [_CHANGING.format(self._path)])
            return
        try:
            source = read_source(self._path)
        except SourceError as error:
            self._refuse(attempt, [f"{self._path}: {error}"])
            return
        if source.stamp != attempt.period.stamp:
            # It was written to after it was looked at.
            if now > attempt.deadline:
                self._refuse(attempt, [_CHANGING.format(self._path)])
            return
        attempt.data = source.data
        if self._is_in_force(attempt.data):
            self._next_at = now + _REST
            self._log.notice("reloaded: unchanged; the configuration and its key files are those in force")
            self._ledger.set_reload(True, int(time.time()))
            self._notifier.ready(f"serving with {self.in_force.workers} workers")
            self._finish(attempt, Verdict.UNCHANGED, [])
            return
        attempt.step, attempt.deadline = _Step.STRIPES, now + _STRIPES_TIMEOUT

    def _is_in_force(self, data: bytes) -> bool:
        """Whether a generation of this configuration serves, and no file that it read has changed."""
        in_force = self.in_force
        return data == in_force.data and self._children.live() is not None and unchanged(in_force.identities)

    def _spawn(self, attempt: _Attempt, now: float) -> None:
        generation = self._children.spawn_generation(self._path, attempt.data, self._listening.socket, self._log)
        if generation is not None:
            attempt.generation = generation
            attempt.step, attempt.deadline = _Step.LOAD, now + _LOAD_TIMEOUT
        elif now > attempt.deadline:
            self._refuse(attempt, ["older generations of workers do not end; try again later"])

    def _compare(self, attempt: _Attempt, now: float) -> None:
        generation = self._undecided(attempt, now, "loading the configuration and its keys")
        if generation is None or generation.loaded is None:
            return
        attempt.summary = generation.loaded.summary
        if attempt.is_reload:
            found = [] if attempt.accept_shrink else objections(self.in_force.summary, attempt.summary)
            if found:
                self._refuse(attempt, [*(f"{self._path}: {line}" for line in found), ACCEPT])
                return
            tables = generation.loaded.exporters
            stay = self._staying(generation.loaded)
            new = {name: table for name, table in tables.items() if name not in stay}
            self._children.spawn_candidates(new, exporter_rules(generation.loaded.settings), self._log)
        attempt.step = _Step.EXPORTERS

    def _staying(self, loaded: Loaded) -> dict[str, Host]:
        """Exporters whose tables are the same, and whose users still are what the configuration allows."""
        rules = exporter_rules(loaded.settings)
        return {
            name: host
            for name, host in self._children.hosts.items()
            if host.table == loaded.exporters.get(name) and may_stay(host.run_as, rules)
        }

    def _check_exporters(self, attempt: _Attempt, now: float) -> None:
        generation = attempt.generation
        assert generation is not None
        assert generation.loaded is not None
        if attempt.is_reload:
            if not self._children.candidates_decided():
                return
            faults = self._children.candidate_faults(self._staying(generation.loaded))
            if faults:
                loaded = read_octets(attempt.data, self._path)
                self._refuse(attempt, [str(loaded.locate_exporter_fault(fault)) for fault in faults])
                return
        generation.serve()
        attempt.step, attempt.deadline = _Step.WORKERS, now + _START_TIMEOUT

    def _adopt(self, attempt: _Attempt, now: float) -> None:
        generation = self._undecided(attempt, now, "starting its workers")
        if generation is None or not generation.ready:
            return
        assert generation.loaded is not None
        assert attempt.summary is not None
        old, before = self.in_force, self.in_force.summary
        settings, needs_restart = with_fixed(old.settings, generation.loaded.settings)
        if attempt.is_reload:
            for line in (*needs_restart, *generation.loaded.warnings):
                self._log.warning(line)
        self.in_force = InForce(
            attempt.data, attempt.summary, settings, generation.loaded.workers, generation.loading.identities
        )
        self._leaderless, self._pause = False, 0.5
        for one in self._children.generations:
            if one is not generation and not one.draining:
                attempt.old.append(one)
                one.park(old.settings.reload.soft, old.settings.reload.hard, idle_is_done=False)
        self._hurry_oldest(settings.max_generations)
        if not attempt.is_reload:
            self._log.notice("the workers have a leader again")
            self._attempt = None
            return
        attempt.change = changes(before, attempt.summary)
        # The zone file of [dns] is among the files.
        same = all(before.digests.get(name) == attempt.summary.digests.get(name) for name in ("keys", "dns"))
        if same and old.identities != self.in_force.identities:
            attempt.change += ", key files changed"
        attempt.step, attempt.deadline = _Step.PARK, now + _PARK_TIMEOUT
        self._ledger.set_reload(True, int(time.time()))
        self._children.adopt(list(generation.loaded.exporters))

    def _hurry_oldest(self, most: int) -> None:
        draining = [one for one in self._children.generations if one.draining]
        for oldest in draining[: max(0, len(draining) - most + 1)]:
            self._log.warning(f"generation {oldest.number} still had sessions when too many generations were alive")
            oldest.park(0.0, 1.0, idle_is_done=True)

    def _await_parked(self, attempt: _Attempt, now: float) -> None:
        """Who reads that we have reloaded may rely on it that new connections meet the new configuration."""
        if not all(one.parked or one.ended for one in attempt.old) and now < attempt.deadline:
            return
        self._log.notice(f"reloaded: {attempt.change}")
        self._notifier.ready(f"serving with {self.in_force.workers} workers")
        self._finish(attempt, Verdict.RELOADED, [attempt.change])

    # Ends.

    def _undecided(self, attempt: _Attempt, now: float, doing: str) -> Generation | None:
        """Return the new generation unless it failed, which ends the attempt."""
        generation = attempt.generation
        assert generation is not None
        if generation.failed or generation.leaderless:
            self._refuse(attempt, generation.failed or [f"{self._path}: the leader of the workers ended while {doing}"])
        elif now > attempt.deadline:
            self._refuse(attempt, [f"{self._path}: the leader of the workers hangs while {doing}"])
        else:
            return generation
        return None

    def _refuse(self, attempt: _Attempt, lines: Sequence[str]) -> None:
        for line in lines:
            self._log.error(line)
        if attempt.generation is not None:
            end(attempt.generation)
        if attempt.is_reload:
            self._children.dismiss_candidates()
            self._log.error("reload refused; the configuration in force stays")
            self._ledger.set_reload(False, 0)
            self._notifier.ready("serving; the last reload was refused")
            self._finish(attempt, Verdict.REFUSED, lines)
        else:
            self._pause = min(_MAX_PAUSE, 2 * self._pause)
            self._retry_at = time.monotonic() + self._pause
            self._log.error(f"the leader of the workers could not be replaced; trying again in {self._pause:.0f} s")
            self._attempt = None

    def _finish(self, attempt: _Attempt, verdict: Verdict, lines: Sequence[str]) -> None:
        self._attempt = None
        for reply in attempt.replies:
            reply(ReloadResult(verdict, lines_for_message(lines)))


_STEPS: Final[dict[_Step, Callable[[Rollout, _Attempt, float], None]]] = {
    _Step.FILE: Rollout._read,
    _Step.STRIPES: Rollout._spawn,
    _Step.LOAD: Rollout._compare,
    _Step.EXPORTERS: Rollout._check_exporters,
    _Step.WORKERS: Rollout._adopt,
    _Step.PARK: Rollout._await_parked,
}


def end(generation: Generation) -> None:
    """End a generation that does not come into force."""
    if not generation.ready:
        # It may hang where it does not listen to us.
        generation.kill()
    # If some of its workers were ready a client may have met one of them: its message is not deferred for that.
    generation.park(4.0, 5.0, idle_is_done=False)
