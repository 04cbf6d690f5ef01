"""Several name servers, dead ones, restarted ones, and resolv.conf replaced (N5, N7)."""

from __future__ import annotations

from pathlib import Path

import dns.rcode
import pytest

from asking import KEY, LATE, TEXT, one
from phoenixdkim.dkim.keys import KeyOutcome
from phoenixdkim.dns.options import Nameserver, Nameservers, ResolverOptions
from phoenixdkim.events import DnsResponse, DnsResult
from phoenixdkim.testing.dns_server import Behaviour, Fault, ScriptedDnsServer, txt

PATIENT = {"query_timeout": 30.0, "message_timeout": 60.0}


@pytest.fixture
def dead():
    with ScriptedDnsServer() as server:
        server.set_default(Behaviour(fault=Fault.DROP))
        yield server


def name(number: int) -> bytes:
    return b"s%d._domainkey.example.com" % number


def test_n5_the_second_server_answers_and_is_then_asked_first_for_a_while(server, dead, make):
    now = 0.0
    server.set_default(Behaviour((txt(KEY),)))
    resolver = make(dead.address, server.address, clock=lambda: now, query_timeout=1, message_timeout=60)
    # The clock stands still, so that the wait for the dead one has its full time by the kernel's.
    answer, events = one(resolver, name(0))
    assert answer.outcome is KeyOutcome.FOUND
    assert events.questions == 1
    assert (len(dead.questions()), len(server.questions())) == (1, 1)
    assert one(resolver, name(1))[0].outcome is KeyOutcome.FOUND
    assert (len(dead.questions()), len(server.questions())) == (1, 2)
    now = 31.0
    assert one(resolver, name(2))[0].outcome is KeyOutcome.FOUND
    assert (len(dead.questions()), len(server.questions())) == (2, 3)


def test_n5_a_preferred_server_that_dies_is_given_up_when_the_first_answers_again(server, dead, make):
    """Otherwise each question would wait for the dead one until the preference ends."""
    resolver = make(dead.address, server.address, query_timeout=1, message_timeout=60)
    server.set_default(Behaviour((txt(KEY),)))
    assert one(resolver, name(0))[0].outcome is KeyOutcome.FOUND
    dead.set_default(Behaviour((txt(KEY),)))
    server.set_default(Behaviour(fault=Fault.DROP))
    assert one(resolver, name(1))[0].outcome is KeyOutcome.FOUND
    asked = len(server.questions())
    assert asked == 2
    for number in range(2, 6):
        assert one(resolver, name(number))[0].outcome is KeyOutcome.FOUND
    assert len(server.questions()) == asked


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(rcode=dns.rcode.SERVFAIL),
        Behaviour(rcode=dns.rcode.REFUSED),
        Behaviour(fault=Fault.COMPRESSION_LOOP),
        Behaviour(fault=Fault.REFERRAL),
    ],
    ids=["servfail", "refused", "malformed", "referral"],
)
def test_n5_who_fails_at_once_is_passed_over_at_once(server, make, behaviour):
    with ScriptedDnsServer() as bad:
        bad.set_default(behaviour)
        server.set_txt(TEXT, KEY)
        answer, events = one(make(bad.address, server.address, **PATIENT))
        assert answer.outcome is KeyOutcome.FOUND
        assert events.seconds[0] < LATE, "it has 30 seconds"


def test_n5_a_server_that_is_not_there_is_passed_over_at_once(server, make):
    with ScriptedDnsServer() as gone:
        address = gone.address
    server.set_txt(TEXT, KEY)
    answer, events = one(make(address, server.address, **PATIENT))
    assert answer.outcome is KeyOutcome.FOUND
    assert events.seconds[0] < LATE


def test_n4_the_second_attempt_waits_twice_as_long(server, make):
    """A name server that goes on looking has the answer by then: 2 and 4 seconds by default see one of 4.9."""
    server.set(TEXT, Behaviour((txt(KEY),), delay=1.5))
    answer, events = one(make(server.address, query_timeout=1.0, message_timeout=60))
    assert answer.outcome is KeyOutcome.FOUND
    assert 2.5 <= events.seconds[0] < 3 + LATE
    assert len(server.questions()) == 2


def test_ipv6_server(make):
    with ScriptedDnsServer("::1") as six:
        six.set_txt(TEXT, KEY)
        assert one(make(six.address, **PATIENT))[0].outcome is KeyOutcome.FOUND


def test_n7_a_restarted_server_is_asked_again(make):
    now = 0.0
    with ScriptedDnsServer() as first:
        address, port = first.address, first.port
        first.set_txt(TEXT, KEY, ttl=60)
        resolver = make(address, clock=lambda: now, failure_ttl=5)
        assert one(resolver)[0].outcome is KeyOutcome.FOUND
    now = 60.0
    answer, events = one(resolver)
    assert answer.outcome is KeyOutcome.UNAVAILABLE
    assert events.counts[DnsResponse(DnsResult.ERROR)] == 1
    with ScriptedDnsServer(port=port) as second:
        second.set_txt(TEXT, KEY)
        assert one(resolver)[0].outcome is KeyOutcome.UNAVAILABLE, "a failure is kept a few seconds"
        now = 65.0
        assert one(resolver)[0].outcome is KeyOutcome.FOUND
        assert len(second.questions()) == 1


def servers(path: Path) -> Nameservers:
    return Nameservers(ResolverOptions(resolv_conf=str(path)))


def test_n7_resolv_conf_is_read_again_when_replaced(tmp_path):
    conf = tmp_path / "resolv.conf"
    conf.write_text("# none\nnameserver nonsense\nnameserver 127.0.0.2\nnameserver 127.0.0.3\n")
    read = servers(conf)
    assert [server.host for server in read.current()] == ["127.0.0.2", "127.0.0.3"]
    new = tmp_path / "new"
    new.write_text("search example.com\nnameserver ::1\n")
    new.replace(conf)
    assert [server.host for server in read.current()] == ["::1"]
    conf.write_text("nameserver 127.0.0.9\nnameserver fe80::1%eth0\nnameserver 127.0.0.10\nnameserver 127.0.0.11\n")
    assert [server.host for server in read.current()] == ["127.0.0.9", "fe80::1%eth0", "127.0.0.10"]
    conf.unlink()
    assert len(read.current()) == 3, "what was read last still serves"


def test_without_a_server_in_resolv_conf_the_local_one_is_asked(tmp_path):
    conf = tmp_path / "resolv.conf"
    local = (Nameserver("127.0.0.1", 53),)
    assert servers(conf).current() == local
    conf.write_bytes(b"\xff\xfe\nnameserver\noptions ndots:1\n")
    assert servers(conf).current() == local
