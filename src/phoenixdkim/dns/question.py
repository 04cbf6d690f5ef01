"""One question, from the first server to the last retry: aliases, failover, time to live, DNSSEC."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, key_answer
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dns.answers import MAX_CHAIN, ChainError, Records, is_bogus, read_answer
from phoenixdkim.dns.exchange import AnswerTooLargeError, ExchangeError, ExchangeTimeoutError, ask
from phoenixdkim.dns.options import Nameserver, Nameservers, ResolverOptions
from phoenixdkim.dns.zone import Zone, ZoneError
from phoenixdkim.events import DnsResult

ROUNDS: Final = 2
"""How often each server is tried."""

PREFERENCE_TIME: Final = 30.0
"""Seconds for which the server that answered last is asked first."""

PROBE_TIME: Final = 3600.0
PROBE_RETRY_TIME: Final = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a question ended.

    Attributes:
        answer: for the verifier.
        result: for the counter.
        ttl: how long to keep it, in seconds.
        cut_short: the asker's own deadline came before any server had its full time: tells nothing of the name.
    """

    answer: KeyAnswer
    result: DnsResult
    ttl: float
    cut_short: bool = False


class Source(Protocol):
    """Where records come from."""

    def ask(self, name: dns.name.Name, until: float) -> Ended:
        """Put one question; never raises for what the network does."""


class _NoAnswerError(Exception):
    def __init__(
        self, result: DnsResult, *, bogus: bool = False, cut_short: bool = False, too_large: bool = False
    ) -> None:
        super().__init__(result.value)
        self.result = result
        self.too_large = too_large
        self.bogus = bogus
        self.cut_short = cut_short


class _Judge:
    """Turns records and failures into answers, with their time to live."""

    def __init__(self, options: ResolverOptions, limits: Limits) -> None:
        self._options = options
        self._limits = limits

    def records(self, texts: tuple[bytes, ...], ttl: float | None, dnssec: DnssecStatus) -> Ended:
        options = self._options
        if texts:
            answer = key_answer(texts, dnssec, self._limits)
            return Ended(answer, DnsResult.SUCCESS, min(options.max_ttl if ttl is None else ttl, options.max_ttl))
        answer = KeyAnswer(KeyOutcome.ABSENT, (), dnssec, Reason.NO_KEY)
        # RFC 2308 section 5: without SOA there is no time to keep it; as long as a failure spares the servers.
        kept = options.failure_ttl if ttl is None else min(ttl, options.max_negative_ttl)
        return Ended(answer, DnsResult.SUCCESS, kept)

    def failure(
        self, result: DnsResult, *, bogus: bool = False, cut_short: bool = False, too_large: bool = False
    ) -> Ended:
        status = DnssecStatus.BOGUS if bogus else DnssecStatus.UNAVAILABLE
        reason = Reason.DNS_TIMEOUT if result is DnsResult.TIMEOUT else Reason.DNS_UNAVAILABLE
        if cut_short:
            reason = Reason.MESSAGE_TIMEOUT
        elif too_large:
            reason = Reason.DNS_ANSWER_TOO_LARGE
        answer = KeyAnswer(KeyOutcome.UNAVAILABLE, (), status, reason)
        return Ended(answer, result, self._options.failure_ttl, cut_short)


class ZoneSource:
    """Records of a zone file. DNSSEC is not evaluated."""

    def __init__(self, options: ResolverOptions, limits: Limits) -> None:
        if options.zone is None:
            raise ValueError("no zone file is given")
        self._zone = Zone(options.zone)
        self._judge = _Judge(options, limits)

    def ask(self, name: dns.name.Name, until: float) -> Ended:
        """Look the name up in the file."""
        try:
            found = self._zone.look_up(name)
        except ZoneError:
            return self._judge.failure(DnsResult.ERROR)
        if found is None:
            return self._judge.failure(DnsResult.ERROR)
        return self._judge.records(found.records, found.ttl, DnssecStatus.UNKNOWN)


class NetworkSource:
    """Recursive name servers.

    AD is believed: the way to the name servers must be one that can be trusted, as over loopback (RFC 6840
    section 5.8).
    """

    def __init__(self, options: ResolverOptions, limits: Limits, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._judge = _Judge(options, limits)
        self._servers = Nameservers(options)
        self._preferred: tuple[Nameserver, float] | None = None
        self._probe_name: dns.name.Name | None = None
        if options.dnssec_probe:
            try:
                self._probe_name = dns.name.from_text(options.dnssec_probe)
            except dns.exception.DNSException as error:
                raise ValueError(f"dnssec_probe {options.dnssec_probe!r} is no name: {error}") from error
        self._probing = threading.Lock()
        self._validates: bool | None = None
        self._probe_due = float("-inf")

    def ask(self, name: dns.name.Name, until: float) -> Ended:
        """Ask the servers, following aliases."""
        authentic = True
        ttl: float | None = None
        try:
            for _ in range(MAX_CHAIN):
                message = self._any_server(name, dns.rdatatype.TXT, until)
                records = read_answer(message, name)
                authentic = authentic and records.authentic
                ttl = _least(ttl, records)
                if records.alias is None:
                    status = DnssecStatus.SECURE if authentic else self._without_ad(until)
                    return self._judge.records(records.texts, ttl, status)
                name = records.alias
            return self._judge.failure(DnsResult.ERROR)
        except ChainError:
            return self._judge.failure(DnsResult.ERROR)
        except _NoAnswerError as error:
            return self._judge.failure(
                error.result, bogus=error.bogus, cut_short=error.cut_short, too_large=error.too_large
            )

    def _in_order(self) -> tuple[Nameserver, ...]:
        servers = self._servers.current()
        preferred = self._preferred
        if preferred is None or preferred[0] not in servers or preferred[1] <= self._clock():
            return servers
        return (preferred[0], *(server for server in servers if server != preferred[0]))

    def _any_server(self, name: dns.name.Name, kind: dns.rdatatype.RdataType, until: float) -> dns.message.Message:
        """The first good answer.

        Raises:
            _NoAnswerError: there was none.
        """
        servers = self._in_order()
        timed_out = refused = bogus = too_large = False
        cut_short = True
        for _ in range(ROUNDS):
            for server in servers:
                now = self._clock()
                limit = min(now + self._options.query_timeout, until)
                if limit <= now:
                    break
                try:
                    message = self._one_server(server, name, kind, limit)
                except ExchangeTimeoutError:
                    timed_out = True
                    cut_short = cut_short and limit < now + self._options.query_timeout
                    continue
                except AnswerTooLargeError:
                    too_large = refused = True
                    cut_short = False
                    continue
                except ExchangeError:
                    refused, cut_short = True, False
                    continue
                if message.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
                    if server != self._servers.current()[0]:
                        self._preferred = (server, self._clock() + PREFERENCE_TIME)
                    return message
                refused, cut_short = True, False
                bogus = bogus or is_bogus(message)
            if bogus:
                # A validator that says so will say so again.
                break
        result = DnsResult.ERROR if refused or not timed_out else DnsResult.TIMEOUT
        if cut_short:
            result = DnsResult.TIMEOUT
        raise _NoAnswerError(result, bogus=bogus, cut_short=cut_short, too_large=too_large)

    def _one_server(
        self, server: Nameserver, name: dns.name.Name, kind: dns.rdatatype.RdataType, until: float
    ) -> dns.message.Message:
        most = self._options.max_answer_octets
        message = ask(server, name, kind, until, self._clock, max_octets=most)
        if message.rcode() in {dns.rcode.FORMERR, dns.rcode.NOTIMP}:
            # RFC 6891 section 7: such a server may know no EDNS.
            message = ask(server, name, kind, until, self._clock, max_octets=most, edns=False)
        return message

    def _without_ad(self, until: float) -> DnssecStatus:
        """Status of an answer that nobody vouches for: insecure if the server would have vouched for a secure one."""
        if self._probe_name is None:
            return DnssecStatus.UNKNOWN
        if self._clock() >= self._probe_due and self._probing.acquire(blocking=False):
            try:
                self._probe(self._probe_name, until)
            finally:
                self._probing.release()
        return DnssecStatus.INSECURE if self._validates else DnssecStatus.UNKNOWN

    def _probe(self, name: dns.name.Name, until: float) -> None:
        try:
            message = self._any_server(name, dns.rdatatype.SOA, until)
        except _NoAnswerError:
            self._probe_due = self._clock() + PROBE_RETRY_TIME
            return
        self._validates = bool(message.flags & dns.flags.AD)
        self._probe_due = self._clock() + PROBE_TIME


def _least(ttl: float | None, records: Records) -> float | None:
    if records.ttl is None:
        return None if not records.texts else ttl
    return records.ttl if ttl is None else min(ttl, records.ttl)
