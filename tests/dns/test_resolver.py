"""The resolver: many names and threads at one time, deadlines, what is kept, what is counted (D18, N4, N6)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import dns.rcode
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from asking import KEY, NAME, TEXT, Events, one
from phoenixdkim.dkim.keys import KeyOutcome
from phoenixdkim.dkim.results import Reason
from phoenixdkim.events import CacheResult, DnsCacheLookup, DnsResponse, DnsResult
from phoenixdkim.testing.dns_server import Behaviour, Fault, txt

PATIENT = {"query_timeout": 30.0, "message_timeout": 60.0}


def names(count: int, label: bytes = b"s") -> list[bytes]:
    return [b"%s%d._domainkey.example.com" % (label, number) for number in range(count)]


def in_thread(target, *args) -> threading.Thread:
    thread = threading.Thread(target=target, args=args)
    thread.start()
    return thread


def test_n4_all_names_of_a_message_are_asked_for_before_any_has_its_answer(server, make):
    gate = threading.Event()
    server.set_default(Behaviour(records=(txt(KEY),), gate=gate))
    events, answers = Events(), {}
    resolver = make(server.address, **PATIENT)
    asking = in_thread(lambda: answers.update(resolver.look_up(names(20), events)))
    asked = server.wait_for_questions(20)
    assert answers == {}
    gate.set()
    asking.join(60)
    assert {question.name.encode() for question in asked} == set(answers) == set(names(20))
    assert {answer.outcome for answer in answers.values()} == {KeyOutcome.FOUND}
    assert events.questions == len(server.questions()) == 20
    assert events.threads == {asking.ident}, "told in the caller's thread"


def test_n4_d18_the_deadline_of_the_message_holds_for_twenty_slow_names(server, make):
    gate = threading.Event()
    server.set_default(Behaviour(records=(txt(KEY),), gate=gate))
    resolver = make(server.address, query_timeout=20.0, message_timeout=0.5, max_concurrent=4)
    events = Events()
    started = time.monotonic()
    answers = resolver.look_up(names(20), events)
    took = time.monotonic() - started
    gate.set()
    assert 0.5 <= took < 20.0, "the answers are not waited for"
    assert {answer.outcome for answer in answers.values()} == {KeyOutcome.UNAVAILABLE}
    assert {answer.reason for answer in answers.values()} == {Reason.MESSAGE_TIMEOUT, Reason.LOOKUP_LIMIT}
    assert events.questions == events.counts[DnsResponse(DnsResult.TIMEOUT)] <= 4
    assert len(server.questions()) == events.questions
    assert max(events.seconds) < 4.9


def test_d18_the_callers_deadline_is_the_earlier_one(server, make):
    server.set(TEXT, Behaviour(fault=Fault.DROP))
    resolver = make(server.address, **PATIENT)
    answer = resolver.look_up([NAME], Events(), deadline=time.monotonic() + 0.1)[NAME]
    assert answer.outcome is KeyOutcome.UNAVAILABLE
    events = Events()
    assert resolver.look_up([NAME], events, deadline=time.monotonic() - 1)[NAME].reason is Reason.LOOKUP_LIMIT
    assert events.questions == 0


def test_d18_deadline_is_the_message_timeout_from_now(make):
    now = 100.0
    assert make("127.0.0.1:1", message_timeout=7.5, clock=lambda: now).deadline() == 107.5


def test_a_deadline_that_cut_the_question_short_says_nothing_of_the_name(server, make):
    gate = threading.Event()
    server.set(TEXT, Behaviour(records=(txt(KEY),), gate=gate))
    resolver = make(server.address, **PATIENT)
    assert resolver.look_up([NAME], Events(), deadline=time.monotonic() + 0.1)[NAME].outcome is KeyOutcome.UNAVAILABLE
    assert resolver.cached(NAME) is None
    gate.set()
    assert one(resolver)[0].outcome is KeyOutcome.FOUND


def test_one_flight_for_a_name_that_many_threads_ask_for(server, make):
    gate = threading.Event()
    server.set(TEXT, Behaviour(records=(txt(KEY),), gate=gate))
    resolver = make(server.address, **PATIENT)
    told = [Events() for _ in range(12)]
    answers = []
    threads = [in_thread(lambda e=e: answers.append(one(resolver, NAME, e)[0])) for e in told]
    server.wait_for_questions(1)
    gate.set()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 12
    assert {answer.outcome for answer in answers} == {KeyOutcome.FOUND}
    assert len(server.questions()) == 1
    assert sum(e.questions for e in told) == 1, "who put the question tells of it"
    assert sum(count for e in told for event, count in e.counts.items() if isinstance(event, DnsCacheLookup)) == 12


def test_who_waits_for_a_flight_that_ran_out_of_its_own_time_asks_again(server, make):
    gate = threading.Event()
    server.set(TEXT, Behaviour(records=(txt(KEY),), gate=gate))
    resolver = make(server.address, **PATIENT)
    hasty = in_thread(lambda: resolver.look_up([NAME], Events(), time.monotonic() + 0.3))
    server.wait_for_questions(1)
    found = []
    patient = in_thread(lambda: found.append(one(resolver)[0]))
    hasty.join(60)
    server.wait_for_questions(2)
    gate.set()
    patient.join(60)
    assert found[0].outcome is KeyOutcome.FOUND


def test_names_that_differ_in_case_are_one(server, make):
    server.set_txt(TEXT, KEY)
    events = Events()
    answers = make(server.address, **PATIENT).look_up([NAME, NAME.upper(), NAME], events)
    assert set(answers) == {NAME, NAME.upper()}
    assert (events.questions, events.counts[DnsCacheLookup(CacheResult.MISS)]) == (1, 1)


def test_cache_keeps_found_absent_and_unavailable_for_their_times(server, make):
    now = 1000.0
    server.set_txt(TEXT, KEY, ttl=100)
    server.set("long._domainkey.example.com", Behaviour(records=(txt(KEY),), ttl=2**31 - 1))
    server.set("none._domainkey.example.com", Behaviour(soa_minimum=50))
    server.set("never._domainkey.example.com", Behaviour(soa_minimum=86400))
    server.set("bare._domainkey.example.com", Behaviour(soa_minimum=None))
    server.set("bad._domainkey.example.com", Behaviour(rcode=dns.rcode.SERVFAIL))
    server.set("zero._domainkey.example.com", Behaviour(records=(txt(KEY),), ttl=0))
    resolver = make(server.address, clock=lambda: now)
    times = {b"s": 100, b"long": 3600, b"none": 50, b"never": 300, b"bare": 5, b"bad": 5}
    asked_for = [label + b"._domainkey.example.com" for label in [*times, b"zero"]]
    resolver.look_up(asked_for, Events())
    kept = {name: resolver.cached(name) for name in asked_for}
    assert kept.pop(b"zero._domainkey.example.com") is None
    assert all(kept.values())
    asked = len(server.questions())
    events = Events()
    resolver.look_up(list(kept), events)
    assert len(server.questions()) == asked
    assert events.counts == {DnsCacheLookup(CacheResult.HIT): 2, DnsCacheLookup(CacheResult.NEGATIVE_HIT): 4}
    for label, seconds in times.items():
        now = 1000.0 + seconds - 0.01
        assert resolver.cached(label + b"._domainkey.example.com") is not None, label
        now = 1000.0 + seconds
        assert resolver.cached(label + b"._domainkey.example.com") is None, label


def test_n6_questions_at_one_time_are_bounded(server, make):
    """A flood of distinct names waits in line; what does not get its turn in time is told so, and not counted."""
    gate = threading.Event()
    server.set_default(Behaviour(rcode=dns.rcode.NXDOMAIN, gate=gate))
    resolver = make(server.address, max_concurrent=5, cache_size=50, query_timeout=30, message_timeout=60)
    told = [Events() for _ in range(8)]
    floods = [in_thread(lambda e=e, n=n: resolver.look_up(names(10, b"f%d-" % n), e)) for n, e in enumerate(told)]
    server.wait_for_questions(5)
    events = Events()
    answer = resolver.look_up([NAME], events, deadline=time.monotonic() + 0.2)[NAME]
    assert (answer.outcome, answer.reason) == (KeyOutcome.UNAVAILABLE, Reason.LOOKUP_LIMIT)
    assert events.questions == 0, "no question was put"
    assert len(server.questions()) == 5
    assert len([t for t in threading.enumerate() if t.name.startswith("dns")]) <= 5
    gate.set()
    for flood in floods:
        flood.join(60)
    assert sum(e.questions for e in told) == len(server.questions()) == 80
    assert len(resolver._cache) <= 50
    server.set_txt(TEXT, KEY)
    assert one(resolver)[0].outcome is KeyOutcome.FOUND


@pytest.mark.parametrize("name", [b"a..b", b"x" * 64 + b".example.com", b".".join([b"x" * 60] * 5)])
def test_name_that_dns_cannot_have_is_absent_without_a_question(server, make, name):
    answer, events = one(make(server.address), name)
    assert answer.outcome is KeyOutcome.ABSENT
    assert (events.questions, server.questions()) == (0, [])


def test_nothing_is_open_before_the_first_look_up_nor_after(server, make):
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before, threads = descriptors(), threading.active_count()
    resolver = make(server.address)
    assert (descriptors(), threading.active_count()) == (before, threads)
    server.set_default(Behaviour(fault=Fault.DROP))
    resolver.look_up([b"a.example", b"b.example"], Events(), deadline=time.monotonic() + 0.1)
    assert descriptors() == before
    resolver.close()
    assert threading.active_count() == threads


def test_a_kept_key_costs_little_processor_time(server, make):
    server.set_txt(TEXT, KEY)
    resolver = make(server.address, **PATIENT)
    one(resolver)
    private = rsa.generate_private_key(65537, 2048)
    public, made = private.public_key(), private.sign(b"", PKCS1v15(), SHA256())
    # In turns, and the best of each: what else the machine does then slows both.
    rounds = [
        (_timed(lambda: resolver.cached(NAME)), _timed(lambda: public.verify(made, b"", PKCS1v15(), SHA256())))
        for _ in range(20)
    ]
    looked, verified = (min(times) for times in zip(*rounds, strict=True))
    assert looked < verified / 4, "a look into the cache is on the path of each message, as the verification is"


def _timed(action: Callable[[], object]) -> float:
    started = time.thread_time()
    for _ in range(500):
        action()
    return time.thread_time() - started
