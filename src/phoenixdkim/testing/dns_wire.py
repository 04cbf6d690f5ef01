"""The octets that the scripted DNS server answers with."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Final

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.TXT import TXT

from phoenixdkim.testing.dns_behaviour import Behaviour, Fault

MAX_CHAIN: Final = 40
"""The most aliases that are followed in one answer."""


def plain_name(name: dns.name.Name) -> str:
    """As the server's behaviours are named: lower case, no final dot, empty for the root."""
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


def answer_wire(
    query: dns.message.Message, behaviour: Behaviour, find: Callable[[str], Behaviour], *, truncate: bool
) -> bytes:
    """The answer to a question.

    Args:
        behaviour: how its name is answered.
        find: behaviour of another name, for aliases.
        truncate: leave the records out and set TC.
    """
    if behaviour.wire is not None:
        return behaviour.wire(query)
    if behaviour.fault is Fault.SHORT:
        return struct.pack("!H", query.id) + b"\x80"
    response = dns.message.make_response(query, recursion_available=behaviour.fault is not Fault.REFERRAL)
    response.set_rcode(dns.rcode.Rcode(behaviour.rcode))
    if behaviour.extended_error is not None and query.edns >= 0:
        code = dns.edns.EDECode(behaviour.extended_error)
        response.use_edns(0, options=[dns.edns.EDEOption(code)])
    if behaviour.authentic:
        response.flags |= dns.flags.AD
    if truncate:
        response.flags |= dns.flags.TC
    elif behaviour.rcode in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        _fill(response, query.question[0], behaviour, find)
    match behaviour.fault:
        case Fault.WRONG_ID:
            response.id = (query.id + 1) & 0xFFFF
        case Fault.WRONG_QUESTION:
            other = dns.name.from_text("other.example.")
            response.question = [dns.rrset.RRset(other, dns.rdataclass.IN, dns.rdatatype.TXT)]
        case Fault.NO_QUESTION:
            response.question = []
        case Fault.NOT_A_RESPONSE:
            response.flags &= ~dns.flags.QR
        case Fault.COMPRESSION_LOOP:
            # An answer whose owner name points at itself.
            start = 12 + len(_question(query))
            return _head(query, response) + struct.pack("!HHHIH", 0xC000 | start, 16, 1, 300, 2) + b"\x01a"
        case Fault.GARBAGE:
            return _head(query, response) + random.Random(1).randbytes(200)
        case _:
            pass
    return response.to_wire(max_size=65535)


def _question(query: dns.message.Message) -> bytes:
    asked = query.question[0]
    return (asked.name.to_wire() or b"") + struct.pack("!HH", asked.rdtype, asked.rdclass)


def _head(query: dns.message.Message, response: dns.message.Message) -> bytes:
    """Header and question of an answer that claims one record."""
    return response.to_wire(max_size=65535)[:4] + struct.pack("!HHHH", 1, 1, 0, 0) + _question(query)


def _fill(
    response: dns.message.Message, asked: dns.rrset.RRset, behaviour: Behaviour, find: Callable[[str], Behaviour]
) -> None:
    owner = asked.name
    for _ in range(MAX_CHAIN):
        if behaviour.cname is None:
            break
        target = dns.name.from_text(behaviour.cname)
        response.answer.append(dns.rrset.from_text(owner, behaviour.ttl, "IN", "CNAME", target.to_text()))
        if not behaviour.whole_chain:
            return
        owner = target
        behaviour = find(plain_name(owner))
        response.set_rcode(dns.rcode.Rcode(behaviour.rcode))
    if behaviour.fault is Fault.REFERRAL:
        response.authority.append(dns.rrset.from_text(owner.parent(), 300, "IN", "NS", "ns.example."))
    elif behaviour.fault is Fault.WRONG_TYPE:
        response.answer.append(dns.rrset.from_text(owner, behaviour.ttl, "IN", "A", "192.0.2.1"))
    elif behaviour.records and asked.rdtype == dns.rdatatype.TXT:
        rdatas = [TXT(dns.rdataclass.IN, dns.rdatatype.TXT, strings) for strings in behaviour.records]
        response.answer.append(dns.rrset.from_rdata_list(owner, behaviour.ttl, rdatas))
    elif behaviour.soa_minimum is not None and behaviour.cname is None:
        soa = f"ns.example. hostmaster.example. 1 3600 600 86400 {behaviour.soa_minimum}"
        response.authority.append(dns.rrset.from_text("example.", 86400, "IN", "SOA", soa))
