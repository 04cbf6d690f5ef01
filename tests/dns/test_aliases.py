"""Aliases: CNAME in one answer or over several, DNAME, loops (D01, N3)."""

from __future__ import annotations

import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from asking import KEY, Events, one
from phoenixdkim.dkim.keys import KeyOutcome
from phoenixdkim.dkim.results import Reason
from phoenixdkim.events import DnsResponse, DnsResult
from phoenixdkim.testing.dns_server import Behaviour, txt


def test_d01_aliases_are_followed_in_one_answer_or_step_by_step(server, make):
    for i in range(5):
        server.set(f"c{i}.example.com", Behaviour(cname=f"c{i + 1}.example.com", whole_chain=i != 2))
    server.set_txt("c5.example.com", KEY)
    answer, events = one(make(server.address), b"c0.example.com")
    assert answer.outcome is KeyOutcome.FOUND
    assert events.questions == 1, "aliases are part of one question"
    assert [q.name for q in server.questions()] == ["c0.example.com", "c3.example.com"]


@pytest.mark.parametrize("whole_chain", [True, False])
@pytest.mark.parametrize("length", [1, 2, 20])
def test_n3_a_loop_is_unavailable(server, make, whole_chain, length):
    for i in range(length):
        server.set(f"c{i}.example.com", Behaviour(cname=f"c{(i + 1) % length}.example.com", whole_chain=whole_chain))
    answer, events = one(make(server.address), b"c0.example.com")
    assert (answer.outcome, answer.reason) == (KeyOutcome.UNAVAILABLE, Reason.DNS_UNAVAILABLE)
    assert events.counts[DnsResponse(DnsResult.ERROR)] == 1
    assert len(server.questions()) <= min(length, 12), "a name is asked for once, and there is an end"


@pytest.mark.parametrize("whole_chain", [True, False])
def test_n3_the_end_of_the_aliases_may_be_absent_or_fail(server, make, whole_chain):
    server.set("none.example.com", Behaviour(cname="gone.example.com", whole_chain=whole_chain))
    server.set("empty.example.com", Behaviour(cname="bare.example.com", whole_chain=whole_chain))
    server.set("bare.example.com", Behaviour())
    server.set("bad.example.com", Behaviour(cname="broken.example.com", whole_chain=False))
    server.set("broken.example.com", Behaviour(rcode=dns.rcode.SERVFAIL))
    answers = make(server.address).look_up([b"none.example.com", b"empty.example.com", b"bad.example.com"], Events())
    assert [answer.outcome for answer in answers.values()] == [
        KeyOutcome.ABSENT,
        KeyOutcome.ABSENT,
        KeyOutcome.UNAVAILABLE,
    ]


def test_the_shortest_time_to_live_of_the_chain_counts(server, make):
    now = 100.0
    server.set("a.example.com", Behaviour(cname="b.example.com", ttl=50, whole_chain=False))
    server.set("b.example.com", Behaviour(cname="c.example.com", ttl=20))
    server.set_txt("c.example.com", KEY, ttl=300)
    resolver = make(server.address, clock=lambda: now)
    one(resolver, b"a.example.com")
    now = 119.9
    assert resolver.cached(b"a.example.com") is not None
    now = 120.0
    assert resolver.cached(b"a.example.com") is None


def _dname(*, with_cname: bool, target: str = "hosted.example.net."):
    """Answers for a subtree that lives elsewhere, as of RFC 6672."""

    def answer(query: dns.message.Message) -> bytes:
        made = dns.message.make_response(query)
        owner, new = dns.name.from_text("_domainkey.example.com."), dns.name.from_text(target)
        made.answer.append(dns.rrset.from_text(owner, 60, "IN", "DNAME", target))
        if with_cname:
            moved = query.question[0].name.relativize(owner).concatenate(new)
            made.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "CNAME", moved.to_text()))
        return made.to_wire()

    return answer


@pytest.mark.parametrize("with_cname", [True, False])
def test_d01_a_subtree_that_lives_elsewhere(server, make, with_cname):
    server.set("s._domainkey.example.com", Behaviour(wire=_dname(with_cname=with_cname)))
    server.set("s.hosted.example.net", Behaviour((txt(KEY),)))
    answer, events = one(make(server.address))
    assert answer.outcome is KeyOutcome.FOUND
    assert events.questions == 1
    assert [q.name for q in server.questions()] == ["s._domainkey.example.com", "s.hosted.example.net"]


def test_n3_a_subtree_that_makes_the_name_too_long(server, make):
    label = "x" * 63
    name = f"{label}.{label}._domainkey.example.com"
    server.set(name, Behaviour(wire=_dname(with_cname=False, target=f"{label}.{label}.example.net.")))
    answer, _ = one(make(server.address), name.encode())
    assert answer.outcome is KeyOutcome.UNAVAILABLE


def test_n3_a_subtree_in_itself_has_an_end(server, make):
    def answer(query: dns.message.Message) -> bytes:
        made = dns.message.make_response(query)
        made.answer.append(dns.rrset.from_text("example.com.", 60, "IN", "DNAME", "x.example.com."))
        return made.to_wire()

    server.set_default(Behaviour(wire=answer))
    assert one(make(server.address))[0].outcome is KeyOutcome.UNAVAILABLE
    assert len(server.questions()) <= 12
