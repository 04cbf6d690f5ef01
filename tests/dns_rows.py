"""What a name server may do to a question, and what comes of it: for the resolver's tests and the daemon's."""

from __future__ import annotations

from dataclasses import dataclass

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from asking import KEY
from phoenixdkim.dkim.keys import KeyOutcome
from phoenixdkim.events import DnsResult
from phoenixdkim.testing.dns_server import Behaviour, Fault, Tcp, txt

FOUND, ABSENT, UNAVAILABLE = KeyOutcome.FOUND, KeyOutcome.ABSENT, KeyOutcome.UNAVAILABLE
SUCCESS, TIMEOUT, ERROR = DnsResult.SUCCESS, DnsResult.TIMEOUT, DnsResult.ERROR


@dataclass(frozen=True)
class Row:
    """What a server does, and what comes of it; how often it is asked, over UDP and TCP."""

    behaviour: Behaviour
    outcome: KeyOutcome
    result: DnsResult
    udp: int = 1
    tcp: int = 0


def rows(key: bytes = KEY) -> dict[str, Row]:
    """The rows, with a key record that is found where one is."""
    good = txt(key)

    def rcode(code: int, udp: int = 2) -> Row:
        return Row(Behaviour(rcode=code), UNAVAILABLE, ERROR, udp)

    def fault(kind: Fault, result: DnsResult = TIMEOUT, udp: int = 2) -> Row:
        return Row(Behaviour((good,), fault=kind), UNAVAILABLE, result, udp)

    def tcp(how: Tcp, result: DnsResult = ERROR) -> Row:
        return Row(Behaviour((good,), truncate=True, tcp=how), UNAVAILABLE, result, 2, 2)

    def truncated(query: dns.message.Message) -> bytes:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.TC
        return answer.to_wire()

    def other_class(query: dns.message.Message) -> bytes:
        answer = dns.message.make_response(query)
        answer.answer.append(dns.rrset.from_text(query.question[0].name, 300, "CH", "TXT", f'"{KEY.decode()}"'))
        return answer.to_wire()

    return {
        "found": Row(Behaviour((good,)), FOUND, SUCCESS),
        "found in several strings": Row(Behaviour(((key[:20], b"", key[20:250], key[250:]),)), FOUND, SUCCESS),
        "found over TCP": Row(Behaviour((good,), truncate=True), FOUND, SUCCESS, 1, 1),
        "found when it did not fail again": Row(Behaviour((good,), failures=1), FOUND, SUCCESS, 2),
        "found beside other records": Row(Behaviour((txt(b"v=spf1 -all"), good, txt(b""))), FOUND, SUCCESS),
        "NXDOMAIN": Row(Behaviour(rcode=dns.rcode.NXDOMAIN), ABSENT, SUCCESS),
        "NXDOMAIN without SOA": Row(Behaviour(rcode=dns.rcode.NXDOMAIN, soa_minimum=None), ABSENT, SUCCESS),
        "no data": Row(Behaviour(), ABSENT, SUCCESS),
        "no data without SOA": Row(Behaviour(soa_minimum=None), ABSENT, SUCCESS),
        "another type": Row(Behaviour(fault=Fault.WRONG_TYPE), ABSENT, SUCCESS),
        "another class": Row(Behaviour(wire=other_class), ABSENT, SUCCESS),
        "SERVFAIL": rcode(dns.rcode.SERVFAIL),
        "REFUSED": rcode(dns.rcode.REFUSED),
        # Each is asked again without EDNS, which such a server may not know.
        "FORMERR": rcode(dns.rcode.FORMERR, 4),
        "NOTIMP": rcode(dns.rcode.NOTIMP, 4),
        "NOTAUTH": rcode(dns.rcode.NOTAUTH),
        "no answer": fault(Fault.DROP),
        "wrong id": fault(Fault.WRONG_ID),
        "wrong question": fault(Fault.WRONG_QUESTION),
        "no question": fault(Fault.NO_QUESTION),
        "not a response": fault(Fault.NOT_A_RESPONSE),
        "wrong source": fault(Fault.WRONG_SOURCE),
        "too short": fault(Fault.SHORT),
        "compression loop": fault(Fault.COMPRESSION_LOOP, ERROR),
        "garbage after the question": fault(Fault.GARBAGE, ERROR),
        "referral": fault(Fault.REFERRAL, ERROR),
        "TCP closed": tcp(Tcp.CLOSE),
        "TCP silent": tcp(Tcp.SILENT, TIMEOUT),
        "TCP cut": tcp(Tcp.CUT),
        "TCP hangs in mid-answer": tcp(Tcp.HANG, TIMEOUT),
        "TCP announces too much and waits": tcp(Tcp.LONG_LENGTH, TIMEOUT),
        "TCP announces too much and closes": tcp(Tcp.LONG_LENGTH_CLOSED),
        "TCP announces too little": tcp(Tcp.SHORT_LENGTH),
        "TCP announces nothing": tcp(Tcp.NO_LENGTH),
        "truncated over TCP too": Row(Behaviour(wire=truncated), UNAVAILABLE, ERROR, 2, 2),
        "wrong id and truncated": Row(Behaviour((good,), truncate=True, fault=Fault.WRONG_ID), UNAVAILABLE, TIMEOUT, 2),
    }
