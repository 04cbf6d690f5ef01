"""The resolver against a scripted DNS server: outcomes, deadlines, cache, counting (D01 to D05, D17, D18)."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections import Counter
from pathlib import Path

import dns.rcode
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from phoenixdkim.dkim.keys import KeyOutcome
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dns import Resolver, ResolverOptions
from phoenixdkim.events import CacheResult, DnsCacheLookup, DnsQuery, DnsResponse, DnsResult
from phoenixdkim.testing.dns_server import Behaviour, Fault, ScriptedDnsServer, Tcp, txt

KEY = b"v=DKIM1; k=ed25519; p=" + base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
NAME = b"s._domainkey.example.com"
TEXT = NAME.decode()


class Events:
    """What the resolver told."""

    def __init__(self) -> None:
        self.counts: Counter[object] = Counter()
        self.seconds: list[float] = []
        self.threads: set[int] = set()

    def __call__(self, event: object, seconds: float | None) -> None:
        self.counts[event] += 1
        self.threads.add(threading.get_ident())
        if seconds is not None:
            self.seconds.append(seconds)

    @property
    def questions(self) -> int:
        return self.counts[DnsQuery()]


@pytest.fixture
def server():
    with ScriptedDnsServer() as running:
        yield running


@pytest.fixture
def make():
    made = []

    def build(*servers: str, clock=time.monotonic, **options) -> Resolver:
        settings = {"query_timeout": 0.3, "message_timeout": 1.2} | options
        made.append(Resolver(ResolverOptions(nameservers=servers, **settings), Limits(), clock))
        return made[-1]

    yield build
    for resolver in made:
        resolver.close()


def one(resolver: Resolver, name: bytes = NAME, events: Events | None = None):
    events = events or Events()
    return resolver.look_up([name], events)[name], events


def test_d01_d02_key_is_found_with_its_strings_joined(server, make):
    server.set(TEXT, Behaviour(records=((KEY[:20], KEY[20:]),)))
    answer, events = one(make(server.address), b"S._DomainKey.Example.COM")
    assert answer.outcome is KeyOutcome.FOUND
    assert len(answer.keys) == 1
    assert events.counts == {DnsCacheLookup(CacheResult.MISS): 1, DnsQuery(): 1, DnsResponse(DnsResult.SUCCESS): 1}
    asked = server.questions()[0]
    assert (asked.kind, asked.edns, asked.authentic_wanted) == ("TXT", 1232, True)


def test_d01_aliases_are_followed_in_one_answer_or_step_by_step(server, make):
    for i in range(5):
        server.set(f"c{i}.example.com", Behaviour(cname=f"c{i + 1}.example.com", whole_chain=i != 2))
    server.set_txt("c5.example.com", KEY)
    answer, events = one(make(server.address), b"c0.example.com")
    assert answer.outcome is KeyOutcome.FOUND
    assert events.questions == 1, "aliases are part of one question"
    assert [q.name for q in server.questions()] == ["c0.example.com", "c3.example.com"]


@pytest.mark.parametrize("whole_chain", [True, False])
def test_d05_alias_loop_is_unavailable(server, make, whole_chain):
    for i in range(20):
        server.set(f"c{i}.example.com", Behaviour(cname=f"c{(i + 1) % 20}.example.com", whole_chain=whole_chain))
    answer, events = one(make(server.address), b"c0.example.com")
    assert (answer.outcome, answer.reason) == (KeyOutcome.UNAVAILABLE, Reason.DNS_UNAVAILABLE)
    assert events.counts[DnsResponse(DnsResult.ERROR)] == 1
    assert len(server.questions()) <= 12


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(rcode=dns.rcode.NXDOMAIN), Behaviour(), Behaviour(fault=Fault.WRONG_TYPE), Behaviour(soa_minimum=None)],
    ids=["nxdomain", "no-data", "other-type", "no-soa"],
)
def test_d04_absent_is_an_answer(server, make, behaviour):
    server.set(TEXT, behaviour)
    answer, events = one(make(server.address))
    assert (answer.outcome, answer.reason) == (KeyOutcome.ABSENT, Reason.NO_KEY)
    assert events.counts[DnsResponse(DnsResult.SUCCESS)] == 1


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        (Behaviour(fault=Fault.DROP), DnsResult.TIMEOUT),
        (Behaviour(rcode=dns.rcode.SERVFAIL), DnsResult.ERROR),
        (Behaviour(rcode=dns.rcode.REFUSED), DnsResult.ERROR),
        (Behaviour(rcode=dns.rcode.NOTIMP), DnsResult.ERROR),
        (Behaviour(rcode=dns.rcode.FORMERR), DnsResult.ERROR),
        (Behaviour(records=(txt(KEY),), fault=Fault.WRONG_ID), DnsResult.TIMEOUT),
        (Behaviour(records=(txt(KEY),), fault=Fault.WRONG_QUESTION), DnsResult.TIMEOUT),
        (Behaviour(records=(txt(KEY),), fault=Fault.NO_QUESTION), DnsResult.TIMEOUT),
        (Behaviour(records=(txt(KEY),), fault=Fault.NOT_A_RESPONSE), DnsResult.TIMEOUT),
        (Behaviour(records=(txt(KEY),), fault=Fault.WRONG_SOURCE), DnsResult.TIMEOUT),
        (Behaviour(records=(txt(KEY),), fault=Fault.COMPRESSION_LOOP), DnsResult.ERROR),
        (Behaviour(fault=Fault.SHORT), DnsResult.TIMEOUT),
        (Behaviour(records=(txt(KEY),), truncate=True, tcp=Tcp.CLOSE), DnsResult.ERROR),
        (Behaviour(records=(txt(KEY),), truncate=True, tcp=Tcp.HANG), DnsResult.TIMEOUT),
        (Behaviour(records=(txt(KEY),), truncate=True, tcp=Tcp.LONG_LENGTH_CLOSED), DnsResult.ERROR),
    ],
    ids=lambda value: str(value) if isinstance(value, DnsResult) else f"{value.rcode}-{value.fault}-{value.tcp}",
)
def test_d05_d18_failures_are_unavailable_within_the_deadline(server, make, behaviour, result):
    server.set(TEXT, behaviour)
    started = time.monotonic()
    answer, events = one(make(server.address))
    assert time.monotonic() - started < 1.3
    reason = Reason.DNS_TIMEOUT if result is DnsResult.TIMEOUT else Reason.DNS_UNAVAILABLE
    assert (answer.outcome, answer.reason) == (KeyOutcome.UNAVAILABLE, reason)
    assert answer.dnssec is DnssecStatus.UNAVAILABLE
    assert events.counts == {DnsCacheLookup(CacheResult.MISS): 1, DnsQuery(): 1, DnsResponse(result): 1}


def test_d05_nobody_listens(make):
    with ScriptedDnsServer() as gone:
        address = gone.address
    answer, events = one(make(address))
    assert answer.outcome is KeyOutcome.UNAVAILABLE
    assert events.counts[DnsResponse(DnsResult.ERROR)] == 1


@pytest.mark.parametrize("fault", [Fault.WRONG_ID, Fault.WRONG_QUESTION, Fault.WRONG_SOURCE, Fault.NOT_A_RESPONSE])
def test_forged_answer_is_passed_over_and_the_right_one_taken(server, make, fault):
    server.set(TEXT, Behaviour(records=(txt(KEY),), fault=fault, right_answer_after=0.05))
    answer, _ = one(make(server.address))
    assert answer.outcome is KeyOutcome.FOUND
    assert len(server.questions()) == 1


def test_d17_truncated_answer_is_asked_for_again_over_tcp(server, make):
    server.set(TEXT, Behaviour(records=(txt(KEY),), truncate=True))
    answer, events = one(make(server.address))
    assert answer.outcome is KeyOutcome.FOUND
    assert [q.transport for q in server.questions()] == ["udp", "tcp"]
    assert events.questions == 1


def test_failover_to_the_second_server_which_is_then_asked_first(server, make):
    with ScriptedDnsServer() as dead:
        dead.set_default(Behaviour(fault=Fault.DROP))
        server.set_txt(TEXT, KEY)
        server.set_txt("t._domainkey.example.com", KEY)
        resolver = make(dead.address, server.address)
        answer, events = one(resolver)
        assert answer.outcome is KeyOutcome.FOUND
        assert events.questions == 1
        assert one(resolver, b"t._domainkey.example.com")[0].outcome is KeyOutcome.FOUND
        assert len(dead.questions()) == 1


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_failover_on_refusal_is_immediate(server, make, rcode):
    with ScriptedDnsServer() as bad:
        bad.set_default(Behaviour(rcode=rcode))
        server.set_txt(TEXT, KEY)
        answer, events = one(make(bad.address, server.address))
        assert answer.outcome is KeyOutcome.FOUND
        assert events.seconds[0] < 0.25


def test_a_server_that_fails_once_is_tried_again(server, make):
    server.set(TEXT, Behaviour(records=(txt(KEY),), failures=1))
    assert one(make(server.address))[0].outcome is KeyOutcome.FOUND


def test_ipv6_server(make):
    with ScriptedDnsServer("::1") as six:
        six.set_txt(TEXT, KEY)
        assert one(make(six.address))[0].outcome is KeyOutcome.FOUND


def test_d18_deadline_of_the_message_holds_for_twenty_slow_names(server, make):
    server.set_default(Behaviour(records=(txt(KEY),), delay=0.9))
    names = [b"s%d._domainkey.example.com" % i for i in range(20)]
    resolver = make(server.address, query_timeout=5.0, message_timeout=0.5, max_concurrent=4)
    events = Events()
    started = time.monotonic()
    answers = resolver.look_up(names, events)
    assert time.monotonic() - started < 0.8
    assert {answer.outcome for answer in answers.values()} == {KeyOutcome.UNAVAILABLE}
    assert {answer.reason for answer in answers.values()} == {Reason.MESSAGE_TIMEOUT, Reason.LOOKUP_LIMIT}
    assert events.questions == events.counts[DnsResponse(DnsResult.TIMEOUT)] <= 4
    assert len(server.questions()) == events.questions


def test_d18_callers_deadline_is_the_earlier_one(server, make):
    server.set(TEXT, Behaviour(fault=Fault.DROP))
    started = time.monotonic()
    answer = make(server.address).look_up([NAME], Events(), deadline=started + 0.1)[NAME]
    assert time.monotonic() - started < 0.25
    assert answer.outcome is KeyOutcome.UNAVAILABLE


def test_a_deadline_that_cut_the_question_short_says_nothing_of_the_name(server, make):
    server.set(TEXT, Behaviour(records=(txt(KEY),), delay=0.2))
    resolver = make(server.address, query_timeout=1.0)
    assert resolver.look_up([NAME], Events(), deadline=time.monotonic() + 0.05)[NAME].outcome is KeyOutcome.UNAVAILABLE
    assert resolver.cached(NAME) is None
    assert one(resolver)[0].outcome is KeyOutcome.FOUND


def test_distinct_names_are_asked_for_at_one_time_and_told_in_the_callers_thread(server, make):
    server.set_default(Behaviour(records=(txt(KEY),), delay=0.2))
    names = [b"s%d._domainkey.example.com" % i for i in range(8)]
    events = Events()
    started = time.monotonic()
    answers = make(server.address, query_timeout=1.0).look_up(names, events)
    assert time.monotonic() - started < 0.7
    assert all(answer.outcome is KeyOutcome.FOUND for answer in answers.values())
    assert events.questions == 8
    assert events.threads == {threading.get_ident()}


def test_one_flight_for_a_name_that_many_threads_ask_for(server, make):
    server.set(TEXT, Behaviour(records=(txt(KEY),), delay=0.2))
    resolver = make(server.address, query_timeout=1.0)
    told = [Events() for _ in range(12)]
    answers = []
    threads = [threading.Thread(target=lambda e=e: answers.append(one(resolver, NAME, e)[0])) for e in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    assert {answer.outcome for answer in answers} == {KeyOutcome.FOUND}
    assert len(server.questions()) == 1
    assert sum(e.questions for e in told) == 1, "who put the question tells of it"
    assert sum(e.counts[DnsCacheLookup(CacheResult.MISS)] for e in told) == 12


def test_names_that_differ_in_case_are_one(server, make):
    server.set_txt(TEXT, KEY)
    events = Events()
    answers = make(server.address).look_up([NAME, NAME.upper(), NAME], events)
    assert set(answers) == {NAME, NAME.upper()}
    assert (events.questions, events.counts[DnsCacheLookup(CacheResult.MISS)]) == (1, 1)


def test_cache_keeps_found_absent_and_unavailable_for_their_times(server, make):
    now = 1000.0
    server.set_txt(TEXT, KEY, ttl=100)
    server.set("long._domainkey.example.com", Behaviour(records=(txt(KEY),), ttl=2**31 - 1))
    server.set("none._domainkey.example.com", Behaviour(soa_minimum=50))
    server.set("never._domainkey.example.com", Behaviour(soa_minimum=86400))
    server.set("bad._domainkey.example.com", Behaviour(rcode=dns.rcode.SERVFAIL))
    server.set("zero._domainkey.example.com", Behaviour(records=(txt(KEY),), ttl=0))
    resolver = make(server.address, clock=lambda: now)
    times = {b"s": 100, b"long": 3600, b"none": 50, b"never": 300, b"bad": 5}
    names = [label + b"._domainkey.example.com" for label in [*times, b"zero"]]
    resolver.look_up(names, Events())
    kept = {name: resolver.cached(name) for name in names}
    assert kept.pop(b"zero._domainkey.example.com") is None
    assert all(kept.values())
    asked = len(server.questions())
    events = Events()
    resolver.look_up(list(kept), events)
    assert len(server.questions()) == asked
    assert events.counts == {DnsCacheLookup(CacheResult.HIT): 2, DnsCacheLookup(CacheResult.NEGATIVE_HIT): 3}
    for label, seconds in times.items():
        now = 1000.0 + seconds - 0.01
        assert resolver.cached(label + b"._domainkey.example.com") is not None, label
        now = 1000.0 + seconds
        assert resolver.cached(label + b"._domainkey.example.com") is None, label


def test_cap_on_questions_at_one_time(server, make):
    server.set("slow._domainkey.example.com", Behaviour(fault=Fault.DROP))
    server.set_txt(TEXT, KEY)
    resolver = make(server.address, max_concurrent=1, query_timeout=1.0, message_timeout=1.0)
    slow = threading.Thread(target=one, args=(resolver, b"slow._domainkey.example.com"))
    slow.start()
    while not server.questions():
        time.sleep(0.005)
    events = Events()
    answer = resolver.look_up([NAME], events, deadline=time.monotonic() + 0.1)[NAME]
    assert (answer.outcome, answer.reason) == (KeyOutcome.UNAVAILABLE, Reason.LOOKUP_LIMIT)
    assert events.questions == 0, "no question was put"
    slow.join()
    assert one(resolver)[0].outcome is KeyOutcome.FOUND


@pytest.mark.parametrize("name", [b"a..b", b"x" * 64 + b".example.com", b".".join([b"x" * 60] * 5)])
def test_name_that_dns_cannot_have_is_absent_without_a_question(server, make, name):
    answer, events = one(make(server.address), name)
    assert answer.outcome is KeyOutcome.ABSENT
    assert (events.questions, server.questions()) == (0, [])


@pytest.mark.parametrize(
    ("authentic", "probe", "status"),
    [
        (True, None, DnssecStatus.SECURE),
        (False, None, DnssecStatus.UNKNOWN),
        (False, True, DnssecStatus.INSECURE),
        (False, False, DnssecStatus.UNKNOWN),
    ],
)
def test_dnssec_status(server, make, authentic, probe, status):
    server.set(TEXT, Behaviour(records=(txt(KEY),), authentic=authentic))
    server.set("signed.example", Behaviour(authentic=bool(probe)))
    resolver = make(server.address, dnssec_probe="" if probe is None else "signed.example")
    answer, events = one(resolver)
    assert answer.dnssec is status
    assert events.questions == 1, "the probe is not counted"


def test_dnssec_bogus_is_told_by_the_extended_error(server, make):
    server.set(TEXT, Behaviour(rcode=dns.rcode.SERVFAIL, extended_error=6))
    answer, _ = one(make(server.address))
    assert (answer.outcome, answer.dnssec) == (KeyOutcome.UNAVAILABLE, DnssecStatus.BOGUS)
    assert len(server.questions()) == 1


def test_nothing_is_open_before_the_first_look_up_nor_after(server, make):
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before, threads = descriptors(), threading.active_count()
    resolver = make(server.address)
    assert (descriptors(), threading.active_count()) == (before, threads)
    server.set_default(Behaviour(fault=Fault.DROP))
    resolver.look_up([b"a.example", b"b.example"], Events(), deadline=time.monotonic() + 0.1)
    assert descriptors() == before


def test_resolv_conf_is_read_again_when_replaced(server, make, tmp_path: Path, monkeypatch):
    conf = tmp_path / "resolv.conf"
    conf.write_text("# none\nnameserver nonsense\nnameserver 127.0.0.2\nnameserver 127.0.0.3\n")
    resolver = make(resolv_conf=str(conf), query_timeout=0.05)
    servers = resolver._source._servers
    assert [s.host for s in servers.current()] == ["127.0.0.2", "127.0.0.3"]
    new = tmp_path / "new"
    new.write_text("search example.com\nnameserver ::1\n")
    new.replace(conf)
    assert [s.host for s in servers.current()] == ["::1"]
    conf.unlink()
    assert [s.host for s in servers.current()] == ["::1"], "what was read last still serves"


def test_cached_is_quick(server, make):
    server.set_txt(TEXT, KEY)
    resolver = make(server.address)
    one(resolver)
    best = min(_timed(resolver) for _ in range(20))
    assert best < 3e-6, "a look into the cache is on the path of each message"


def _timed(resolver: Resolver) -> float:
    started = time.perf_counter()
    for _ in range(2000):
        resolver.cached(NAME)
    return (time.perf_counter() - started) / 2000


@pytest.mark.parametrize("records, most, found", [(9, 4096, False), (9, 16384, True), (30, 16384, False)])
def test_m3_an_answer_beyond_the_limit_is_not_read(server, make, records, most, found):
    """K11, M3: its length is known before it is read, over TCP; nothing of it is parsed."""
    server.set(TEXT, Behaviour(records=tuple(txt(b"n=%03d" % n + b"x" * 900) for n in range(records))))
    answer, events = one(make(server.address, max_answer_octets=most))
    if found:
        assert (answer.outcome, answer.keys) == (KeyOutcome.FOUND, (Reason.MULTIPLE_KEY_RECORDS,))
    else:
        assert (answer.outcome, answer.reason) == (KeyOutcome.UNAVAILABLE, Reason.DNS_ANSWER_TOO_LARGE)
        assert events.counts[DnsResponse(DnsResult.ERROR)] == 1
