"""A key that was replaced while it was kept is asked for once more, and not at anybody's wish (N8)."""

from __future__ import annotations

import threading

import dns.rcode
import pytest

from asking import KEY, NAME, TEXT, Events, one, record
from phoenixdkim.dkim.keys import KeyOutcome
from phoenixdkim.events import DnsQuery, DnsResponse, DnsResult
from phoenixdkim.testing.dns_server import Behaviour, txt

NEW = record()


class Case:
    """A resolver whose clock is moved by hand, and that keeps a key."""

    def __init__(self, server, make, **options) -> None:
        self.now = 1000.0
        self.server = server
        server.set_txt(TEXT, KEY)
        # The clock stands still in a look-up: its end must not hang on it.
        self.resolver = make(server.address, clock=lambda: self.now, **({"recheck_after": 10.0} | options))
        self.first = one(self.resolver)[0]

    def recheck(self, *names: bytes, **options):
        events = Events()
        return self.resolver.recheck(names or (NAME,), events, **options), events


@pytest.fixture
def case(server, make):
    return Case(server, make)


def test_n8_the_new_key_is_had_and_kept(case, server):
    server.set_txt(TEXT, NEW, ttl=100)
    case.now += 10.1
    answers, events = case.recheck()
    assert answers[NAME].outcome is KeyOutcome.FOUND
    assert answers[NAME].keys != case.first.keys
    assert events.counts == {DnsQuery(): 1, DnsResponse(DnsResult.SUCCESS): 1}, "a question, and no look into the cache"
    assert case.resolver.cached(NAME) == answers[NAME]
    case.now += 99.9
    assert case.resolver.cached(NAME) == answers[NAME]
    case.now += 0.2
    assert case.resolver.cached(NAME) is None


def test_n8_a_key_that_is_fresh_is_not_asked_for(case, server):
    case.now += 10.0
    answers, events = case.recheck()
    assert (answers, events.questions) == ({}, 0)
    assert len(server.questions()) == 1


def test_n8_wrong_signatures_make_us_ask_once_in_a_while(case, server):
    case.now += 10.1
    for _ in range(100):
        case.recheck()
    assert len(server.questions()) == 2
    case.now += 10.1
    for _ in range(100):
        case.recheck()
    assert len(server.questions()) == 3


def test_n8_a_withdrawn_key_is_gone(case, server):
    server.set(TEXT, Behaviour(rcode=dns.rcode.NXDOMAIN))
    case.now += 10.1
    answers, _ = case.recheck()
    assert answers[NAME].outcome is KeyOutcome.ABSENT
    assert case.resolver.cached(NAME).outcome is KeyOutcome.ABSENT


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_n8_asked_for_in_vain_what_is_kept_holds_and_is_left_in_peace(case, server, rcode):
    server.set(TEXT, Behaviour(rcode=rcode))
    case.now += 10.1
    answers, events = case.recheck()
    assert answers == {}
    assert events.counts == {DnsQuery(): 1, DnsResponse(DnsResult.ERROR): 1}
    assert case.resolver.cached(NAME) == case.first
    asked = len(server.questions())
    case.recheck()
    assert len(server.questions()) == asked
    case.now += 10.1
    case.recheck()
    assert len(server.questions()) > asked


def test_n8_a_new_key_that_must_not_be_kept_ends_the_old_one(case, server):
    server.set_txt(TEXT, NEW, ttl=0)
    case.now += 10.1
    answers, _ = case.recheck()
    assert answers[NAME].outcome is KeyOutcome.FOUND
    assert case.resolver.cached(NAME) is None


def test_n8_what_is_not_kept_is_not_asked_for(case, server):
    case.now += 10.1
    server.set("none._domainkey.example.com", Behaviour())
    one(case.resolver, b"none._domainkey.example.com")
    case.now += 20
    asked = len(server.questions())
    answers, events = case.recheck(b"none._domainkey.example.com", b"never._domainkey.example.com")
    assert (answers, events.questions, len(server.questions())) == ({}, 0, asked)


def test_n8_off_by_option(server, make):
    case = Case(server, make, recheck_after=0.0)
    case.now += 1000
    assert case.recheck()[0] == {}
    assert len(server.questions()) == 1


def test_n8_several_names_at_one_time_and_each_once(case, server):
    others = [b"s%d._domainkey.example.com" % number for number in range(5)]
    server.set_default(Behaviour((txt(KEY),)))
    case.resolver.look_up(others, Events())
    case.now += 10.1
    gate = threading.Event()
    server.set_default(Behaviour((txt(NEW),), gate=gate))
    asked, done = len(server.questions()), []
    asking = threading.Thread(target=lambda: done.append(case.recheck(*others, *others[:2], others[0].upper())))
    asking.start()
    server.wait_for_questions(asked + 5)
    gate.set()
    asking.join(60)
    answers, events = done[0]
    assert set(answers) == {*others, others[0].upper()}
    assert events.questions == 5 == len(server.questions()) - asked


def test_n8_sessions_that_doubt_at_one_time_ask_once(case, server):
    case.now += 10.1
    gate = threading.Event()
    server.set(TEXT, Behaviour((txt(NEW),), gate=gate))
    done = []
    threads = [threading.Thread(target=lambda: done.append(case.recheck())) for _ in range(10)]
    for thread in threads:
        thread.start()
    server.wait_for_questions(2)
    gate.set()
    for thread in threads:
        thread.join(60)
    assert len(server.questions()) == 2
    assert sum(events.questions for _, events in done) == 1
    # Who came after the answer finds it fresh, and keeps to it.
    assert all(answers.get(NAME, case.resolver.cached(NAME)) == case.resolver.cached(NAME) for answers, _ in done)
