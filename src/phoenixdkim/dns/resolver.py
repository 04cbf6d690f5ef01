"""The resolver: many threads ask for keys; each name is asked for once, within the deadline of each message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Final

from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dns.answers import dns_name
from phoenixdkim.dns.cache import KeyCache
from phoenixdkim.dns.options import ResolverOptions
from phoenixdkim.dns.question import NetworkSource, Source, ZoneSource
from phoenixdkim.events import CacheResult, DnsCacheLookup, DnsQuery, DnsResponse, DnsResult, Event

_EVER: Final = float("-inf")

Record = Callable[[Event, float | None], None]
"""Takes an event, and the seconds of its measure if it has one."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What came of one name: the answer, and the question it took, if any."""

    answer: KeyAnswer
    result: DnsResult | None = None
    seconds: float = 0.0


class _Flight:
    """A name that some thread is asking for. ``answer`` is None when that thread ran out of its own time."""

    __slots__ = ("answer", "landed")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.answer: KeyAnswer | None = None


def _nothing() -> None:
    return


def _unavailable(reason: Reason) -> KeyAnswer:
    return KeyAnswer(KeyOutcome.UNAVAILABLE, (), DnssecStatus.UNAVAILABLE, reason)


class Resolver:
    """Looks up DKIM key records. Safe to use from many threads; threads and sockets come with the first look-up.

    Args:
        options: where to ask, and how long.
        limits: what a key may be.
        clock: time in seconds, that never goes back.
        wait_for_probe: hold back an answer without AD until the DNSSEC probe has ended, for ``query_timeout`` at most;
            for a command, not for the milter.

    Raises:
        ValueError: a name server's address is wrong.
        ZoneError: the zone file can't be read.
    """

    def __init__(
        self,
        options: ResolverOptions,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        *,
        wait_for_probe: bool = False,
    ) -> None:
        self.about_to_wait: Callable[[], None] = _nothing
        """Called in the caller's thread before it waits for an answer."""
        self._options = options
        self._clock = clock
        self._cache = KeyCache(options.cache_size, clock)
        self._source: Source = (
            NetworkSource(options, limits, clock, wait_for_probe=wait_for_probe)
            if options.zone is None
            else ZoneSource(options, limits)
        )
        self._flights: dict[bytes, _Flight] = {}
        self._lock = threading.Lock()
        self._questions = threading.BoundedSemaphore(options.max_concurrent)
        self._pool: ThreadPoolExecutor | None = None

    def cached(self, name: bytes) -> KeyAnswer | None:
        """The answer that is kept for a name, or None. Does not wait and counts nothing."""
        return self._cache.get(name.lower())

    def look_up(self, names: Sequence[bytes], record: Record, deadline: float | None = None) -> dict[bytes, KeyAnswer]:
        """Answers for all names, in at most ``message_timeout`` seconds or by ``deadline`` if that is sooner.

        Distinct names are asked for at one time; a name that another thread asks for is waited for. Names are told
        apart without case; the keys of the result are the names as given.

        Args:
            names: ``selector._domainkey.domain``, in ASCII.
            record: told, in the caller's thread, of one ``DnsCacheLookup`` a name, and of one ``DnsQuery`` and one
                ``DnsResponse`` with its seconds for each question that was put to the network and has ended.
            deadline: on the resolver's clock.
        """
        until = self._until(deadline)
        answers: dict[bytes, KeyAnswer] = {}
        missing: list[bytes] = []
        for folded in dict.fromkeys(name.lower() for name in names):
            answer = self._cache.get(folded)
            record(DnsCacheLookup(_cache_result(answer)), None)
            if answer is None:
                missing.append(folded)
            else:
                answers[folded] = answer
        answers |= self._ask_all(missing, until, _EVER, record)
        return {name: answers[name.lower()] for name in names}

    def recheck(self, names: Sequence[bytes], record: Record, deadline: float | None = None) -> dict[bytes, KeyAnswer]:
        """Ask anew for kept keys that did not verify a signature: they may have been replaced.

        A name is asked for only when its key has been kept for ``recheck_after`` seconds, so that whoever sends wrong
        signatures can't make us ask for each. Answers and deadline are as for ``look_up``; no ``DnsCacheLookup`` is
        told.

        Returns:
            What came of the names that were asked for. One that can't be had now is not among them: what is kept holds.
        """
        if self._options.recheck_after <= 0:
            return {}
        since = self._clock() - self._options.recheck_after
        due = [name for name in dict.fromkeys(name.lower() for name in names) if self._cache.older(name, since)]
        if not due:
            return {}
        answers = self._ask_all(due, self._until(deadline), since, record)
        return {
            name: answer
            for name in names
            if (answer := answers.get(name.lower())) is not None and answer.outcome is not KeyOutcome.UNAVAILABLE
        }

    def deadline(self) -> float:
        """When all look-ups of a message must have ended whose first begins now; on the resolver's clock."""
        return self._clock() + self._options.message_timeout

    def _until(self, deadline: float | None) -> float:
        latest = self.deadline()
        return latest if deadline is None else min(latest, deadline)

    def _ask_all(self, names: Sequence[bytes], until: float, since: float, record: Record) -> dict[bytes, KeyAnswer]:
        """Ask for distinct names at one time; the first in this thread."""
        answers: dict[bytes, KeyAnswer] = {}
        futures = [(name, self._submit(name, until, since)) for name in names[1:]]
        if names:
            self.about_to_wait()
            answers[names[0]] = self._told(self._resolve(names[0], until, since), record)
        for name, future in futures:
            answers[name] = self._told(self._collect(future, until), record)
        return answers

    def close(self) -> None:
        """End the threads that wait for work. Look-ups under way keep their deadlines."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, name: bytes, until: float, since: float) -> Future[_Asked]:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._options.max_concurrent, thread_name_prefix="dns")
            return self._pool.submit(self._resolve, name, until, since)

    def _collect(self, future: Future[_Asked], until: float) -> _Asked:
        try:
            return future.result(max(until - self._clock(), 0))
        except FutureTimeoutError:
            if future.cancel():
                # It never got a thread.
                return _Asked(_unavailable(Reason.LOOKUP_LIMIT))
            # All its waits end at the same deadline, so this one is short, and its question is counted.
            return future.result()
        except CancelledError:
            return _Asked(_unavailable(Reason.DNS_UNAVAILABLE))

    def _told(self, asked: _Asked, record: Record) -> KeyAnswer:
        if asked.result is not None:
            record(DnsQuery(), None)
            record(DnsResponse(asked.result), asked.seconds)
        return asked.answer

    def _resolve(self, name: bytes, until: float, since: float) -> _Asked:
        while True:
            with self._lock:
                # Looked at under the lock: a flight that landed has left its answer before it left the table.
                answer = self._cache.get(name, since)
                if answer is not None:
                    return _Asked(answer)
                flight = self._flights.get(name)
                leads = flight is None
                if flight is None:
                    flight = self._flights[name] = _Flight()
            if leads:
                return self._lead(name, flight, until)
            if not flight.landed.wait(max(until - self._clock(), 0)):
                return _Asked(_unavailable(Reason.MESSAGE_TIMEOUT))
            if flight.answer is not None:
                return _Asked(flight.answer)
            if self._clock() >= until:
                return _Asked(_unavailable(Reason.MESSAGE_TIMEOUT))

    def _lead(self, name: bytes, flight: _Flight, until: float) -> _Asked:
        try:
            asked_name = dns_name(name)
            if asked_name is None:
                flight.answer = KeyAnswer(KeyOutcome.ABSENT, (), DnssecStatus.UNKNOWN, Reason.NO_KEY)
                return _Asked(flight.answer)
            if not self._questions.acquire(timeout=max(until - self._clock(), 0)):
                return _Asked(_unavailable(Reason.LOOKUP_LIMIT))
            try:
                started = self._clock()
                if started >= until:
                    # The turn came too late: nothing is put to the network, nothing is counted.
                    return _Asked(_unavailable(Reason.LOOKUP_LIMIT))
                found = self._source.ask(asked_name, until)
                seconds = self._clock() - started
            finally:
                self._questions.release()
            failed = found.answer.outcome is KeyOutcome.UNAVAILABLE
            # A kept key that was asked for anew in vain still holds.
            if not (failed and self._cache.stays(name, started)) and not found.cut_short:
                self._cache.put(name, found.answer, found.ttl, started)
            if not found.cut_short:
                flight.answer = found.answer
            return _Asked(found.answer, found.result, seconds)
        finally:
            with self._lock:
                del self._flights[name]
            flight.landed.set()


def _cache_result(answer: KeyAnswer | None) -> CacheResult:
    if answer is None:
        return CacheResult.MISS
    return CacheResult.HIT if answer.outcome is KeyOutcome.FOUND else CacheResult.NEGATIVE_HIT
