"""Found, absent, unavailable: what each answer of a name server, and each failure to give one, is taken for.

Requirements D01 to D05, D17 and D18; faults N1 to N3.
"""

from __future__ import annotations

import base64
import os
import random
import struct
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from asking import KEY, LATE, NAME, TEXT, Events, one, record
from dns_rows import ERROR, FOUND, SUCCESS, TIMEOUT, UNAVAILABLE, rows
from phoenixdkim.dkim.keys import KeyAnswer
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.events import CacheResult, DnsCacheLookup, DnsQuery, DnsResponse
from phoenixdkim.testing.dns_server import Behaviour, ScriptedDnsServer, txt

GOOD = txt(KEY)
ROWS = rows()


def raw(answer: KeyAnswer) -> tuple[bytes, ...]:
    """The keys in an answer."""
    return tuple(key.key.public_bytes_raw() for key in answer.keys)


@pytest.mark.parametrize("case", ROWS)
def test_d04_d05_d17_d18_n1_n2_n3_outcome_of_each_answer(server, make, case):
    row = ROWS[case]
    server.set(TEXT, row.behaviour)
    before = len(os.listdir("/proc/self/fd"))
    started = time.monotonic()
    patient = {} if row.result is TIMEOUT else {"query_timeout": 30.0, "message_timeout": 60.0}
    answer, events = one(make(server.address, **patient))
    assert answer.outcome is row.outcome
    assert events.counts == {DnsCacheLookup(CacheResult.MISS): 1, DnsQuery(): 1, DnsResponse(row.result): 1}
    # Measured on the resolver's clock: two attempts, of 0.3 and 0.6 seconds, and 1.2 for the message; or 30, 60, 60.
    assert events.seconds[0] <= time.monotonic() - started
    assert events.seconds[0] < 1.2 + LATE
    if row.result is TIMEOUT:
        assert events.seconds[0] >= 0.9
        assert answer.reason is Reason.DNS_TIMEOUT
    elif row.outcome is UNAVAILABLE:
        assert answer.reason is Reason.DNS_UNAVAILABLE
    if row.outcome is UNAVAILABLE:
        assert answer.dnssec is DnssecStatus.UNAVAILABLE
    assert len(server.questions(transport="udp")) == row.udp
    # With short time-outs a busy machine may not come to TCP each time.
    tcp = len(server.questions(transport="tcp"))
    assert (1 if row.tcp and row.result is TIMEOUT else row.tcp) <= tcp <= row.tcp
    _wait_for_descriptors(before)


def _wait_for_descriptors(count: int) -> None:
    # The server's own ends are in the same process and go when it sees ours gone.
    deadline = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > count:
        assert time.monotonic() < deadline, "a socket is left open"
        time.sleep(0.01)


def test_d01_d02_the_question_and_its_strings(server, make):
    server.set(TEXT, Behaviour(records=((KEY[:20], KEY[20:]),)))
    answer, _ = one(make(server.address), b"S._DomainKey.Example.COM")
    assert len(answer.keys) == 1
    asked = server.questions()[0]
    assert (asked.name, asked.kind, asked.edns, asked.authentic_wanted) == (TEXT, "TXT", 1232, True)


def test_d02_strings_are_joined_wherever_they_are_split(server, make):
    for at in range(len(KEY) + 1):
        server.set(f"s{at}.example.com", Behaviour(((KEY[:at], KEY[at:]),)))
    names = [b"s%d.example.com" % at for at in range(len(KEY) + 1)]
    answers = make(server.address, query_timeout=30, message_timeout=60).look_up(names, Events())
    assert {raw(answer) for answer in answers.values()} == {(base64.b64decode(KEY.partition(b"p=")[2]),)}


def test_d03_several_records_whatever_their_order(server, make):
    other = record()
    records = [txt(KEY), txt(other), txt(b"v=spf1 -all"), txt(b""), txt(b"v=DKIM1; k=rsa; p=AAAA")]
    seen = set()
    for number in range(20):
        random.Random(number).shuffle(records)
        server.set(f"s{number}.example.com", Behaviour(tuple(records)))
        answer, _ = one(make(server.address), b"s%d.example.com" % number)
        assert answer.outcome is FOUND
        assert len(answer.keys) == 2
        seen.add(raw(answer))
    assert len(seen) == 1


def test_n1_icmp_refused(make):
    with ScriptedDnsServer() as gone:
        address = gone.address
    answer, events = one(make(address))
    assert (answer.outcome, answer.reason) == (UNAVAILABLE, Reason.DNS_UNAVAILABLE)
    assert events.counts[DnsResponse(ERROR)] == 1
    assert events.seconds[0] < 0.3 + LATE


def test_n2_tcp_refused(make):
    with ScriptedDnsServer(tcp=False) as server:
        server.set(TEXT, Behaviour((GOOD,), truncate=True))
        answer, events = one(make(server.address))
        assert (answer.outcome, answer.reason) == (UNAVAILABLE, Reason.DNS_UNAVAILABLE)
        assert events.counts[DnsResponse(ERROR)] == 1
        assert len(server.questions()) == 2


@pytest.mark.parametrize(("records", "most", "found"), [(9, 4096, False), (9, 16384, True), (30, 16384, False)])
def test_m3_an_answer_beyond_the_limit_is_not_parsed(server, make, records, most, found):
    """Asked again it would be as large: its verdict is final, and kept."""
    server.set(TEXT, Behaviour(records=tuple(txt(b"n=%03d" % n + b"x" * 900) for n in range(records))))
    resolver = make(server.address, max_answer_octets=most)
    answer, events = one(resolver)
    reason = Reason.MULTIPLE_KEY_RECORDS if found else Reason.DNS_ANSWER_TOO_LARGE
    assert (answer.outcome, answer.keys) == (FOUND, (reason,))
    assert events.counts[DnsResponse(SUCCESS if found else ERROR)] == 1
    assert one(resolver)[1].questions == 0


@pytest.mark.parametrize("truncate", [False, True], ids=["udp", "tcp"])
def test_m3_an_answer_of_many_records_is_not_parsed(server, make, truncate):
    """What is slow to parse has many records, each with a long compressed name."""
    server.set(TEXT, Behaviour(tuple((b"%d" % n,) for n in range(101)), truncate=truncate))
    answer, _ = one(make(server.address, max_answer_octets=65535))
    assert (answer.outcome, answer.keys) == (FOUND, (Reason.DNS_ANSWER_TOO_LARGE,))


def _hard_to_parse(query: dns.message.Message, size: int) -> bytes:
    """As many records as fit, each with a name of 120 labels."""
    asked = query.question[0]
    head = dns.message.make_response(query).to_wire()[:4]
    wire = bytearray(head + struct.pack("!HHHH", 1, 0, 0, 0) + (asked.name.to_wire() or b""))
    wire += struct.pack("!HH", asked.rdtype, asked.rdclass)
    count = 0
    while len(wire) + 16 <= size:
        wire += struct.pack("!HHHIH", 0xC00C, 16, 1, 300, 2) + b"\x01" + bytes([count % 256])
        count += 1
    wire[6:8] = struct.pack("!H", count)
    return bytes(wire)


def test_m3_the_worst_answer_costs_little_processor_time(server, make):
    """64 kB that are parsed take seconds of it; this one is not."""
    name = b".".join([b"a"] * 120)
    server.set(name.decode(), Behaviour(wire=lambda query: _hard_to_parse(query, 65000)))
    resolver = make(server.address)
    used = time.thread_time()
    answer, _ = one(resolver, name)
    assert answer.keys == (Reason.DNS_ANSWER_TOO_LARGE,)
    assert time.thread_time() - used < 0.1


@pytest.mark.parametrize(("ttl", "kept"), [(0, 0), (1, 1), (300, 300), (2**31 - 1, 3600)])
def test_n3_time_to_live(server, make, ttl, kept):
    now = 1000.0
    server.set(TEXT, Behaviour((GOOD,), ttl=ttl))
    resolver = make(server.address, clock=lambda: now)
    assert one(resolver)[0].outcome is FOUND
    if kept:
        now = 1000.0 + kept - 0.01
        assert resolver.cached(NAME) is not None
    now = 1000.0 + kept
    assert resolver.cached(NAME) is None


def test_n3_a_time_to_live_above_31_bits_is_none(server, make):
    """RFC 2181 section 8: with the highest bit set it counts as zero."""

    def answer(query: dns.message.Message) -> bytes:
        made = dns.message.make_response(query)
        made.answer.append(dns.rrset.from_text(query.question[0].name, 0, "IN", "TXT", f'"{KEY.decode()}"'))
        wire = bytearray(made.to_wire())
        at = wire.index(KEY) - 1 - 6
        wire[at : at + 4] = b"\xff\xff\xff\xff"
        return bytes(wire)

    server.set(TEXT, Behaviour(wire=answer))
    resolver = make(server.address)
    assert one(resolver)[0].outcome is FOUND
    assert resolver.cached(NAME) is None
