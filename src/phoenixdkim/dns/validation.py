"""Which name servers validate: only of one that does can the absence of AD be taken for an unsigned zone.

A server that has vouched for an answer (AD, RFC 4035 section 3.2.3) validates. Of one that has not done so for an hour
it is found out by a question for a name that is known to be signed. That question is put by a thread of its own, when
an answer came without AD: no message waits for it, and a daemon whose keys are all signed never puts it. A command
that looks at one message has no second one that would profit from the probe; it may wait (``wait_for_probe``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.flags
import dns.name
import dns.rcode
import dns.rdatatype

from phoenixdkim.dkim.results import DnssecStatus
from phoenixdkim.dns.exchange import AnswerTooLargeError, ExchangeError, ask
from phoenixdkim.dns.options import Nameserver, ResolverOptions

KNOWN_TIME: Final = 3600.0
"""Seconds until what is known of a server is asked anew."""

RETRY_TIME: Final = 60.0
"""Seconds until a probe that failed is tried again."""

MAX_SERVERS: Final = 16
"""Servers that are remembered; resolv.conf may name others from time to time."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a server does; ``validates`` is None when the probe failed."""

    validates: bool | None
    until: float


def probe_name(text: str) -> dns.name.Name | None:
    """The name to ask for; None for an empty text.

    Raises:
        ValueError: it can't be a name.
    """
    if not text:
        return None
    try:
        return dns.name.from_text(text)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise ValueError(f"{text!r} is no name in DNS: {error}; write one as in '.' or 'org.'") from error


class Validation:
    """What is known of the name servers. Safe to use from many threads.

    Raises:
        ValueError: the probe is no name.
    """

    def __init__(self, options: ResolverOptions, clock: Callable[[], float], *, wait_for_probe: bool = False) -> None:
        self._options = options
        self._clock = clock
        self._wait_for_probe = wait_for_probe
        self._name = probe_name(options.dnssec_probe)
        self._known: dict[Nameserver, _Known] = {}
        self._probing: dict[Nameserver, threading.Event] = {}
        self._lock = threading.Lock()

    def status(self, server: Nameserver, *, authentic: bool) -> tuple[DnssecStatus, bool]:
        """Status of an answer with or without AD, and whether it will be the same when the probe has ended."""
        if authentic:
            self._note(server, True, KNOWN_TIME)
            return DnssecStatus.SECURE, True
        if self._name is None:
            return DnssecStatus.UNKNOWN, True
        known = self._look(server, self._name)
        if known is None and self._wait_for_probe:
            known = self._probed(server)
        if known is None:
            return DnssecStatus.UNKNOWN, False
        return DnssecStatus.INSECURE if known.validates else DnssecStatus.UNKNOWN, True

    def validates(self, server: Nameserver) -> bool:
        """Whether the server is known to validate."""
        known = self._known.get(server) if self._name is None else self._look(server, self._name)
        return known is not None and bool(known.validates)

    def _note(self, server: Nameserver, validates: bool | None, seconds: float) -> None:
        known = _Known(validates, self._clock() + seconds)
        with self._lock:
            self._known.pop(server, None)
            while len(self._known) >= MAX_SERVERS:
                del self._known[next(iter(self._known))]
            self._known[server] = known

    def _look(self, server: Nameserver, name: dns.name.Name) -> _Known | None:
        """What is known; starts a probe when that is nothing, or old."""
        with self._lock:
            known = self._known.get(server)
            if (known is not None and self._clock() < known.until) or server in self._probing:
                return known
            self._probing[server] = threading.Event()
        try:
            threading.Thread(target=self._probe, args=(server, name), name="dns-probe", daemon=True).start()
        except RuntimeError:
            # No more threads: another answer will bring the probe.
            self._end_probe(server)
        return known

    def _probed(self, server: Nameserver) -> _Known | None:
        """What is known once the probe under way has ended, or has had the time of one question."""
        with self._lock:
            ended = self._probing.get(server)
        if ended is not None:
            ended.wait(self._options.query_timeout)
        with self._lock:
            return self._known.get(server)

    def _end_probe(self, server: Nameserver) -> None:
        with self._lock:
            self._probing.pop(server).set()

    def _probe(self, server: Nameserver, name: dns.name.Name) -> None:
        validates: bool | None = None
        try:
            until = self._clock() + self._options.query_timeout
            answer = ask(server, name, dns.rdatatype.SOA, until, self._clock)
            if answer.rcode() == dns.rcode.NOERROR:
                validates = bool(answer.flags & dns.flags.AD)
        except (ExchangeError, AnswerTooLargeError):
            # Nothing was learnt; the next try comes later.
            pass
        finally:
            self._note(server, validates, RETRY_TIME if validates is None else KNOWN_TIME)
            self._end_probe(server)
