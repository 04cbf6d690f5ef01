"""The end of a message with its look-ups: kept keys, new keys, and a key that was replaced (N8)."""

from __future__ import annotations

import pytest

from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, key_answer
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dns import Resolver, ResolverOptions
from phoenixdkim.events import CacheResult, DnsCacheLookup, DnsQuery, DnsResponse, DnsResult
from phoenixdkim.keystore import public_record
from phoenixdkim.milter.judging import conclude
from phoenixdkim.milter.session import Client, MessageSession
from phoenixdkim.policy import Policy
from phoenixdkim.testing.dns_server import Behaviour, ScriptedDnsServer
from signed_mail import MESSAGE, NOW, ed_key, rsa_key, rsa_private, signed

KEY, OTHER = rsa_key(), ed_key()
NAME, OTHER_NAME = b"r._domainkey.example.com", b"e._domainkey.example.com"
RIGHT = public_record(KEY.private)
OLD = public_record(rsa_private(1024))
OTHER_RIGHT = public_record(OTHER.private)


@pytest.fixture
def server():
    with ScriptedDnsServer() as running:
        running.set_txt(NAME.decode(), OLD)
        running.set_txt(OTHER_NAME.decode(), OTHER_RIGHT)
        yield running


class Bench:
    """A resolver that has looked up both keys, a while ago."""

    def __init__(self, server: ScriptedDnsServer) -> None:
        self.now = 1000.0
        self.server = server
        options = ResolverOptions((server.address,), query_timeout=30, message_timeout=60, dnssec_probe="")
        self.resolver = Resolver(options, Limits(), lambda: self.now)
        self.resolver.look_up([NAME, OTHER_NAME], lambda *_: None)
        self.now += 60
        self.events: list[object] = []
        self.waits: list[None] = []
        self.resolver.about_to_wait = lambda: self.waits.append(None)
        self.asked = len(server.questions())

    def judge(self, message: bytes):
        """The verdicts on a message."""
        fields, body = parse_message(message)
        session = MessageSession(Policy(b"mx.example", signing=False), Client("192.0.2.1"), NOW)
        for field in fields:
            session.header(field.name, field.value)
        session.end_of_headers()
        session.body(body)
        self.events, self.waits = [], []
        outcome = conclude(session, self.resolver, lambda event, _seconds: self.events.append(event))
        return outcome.verdicts

    @property
    def new_questions(self) -> list[str]:
        return [question.name for question in self.server.questions()[self.asked :]]


@pytest.fixture
def bench(server):
    made = Bench(server)
    yield made
    made.resolver.close()


ASKED = [DnsQuery(), DnsResponse(DnsResult.SUCCESS)]
HIT = DnsCacheLookup(CacheResult.HIT)


def test_n8_a_replaced_key_is_asked_for_and_the_signature_passes(bench, server):
    server.set_txt(NAME.decode(), RIGHT)
    verdicts = bench.judge(signed(MESSAGE, [KEY]))
    assert [verdict.reason for verdict in verdicts] == [Reason.VERIFIED]
    assert bench.events == [HIT, *ASKED]
    assert bench.new_questions == [NAME.decode()]
    assert bench.judge(signed(MESSAGE, [KEY]))[0].reason is Reason.VERIFIED
    assert bench.events == [HIT]


def test_it_is_told_before_name_servers_are_waited_for(bench, server):
    third = ed_key(selector=b"third")
    server.set_txt("third._domainkey.example.com", public_record(third.private))
    bench.judge(signed(MESSAGE, [third]))
    assert (len(bench.new_questions), len(bench.waits)) == (1, 1)
    bench.judge(signed(MESSAGE, [third]))
    assert (len(bench.new_questions), len(bench.waits)) == (1, 0), "its key is kept"
    bench.judge(signed(MESSAGE, [KEY]))
    assert (len(bench.new_questions), len(bench.waits)) == (2, 1), "a kept key that may have been replaced"
    bench.judge(signed(MESSAGE, [KEY]))
    assert (len(bench.new_questions), len(bench.waits)) == (2, 0), "it was asked for just now"


def test_n8_only_the_doubtful_key_is_asked_for(bench, server):
    server.set_txt(NAME.decode(), RIGHT)
    verdicts = bench.judge(signed(MESSAGE, [KEY, OTHER]))
    assert [verdict.reason for verdict in verdicts] == [Reason.VERIFIED, Reason.VERIFIED]
    assert bench.events == [HIT, HIT, *ASKED]
    assert bench.new_questions == [NAME.decode()]


def test_n8_a_wrong_signature_stays_wrong_and_is_asked_for_once(bench, server):
    for _ in range(20):
        assert bench.judge(signed(MESSAGE, [KEY]))[0].reason is Reason.SIGNATURE_MISMATCH
    assert bench.new_questions == [NAME.decode()]


def test_n8_a_withdrawn_key_is_no_key(bench, server):
    server.set(NAME.decode(), Behaviour())
    verdict = bench.judge(signed(MESSAGE, [KEY]))[0]
    assert verdict.reason is Reason.NO_KEY


def test_n8_when_dns_fails_the_first_verdict_holds(bench, server):
    server.set(NAME.decode(), Behaviour(rcode=2))
    assert bench.judge(signed(MESSAGE, [KEY]))[0].reason is Reason.SIGNATURE_MISMATCH
    assert bench.events == [HIT, DnsQuery(), DnsResponse(DnsResult.ERROR)]


@pytest.mark.parametrize(
    "kept",
    [
        KeyAnswer(KeyOutcome.ABSENT, (), DnssecStatus.UNKNOWN, Reason.NO_KEY),
        key_answer([b"v=DKIM1; p="], DnssecStatus.UNKNOWN, Limits()),
        key_answer([OTHER_RIGHT], DnssecStatus.UNKNOWN, Limits()),
        key_answer([b"v=DKIM1; h=sha1; " + RIGHT.partition(b"; ")[2]], DnssecStatus.UNKNOWN, Limits()),
        KeyAnswer(KeyOutcome.UNAVAILABLE, (), DnssecStatus.UNAVAILABLE, Reason.DNS_UNAVAILABLE),
    ],
    ids=["absent", "revoked", "other-type", "other-hash", "unavailable"],
)
def test_n8_a_key_that_says_itself_that_it_is_of_no_use_is_not_doubted(bench, server, kept):
    server.set_txt(NAME.decode(), RIGHT)
    bench.resolver._cache.put(NAME, kept, 300, 0)
    assert bench.judge(signed(MESSAGE, [KEY]))[0].reason is not Reason.VERIFIED
    assert bench.new_questions == []


def test_n8_a_changed_body_is_no_reason_to_ask(bench, server):
    server.set_txt(NAME.decode(), RIGHT)
    assert bench.judge(signed(MESSAGE, [KEY]) + b"more\r\n")[0].reason is Reason.BODY_HASH_MISMATCH
    assert bench.new_questions == []


def test_n8_a_key_just_had_is_not_asked_for_again(bench, server):
    bench.now += 400
    assert bench.judge(signed(MESSAGE, [KEY]))[0].reason is Reason.SIGNATURE_MISMATCH
    assert bench.events == [DnsCacheLookup(CacheResult.MISS), *ASKED]


def test_n8_all_look_ups_share_the_time_of_the_message(bench, monkeypatch):
    deadlines = []

    def note(method):
        def noted(names, record, deadline=None):
            deadlines.append(deadline)
            bench.now += 5
            return method(names, record, deadline)

        return noted

    bench.now += 400
    monkeypatch.setattr(bench.resolver, "look_up", note(bench.resolver.look_up))
    monkeypatch.setattr(bench.resolver, "recheck", note(bench.resolver.recheck))
    until = bench.now + 60
    bench.judge(signed(MESSAGE, [KEY]))
    assert deadlines == [until, until]


def test_a_message_without_signature_asks_for_nothing(bench):
    assert bench.judge(MESSAGE) == ()
    assert bench.events == []


def test_an_absent_key_that_is_kept_is_a_negative_hit(bench, server):
    server.set(NAME.decode(), Behaviour(soa_minimum=300))
    bench.now += 400
    bench.judge(signed(MESSAGE, [KEY]))
    bench.judge(signed(MESSAGE, [KEY]))
    assert bench.events == [DnsCacheLookup(CacheResult.NEGATIVE_HIT)]
