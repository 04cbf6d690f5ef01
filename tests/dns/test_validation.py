"""DNSSEC status of a key: AD, and what its absence means (phoenixdkim_dnssec_keys_total)."""

from __future__ import annotations

import threading
import time

import dns.message
import dns.rcode
import dns.rrset
import pytest

from asking import KEY, LATE, NAME, TEXT, Events, one
from phoenixdkim.dkim.keys import KeyOutcome
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dns import Resolver, ResolverOptions
from phoenixdkim.events import DnsQuery
from phoenixdkim.testing.dns_server import Behaviour, Fault, ScriptedDnsServer, txt

SIGNED = Behaviour((txt(KEY),), authentic=True)
PLAIN = Behaviour((txt(KEY),))
VALIDATES = Behaviour(authentic=True)
DOES_NOT = Behaviour()
OTHER = b"t._domainkey.example.com"


@pytest.fixture
def clock():
    class Clock:
        now = 1000.0

        def __call__(self) -> float:
            return self.now

    return Clock()


@pytest.fixture
def resolver(server, make, clock):
    server.set(TEXT, PLAIN)
    server.set(OTHER.decode(), PLAIN)
    return make(server.address, clock=clock, dnssec_probe=".")


def wait_for_probe(server, count: int = 1) -> None:
    """Until it was put, and its thread has taken the answer."""
    server.wait_for_questions(count, "")
    deadline = time.monotonic() + 30
    while any(thread.name == "dns-probe" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_secure_is_what_is_vouched_for(server, resolver):
    server.set(TEXT, SIGNED)
    assert one(resolver)[0].dnssec is DnssecStatus.SECURE
    assert server.questions("") == [], "who vouches needs no probe"


@pytest.mark.parametrize(
    ("probe", "status"),
    [
        (VALIDATES, DnssecStatus.INSECURE),
        (DOES_NOT, DnssecStatus.UNKNOWN),
        (Behaviour(rcode=dns.rcode.REFUSED), DnssecStatus.UNKNOWN),
        (Behaviour(rcode=dns.rcode.NXDOMAIN, authentic=True), DnssecStatus.UNKNOWN),
        (Behaviour(fault=Fault.DROP), DnssecStatus.UNKNOWN),
        (Behaviour(fault=Fault.COMPRESSION_LOOP), DnssecStatus.UNKNOWN),
    ],
    ids=["validates", "does-not", "refused", "nxdomain", "silent", "malformed"],
)
def test_without_ad_it_depends_on_the_probe(server, resolver, probe, status):
    server.set("", probe)
    first, events = one(resolver)
    assert first.dnssec is DnssecStatus.UNKNOWN, "nothing is known yet, and no message waits"
    wait_for_probe(server)
    answer, more = one(resolver, OTHER)
    assert answer.dnssec is status
    assert (events.questions, more.questions) == (1, 1), "the probe is no look-up, and is not counted"
    asked = server.questions("")
    assert [(question.kind, question.authentic_wanted) for question in asked] == [("SOA", True)]


def test_no_message_waits_for_the_probe(server, make):
    gate = threading.Event()
    server.set_default(PLAIN)
    server.set("", Behaviour(authentic=True, gate=gate))
    resolver = make(server.address, dnssec_probe=".", query_timeout=20.0, message_timeout=60.0)
    answer, events = one(resolver)
    assert answer.dnssec is DnssecStatus.UNKNOWN
    assert events.seconds[0] < LATE, "the probe has 20 seconds"
    server.wait_for_questions(1, "")
    assert one(resolver, OTHER)[0].dnssec is DnssecStatus.UNKNOWN
    assert len(server.questions("")) == 1, "one at a time"
    gate.set()
    wait_for_probe(server)


@pytest.mark.parametrize(
    ("probe", "status"),
    [
        (VALIDATES, DnssecStatus.INSECURE),
        (DOES_NOT, DnssecStatus.UNKNOWN),
        (Behaviour(fault=Fault.DROP), DnssecStatus.UNKNOWN),
    ],
    ids=["validates", "does-not", "silent"],
)
def test_a_command_waits_for_the_probe(server, make, probe, status):
    server.set_default(PLAIN)
    server.set("", probe)
    resolver = make(server.address, dnssec_probe=".", wait_for_probe=True)
    answers = resolver.look_up([NAME, OTHER], Events())
    assert {answer.dnssec for answer in answers.values()} == {status}, "of both, though both began without it"
    assert {answer.outcome for answer in answers.values()} == {KeyOutcome.FOUND}
    assert len(server.questions("")) == 1, "one probe for both"


def test_a_status_that_is_about_to_be_known_is_kept_for_a_moment(server, resolver, clock):
    server.set("", VALIDATES)
    assert one(resolver)[0].dnssec is DnssecStatus.UNKNOWN
    wait_for_probe(server)
    clock.now += 4.9
    assert resolver.cached(NAME).dnssec is DnssecStatus.UNKNOWN
    clock.now += 0.2
    assert resolver.cached(NAME) is None
    assert one(resolver)[0].dnssec is DnssecStatus.INSECURE
    clock.now += 200
    assert resolver.cached(NAME).dnssec is DnssecStatus.INSECURE


def test_a_probe_that_fails_does_not_spoil_the_cache(server, resolver, clock):
    server.set("", Behaviour(rcode=dns.rcode.REFUSED))
    one(resolver)
    wait_for_probe(server)
    one(resolver, OTHER)
    clock.now += 200
    assert resolver.cached(OTHER) is not None


def test_one_probe_an_hour_and_a_failed_one_again_after_a_minute(server, resolver, clock):
    server.set_default(PLAIN)
    server.set("", Behaviour(rcode=dns.rcode.REFUSED))

    def ask(after: float, probes: int) -> DnssecStatus:
        clock.now += after
        answer, _ = one(resolver, b"s%d.example.com" % int(clock.now * 10))
        wait_for_probe(server, probes)
        assert len(server.questions("")) == probes
        return answer.dnssec

    ask(0, 1)
    ask(59.9, 1)
    server.set("", VALIDATES)
    ask(0.2, 2)
    assert ask(1, 2) is DnssecStatus.INSECURE
    assert ask(3590, 2) is DnssecStatus.INSECURE
    server.set("", DOES_NOT)
    assert ask(20, 3) is DnssecStatus.INSECURE, "what was known holds until more is"
    assert ask(1, 3) is DnssecStatus.UNKNOWN


def test_who_vouched_for_an_answer_in_the_last_hour_is_not_probed(server, resolver, clock):
    server.set(TEXT, SIGNED)
    one(resolver)
    assert one(resolver, OTHER)[0].dnssec is DnssecStatus.INSECURE
    clock.now += 3599
    assert one(resolver, OTHER)[0].dnssec is DnssecStatus.INSECURE
    assert server.questions("") == []


def test_each_server_is_known_by_itself(server, make, clock):
    """A server that does not validate gets no credit for one that does."""
    with ScriptedDnsServer() as plain:
        plain.set_default(PLAIN)
        plain.set("", DOES_NOT)
        server.set_default(PLAIN)
        server.set("", VALIDATES)
        server.set("s0.example.com", Behaviour(rcode=dns.rcode.SERVFAIL))
        resolver = make(server.address, plain.address, clock=clock, dnssec_probe=".")
        one(resolver, b"s1.example.com")
        wait_for_probe(server)
        assert one(resolver, b"s2.example.com")[0].dnssec is DnssecStatus.INSECURE
        assert one(resolver, b"s0.example.com")[0].dnssec is DnssecStatus.UNKNOWN
        wait_for_probe(plain)
        assert one(resolver, b"s3.example.com")[0].dnssec is DnssecStatus.UNKNOWN, "the other one is preferred now"
        clock.now += 31
        assert one(resolver, b"s4.example.com")[0].dnssec is DnssecStatus.INSECURE


def test_without_a_probe_nothing_is_put_and_the_absence_means_nothing(server, make):
    server.set(TEXT, PLAIN)
    assert one(make(server.address, dnssec_probe=""))[0].dnssec is DnssecStatus.UNKNOWN
    assert len(server.questions()) == 1


def test_a_zone_file_has_no_probe(tmp_path, monkeypatch):
    zone = tmp_path / "zone"
    zone.write_text(f'{TEXT}. 300 IN TXT "{KEY.decode()}"\n')

    def no_socket(*_args: object, **_options: object) -> None:
        raise AssertionError("the network is asked")

    monkeypatch.setattr("socket.socket", no_socket)
    resolver = Resolver(ResolverOptions(zone=str(zone)), Limits())
    assert one(resolver)[0].dnssec is DnssecStatus.UNKNOWN


@pytest.mark.parametrize("whole_chain", [True, False])
@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True)])
def test_each_answer_of_a_chain_must_be_vouched_for(server, resolver, whole_chain, first, second):
    server.set("", VALIDATES)
    server.set("a.example.com", Behaviour(cname="b.example.com", whole_chain=whole_chain, authentic=first))
    server.set("b.example.com", Behaviour((txt(KEY),), authentic=second))
    secure = first and (second or whole_chain)
    assert one(resolver, b"a.example.com")[0].dnssec is (DnssecStatus.SECURE if secure else DnssecStatus.UNKNOWN)


def test_bogus_when_the_server_says_so(server, resolver):
    server.set(TEXT, Behaviour(rcode=dns.rcode.SERVFAIL, extended_error=6))
    answer, _ = one(resolver)
    assert (answer.outcome, answer.dnssec) == (KeyOutcome.UNAVAILABLE, DnssecStatus.BOGUS)
    assert answer.reason is Reason.DNSSEC_BOGUS
    assert len(server.questions()) == 1, "it will say so again"


def known_to_validate(server, resolver) -> None:
    server.set("", VALIDATES)
    one(resolver, OTHER)
    wait_for_probe(server)


def test_bogus_when_the_records_are_there_without_validation(server, resolver):
    known_to_validate(server, resolver)
    server.set(TEXT, Behaviour(rcode=dns.rcode.SERVFAIL, unvalidated=PLAIN))
    answer, events = one(resolver)
    assert (answer.outcome, answer.keys, answer.dnssec) == (KeyOutcome.UNAVAILABLE, (), DnssecStatus.BOGUS)
    assert answer.reason is Reason.DNSSEC_BOGUS
    assert events.questions == 1, "retries and this are part of the question"
    assert [question.checking_disabled for question in server.questions(TEXT)] == [False, False, True]


@pytest.mark.parametrize(
    "unvalidated",
    [Behaviour(rcode=dns.rcode.SERVFAIL), Behaviour(fault=Fault.COMPRESSION_LOOP), Behaviour(fault=Fault.DROP)],
    ids=["servfail", "malformed", "silent"],
)
def test_unavailable_when_they_are_not(server, resolver, unvalidated):
    known_to_validate(server, resolver)
    server.set(TEXT, Behaviour(rcode=dns.rcode.SERVFAIL, unvalidated=unvalidated))
    answer, _ = one(resolver)
    assert (answer.outcome, answer.dnssec) == (KeyOutcome.UNAVAILABLE, DnssecStatus.UNAVAILABLE)


def test_a_server_that_does_not_validate_is_not_asked_for_the_reason(server, resolver):
    server.set("", DOES_NOT)
    server.set(TEXT, Behaviour(rcode=dns.rcode.SERVFAIL, unvalidated=PLAIN))
    one(resolver)
    wait_for_probe(server)
    answer, _ = one(resolver, OTHER)
    assert answer.outcome is KeyOutcome.FOUND
    assert not any(question.checking_disabled for question in server.questions())


def test_the_probe_must_be_a_name(make):
    with pytest.raises(ValueError, match="is no name in DNS"):
        make("127.0.0.1:1", dnssec_probe="a..b")


def test_an_answer_too_large_is_secure_when_vouched_for(server, resolver):
    server.set(TEXT, Behaviour(tuple((b"%d" % n,) for n in range(200)), authentic=True))
    assert one(resolver)[0].dnssec is DnssecStatus.SECURE


def test_questions_of_probes_are_in_no_event(server, resolver):
    known_to_validate(server, resolver)
    events = Events()
    one(resolver, NAME, events)
    assert events.counts[DnsQuery()] == len(server.questions(TEXT)) == 1
