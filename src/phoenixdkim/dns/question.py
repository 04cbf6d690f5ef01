"""One question, from the first server to the last retry: aliases, failover, time to live, DNSSEC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, key_answer
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dns.answers import MAX_CHAIN, ChainError, Records, is_bogus, is_referral, read_answer
from phoenixdkim.dns.exchange import AnswerTooLargeError, ExchangeError, ExchangeTimeoutError, ask
from phoenixdkim.dns.options import Nameserver, Nameservers, ResolverOptions
from phoenixdkim.dns.validation import Validation
from phoenixdkim.dns.zone import Zone, ZoneError
from phoenixdkim.events import DnsResult

_ANSWERED: Final = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})

ROUNDS: Final = 2
"""How often each server is tried; a later round waits twice as long as the one before."""

PREFERENCE_TIME: Final = 30.0
"""Seconds for which the server that answered last is asked first."""

BLAME_TIME: Final = 0.5
"""Seconds that a message may wait to learn whether DNSSEC is to blame for a failure: it only changes a counter."""


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
    """No server had a usable answer. ``failed`` is one that said SERVFAIL, if any did, and did not say why."""

    def __init__(self, result: DnsResult, *, bogus: bool, cut_short: bool, failed: Nameserver | None) -> None:
        super().__init__(result.value)
        self.result = result
        self.bogus = bogus
        self.cut_short = cut_short
        self.failed = failed


class _Judge:
    """Turns records and failures into answers, with their time to live."""

    def __init__(self, options: ResolverOptions, limits: Limits) -> None:
        self._options = options
        self._limits = limits

    def records(
        self, texts: tuple[bytes, ...], ttl: float | None, dnssec: DnssecStatus, *, settled: bool = True
    ) -> Ended:
        options = self._options
        if texts:
            answer = key_answer(texts, dnssec, self._limits)
            kept = options.max_ttl if ttl is None else min(ttl, options.max_ttl)
            # The status will be known in a moment: the key is then asked for again, and kept with it.
            return Ended(answer, DnsResult.SUCCESS, kept if settled else min(kept, options.failure_ttl))
        answer = KeyAnswer(KeyOutcome.ABSENT, (), dnssec, Reason.NO_KEY)
        # RFC 2308 section 5: without SOA there is no time to keep it; as long as a failure spares the servers.
        kept = options.failure_ttl if ttl is None else min(ttl, options.max_negative_ttl)
        return Ended(answer, DnsResult.SUCCESS, kept)

    def too_large(self, dnssec: DnssecStatus) -> Ended:
        # The time to live was not read. Asked again at once, it would be as large.
        answer = KeyAnswer(KeyOutcome.FOUND, (Reason.DNS_ANSWER_TOO_LARGE,), dnssec)
        return Ended(answer, DnsResult.ERROR, self._options.max_negative_ttl)

    def failure(self, result: DnsResult, *, bogus: bool = False, cut_short: bool = False) -> Ended:
        status = DnssecStatus.BOGUS if bogus else DnssecStatus.UNAVAILABLE
        reason = Reason.DNS_TIMEOUT if result is DnsResult.TIMEOUT else Reason.DNS_UNAVAILABLE
        if bogus:
            reason = Reason.DNSSEC_BOGUS
        elif cut_short:
            reason = Reason.MESSAGE_TIMEOUT
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

    def __init__(
        self, options: ResolverOptions, limits: Limits, clock: Callable[[], float], *, wait_for_probe: bool = False
    ) -> None:
        self._options = options
        self._clock = clock
        self._judge = _Judge(options, limits)
        self._max_octets = options.max_answer_octets
        self._servers = Nameservers(options)
        self._preferred: tuple[Nameserver, float] | None = None
        self._validation = Validation(options, clock, wait_for_probe=wait_for_probe)

    def ask(self, name: dns.name.Name, until: float) -> Ended:
        """Ask the servers, following aliases."""
        authentic = True
        ttl: float | None = None
        met: set[dns.name.Name] = set()
        try:
            while name not in met and len(met) < MAX_CHAIN:
                met.add(name)
                try:
                    message, server = self._any_server(name, until)
                except AnswerTooLargeError as error:
                    return self._judge.too_large(
                        DnssecStatus.SECURE if authentic and error.authentic else DnssecStatus.UNKNOWN
                    )
                records = read_answer(message, name)
                authentic = authentic and records.authentic
                ttl = _least(ttl, records)
                if records.alias is None:
                    status, settled = self._validation.status(server, authentic=authentic)
                    return self._judge.records(records.texts, ttl, status, settled=settled)
                name = records.alias
            return self._judge.failure(DnsResult.ERROR)
        except ChainError:
            return self._judge.failure(DnsResult.ERROR)
        except _NoAnswerError as error:
            bogus = error.bogus or (error.failed is not None and self._is_to_blame(error.failed, name, until))
            return self._judge.failure(error.result, bogus=bogus, cut_short=error.cut_short)

    def _is_to_blame(self, server: Nameserver, name: dns.name.Name, until: float) -> bool:
        """Whether a server that validates has the records, and refuses them because of that alone.

        Few servers say so by themselves (RFC 8914). The answer is not used for anything else.
        """
        if not self._validation.validates(server):
            return False
        limit = min(self._clock() + BLAME_TIME, until)
        try:
            message = ask(
                server,
                name,
                dns.rdatatype.TXT,
                limit,
                self._clock,
                max_octets=self._max_octets,
                check=False,
            )
        except AnswerTooLargeError:
            return True
        except ExchangeError:
            return False
        return message.rcode() in _ANSWERED

    def _in_order(self) -> tuple[Nameserver, ...]:
        servers = self._servers.current()
        preferred = self._preferred
        if preferred is None or preferred[0] not in servers or preferred[1] <= self._clock():
            return servers
        return (preferred[0], *(server for server in servers if server != preferred[0]))

    def _any_server(self, name: dns.name.Name, until: float) -> tuple[dns.message.Message, Nameserver]:
        """The first good answer, and who gave it.

        Raises:
            _NoAnswerError: there was none.
            AnswerTooLargeError: it is over a limit.
        """
        servers = self._in_order()
        timed_out = refused = bogus = False
        cut_short = True
        failed: Nameserver | None = None
        for number in range(ROUNDS):
            full = self._options.query_timeout * 2**number
            for server in servers:
                now = self._clock()
                limit = min(now + full, until)
                if limit <= now:
                    break
                try:
                    message = self._one_server(server, name, limit)
                except ExchangeTimeoutError:
                    timed_out = True
                    cut_short = cut_short and limit < now + self._options.query_timeout
                    continue
                except ExchangeError:
                    refused, cut_short = True, False
                    continue
                if message.rcode() in _ANSWERED and not is_referral(message):
                    self._prefer(server)
                    return message, server
                refused, cut_short = True, False
                if is_bogus(message):
                    bogus = True
                elif message.rcode() == dns.rcode.SERVFAIL:
                    failed = server
            if bogus:
                # A validator that says so will say so again.
                break
        result = DnsResult.ERROR if refused or not timed_out else DnsResult.TIMEOUT
        raise _NoAnswerError(
            result if not cut_short else DnsResult.TIMEOUT, bogus=bogus, cut_short=cut_short, failed=failed
        )

    def _prefer(self, server: Nameserver) -> None:
        if server != self._servers.current()[0]:
            self._preferred = (server, self._clock() + PREFERENCE_TIME)
        elif self._preferred is not None:
            # It answers again; the other one may not.
            self._preferred = None

    def _one_server(self, server: Nameserver, name: dns.name.Name, until: float) -> dns.message.Message:
        kind = dns.rdatatype.TXT
        message = ask(server, name, kind, until, self._clock, max_octets=self._max_octets)
        if message.rcode() in {dns.rcode.FORMERR, dns.rcode.NOTIMP}:
            # RFC 6891 section 7: such a server may know no EDNS.
            message = ask(server, name, kind, until, self._clock, max_octets=self._max_octets, edns=False)
        return message


def _least(ttl: float | None, records: Records) -> float | None:
    if records.ttl is None:
        return None if not records.texts else ttl
    return records.ttl if ttl is None else min(ttl, records.ttl)
