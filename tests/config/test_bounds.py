"""Each bound has a reason of its own, and a message that is just over it gets that reason, one just under it does not.

The second half shows that a bound holds before the work that it bounds: that work is made to fail the test.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import milter
import pytest

from phoenixdkim.config.bounds import BOUNDS
from phoenixdkim.config.model import LimitsTable
from phoenixdkim.config.sample import options, tables
from phoenixdkim.dkim import keys, signature, verify
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.dkim.keys import KeyRecordError, key_answer, parse_key_record
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason, UnsignedReason
from phoenixdkim.dkim.verify import Verifier
from phoenixdkim.dns import Resolver, ResolverOptions, exchange
from phoenixdkim.keystore import public_record
from phoenixdkim.ledger import Ledger, families
from phoenixdkim.log import Destination, Log
from phoenixdkim.metrics import Snapshot
from phoenixdkim.milter.pymilter_engine import Engine, EngineOptions
from phoenixdkim.policy import Policy
from phoenixdkim.testing.dns_server import Behaviour, ScriptedDnsServer, txt
from signed_mail import MESSAGE, NOW, rsa_private, signed, zone
from signed_mail import ed_key as make_ed_key
from signed_mail import verify as verdicts_of

ED = make_ed_key()
ZONE = zone(ED)
(NAME,) = ZONE
SIGNED = signed(MESSAGE, [ED])
FIELDS = len(parse_message(SIGNED)[0])
OCTETS = len(SIGNED.partition(b"\r\n\r\n")[0]) + 2
VALUE = parse_message(SIGNED)[0][0].value
RECORD = ZONE[NAME][0]
EXPIRES = SIGNED.replace(b"t=%d" % NOW, b"x=%d; t=%d" % (NOW + 1, NOW))


def message(limits: Limits, data: bytes = SIGNED, now: int = NOW, records: Any = ZONE) -> set[Reason]:
    return {verdict.reason for verdict in verdicts_of(data, records, limits=limits, now=now)}


def record(limits: Limits, *texts: bytes) -> set[Reason]:
    return {entry for entry in key_answer(texts, DnssecStatus.UNKNOWN, limits).keys if isinstance(entry, Reason)}


def look_up(count: int = 1, delay: float = 0.0, size: int = 100, **given: Any) -> set[Reason]:
    """Reasons of so many look-ups at one server, which answers each after ``delay`` with ``size`` octets."""
    with ScriptedDnsServer() as server:
        names = [b"s%d._domainkey.example.com" % number for number in range(count)]
        for name in names:
            server.set(name.decode(), Behaviour(records=(txt(b"n=" + b"x" * size),), delay=delay))
        resolver = Resolver(ResolverOptions(nameservers=(server.address,), **given), Limits())
        try:
            answers = resolver.look_up(names, lambda event, seconds: None)
        finally:
            resolver.close()
    return {
        reason for answer in answers.values() for reason in (answer.reason, *answer.keys) if isinstance(reason, Reason)
    }


class Context:
    """As much of libmilter's context as one message without header needs."""

    def __init__(self) -> None:
        self.private: object = None

    def setpriv(self, value: object) -> None:
        self.private = value

    def getpriv(self) -> object:
        return self.private

    def getsymval(self, name: str) -> None:
        return None

    def addheader(self, *arguments: object) -> None:
        pass

    setreply = addheader


def sessions(most: int) -> set[UnsignedReason]:
    """What a worker with so many sessions at most counts when two are open and the second brings a message."""
    ledger = Ledger()
    engine = Engine(
        Policy(b"mx.example"),
        Resolver(ResolverOptions(), Limits()),
        ledger.writer(0),
        Log(Destination.STDERR),
        EngineOptions(max_sessions=most),
    )
    contexts = [Context(), Context()]
    for context in contexts:
        assert engine.negotiate(context, [0x1FF, 0x1FFFFF, 0, 0]) == milter.CONTINUE
    engine.eom(contexts[1])
    snapshot = Snapshot(tuple(families(ledger, ledger.totals(), "v")))
    os.close(ledger.fd)
    return {
        reason
        for reason in (UnsignedReason.OVERLOADED,)
        if snapshot.value("phoenixdkim_unsigned_messages_total", reason=reason)
    }


Reasons = set[Reason] | set[UnsignedReason]
Case = tuple[Callable[[], Reasons], Callable[[], Reasons]]
BITS = rsa_private().key_size
RSA = public_record(rsa_private())

CASES: dict[str, Case] = {
    "limits.max_signatures": (
        lambda: message(Limits(max_signatures=1), signed(MESSAGE, [ED, ED])),
        lambda: message(Limits(max_signatures=2), signed(MESSAGE, [ED, ED])),
    ),
    "limits.max_header_fields": (
        lambda: message(Limits(max_header_fields=FIELDS - 1)),
        lambda: message(Limits(max_header_fields=FIELDS)),
    ),
    "limits.max_header_octets": (
        lambda: message(Limits(max_header_octets=OCTETS - 1)),
        lambda: message(Limits(max_header_octets=OCTETS)),
    ),
    "limits.max_signature_octets": (
        lambda: message(Limits(max_signature_octets=len(VALUE) - 1)),
        lambda: message(Limits(max_signature_octets=len(VALUE))),
    ),
    "limits.max_tags": (lambda: message(Limits(max_tags=8)), lambda: message(Limits(max_tags=9))),
    "limits.max_signed_fields": (
        lambda: message(Limits(max_signed_fields=VALUE.partition(b"h=")[2].partition(b";")[0].count(b":"))),
        lambda: message(Limits(max_signed_fields=VALUE.partition(b"h=")[2].partition(b";")[0].count(b":") + 1)),
    ),
    "limits.max_key_records": (
        lambda: message(Limits(max_key_records=1), records={NAME: [RECORD, b"v=spf1 -all"]}),
        lambda: message(Limits(max_key_records=2), records={NAME: [RECORD, b"v=spf1 -all"]}),
    ),
    "limits.max_key_record_octets": (
        lambda: message(Limits(max_key_record_octets=len(RECORD) - 1)),
        lambda: message(Limits(max_key_record_octets=len(RECORD))),
    ),
    "limits.min_rsa_bits": (
        lambda: record(Limits(min_rsa_bits=BITS + 1), RSA),
        lambda: record(Limits(min_rsa_bits=BITS), RSA),
    ),
    "limits.max_rsa_bits": (
        lambda: record(Limits(max_rsa_bits=BITS - 1), RSA),
        lambda: record(Limits(max_rsa_bits=BITS), RSA),
    ),
    "limits.max_exponent_bits": (
        lambda: record(Limits(max_exponent_bits=16), RSA),
        lambda: record(Limits(max_exponent_bits=17), RSA),
    ),
    "limits.clock_drift": (
        lambda: (
            message(Limits(clock_drift=300), now=NOW - 301) | message(Limits(clock_drift=300), EXPIRES, now=NOW + 302)
        ),
        lambda: (
            message(Limits(clock_drift=300), now=NOW - 300) | message(Limits(clock_drift=300), EXPIRES, now=NOW + 301)
        ),
    ),
    "dns.query_timeout": (
        lambda: look_up(delay=2.0, query_timeout=0.05, message_timeout=30.0),
        lambda: look_up(delay=0.0, query_timeout=10.0, message_timeout=30.0),
    ),
    "dns.message_timeout": (
        lambda: look_up(delay=2.0, query_timeout=10.0, message_timeout=0.1),
        lambda: look_up(delay=0.0, query_timeout=10.0, message_timeout=30.0),
    ),
    "dns.max_answer_octets": (
        lambda: look_up(size=2000, max_answer_octets=2000, query_timeout=10.0, message_timeout=30.0),
        lambda: look_up(size=2000, max_answer_octets=2200, query_timeout=10.0, message_timeout=30.0),
    ),
    "dns.max_concurrent": (
        lambda: look_up(count=3, delay=0.6, max_concurrent=1, query_timeout=10.0, message_timeout=0.9),
        lambda: look_up(count=3, delay=0.1, max_concurrent=3, query_timeout=10.0, message_timeout=30.0),
    ),
    "milter.max_sessions": (lambda: sessions(1), lambda: sessions(2)),
}


def test_each_limit_has_a_bound_and_each_bound_is_an_option() -> None:
    known = {f"{header.strip('[]')}.{name}" for header, kind, _ in tables() for name, _ in options(kind)}
    assert {f"limits.{name}" for name in LimitsTable.model_fields} <= set(BOUNDS) <= known


def test_no_two_bounds_share_a_reason() -> None:
    reasons = [reason for bound in BOUNDS.values() for reason in bound.reasons]
    assert reasons
    assert len(reasons) == len(set(reasons))
    assert all(bound.reasons and bound.why.endswith(".") for bound in BOUNDS.values())


def test_each_bound_has_a_case() -> None:
    assert set(CASES) == set(BOUNDS)


@pytest.mark.parametrize("option", CASES)
def test_over_it_has_its_reason_and_under_it_has_not(option: str) -> None:
    over, under = CASES[option]
    reasons = set(BOUNDS[option].reasons)
    assert reasons <= set(over())
    assert not reasons & set(under())


class Reached(Exception):
    """The work that a bound should have spared was begun."""


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Callable[[object, str], None]:
    def spring(*arguments: object, **named: object) -> None:
        raise Reached

    return lambda module, name: monkeypatch.setattr(module, name, spring)


def refused(*texts: bytes, **limits: int) -> Reason:
    with pytest.raises(KeyRecordError) as caught:
        parse_key_record(texts[0], Limits(**limits))
    return caught.value.reason


def test_signatures_over_the_limit_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = verify.parse_signature
    monkeypatch.setattr(verify, "parse_signature", lambda field, *rest: read.append(field) or real(field, *rest))
    many = b"".join(
        b"DKIM-Signature: v=1; a=rsa-sha256; d=d%d.example; s=s; h=from; bh=QQ==; b=QQ==\r\n" % n for n in range(50)
    )
    fields, _ = parse_message(many + MESSAGE)
    verifier = Verifier(fields, Limits(max_signatures=3), NOW)
    assert len(read) == 3
    assert len(verifier.key_names) == 3


def test_header_over_the_limit_is_not_hashed(forbid: Callable[[object, str], None]) -> None:
    forbid(verify, "BodyDigests")
    forbid(verify.HeaderIndex, "digest")
    for limits in (Limits(max_header_fields=2), Limits(max_header_octets=100)):
        verifier = Verifier(parse_message(SIGNED)[0], limits, NOW)
        assert (verifier.key_names, verifier.needs_body) == ((), False)


def test_signature_over_the_limit_is_not_taken_apart(forbid: Callable[[object, str], None]) -> None:
    forbid(signature, "parse_tag_list")
    assert message(Limits(max_signature_octets=100)) == {Reason.SIGNATURE_TOO_LARGE}


def test_tags_are_counted_before_they_are_read() -> None:
    # The first tag's name is none: it would be the reason if it had been looked at.
    data = b"DKIM-Signature: ?=1" + b";a=1" * 100 + b"\r\n" + MESSAGE
    assert message(Limits(max_tags=64), data) == {Reason.TOO_MANY_TAGS}
    assert refused(b"?=1" + b";a=1" * 100, max_tags=64) is Reason.TOO_MANY_TAGS


def test_signed_fields_are_counted_before_they_are_read() -> None:
    data = SIGNED.replace(b"h=From", b"h=" + b"?\0:" * 300 + b"From")
    assert message(Limits(), data) == {Reason.TOO_MANY_SIGNED_FIELDS}


def test_key_records_over_the_limit_are_not_read(forbid: Callable[[object, str], None]) -> None:
    forbid(keys, "parse_key_record")
    assert record(Limits(max_key_records=8), *(b"n=%d" % number for number in range(9))) == {
        Reason.MULTIPLE_KEY_RECORDS
    }


def test_key_record_over_the_limit_is_not_taken_apart(forbid: Callable[[object, str], None]) -> None:
    forbid(keys, "parse_tag_list")
    assert refused(RSA, max_key_record_octets=100) is Reason.KEY_RECORD_TOO_LARGE


def test_rsa_numbers_are_judged_before_they_are_computed_with(forbid: Callable[[object, str], None]) -> None:
    forbid(keys, "RSAPublicNumbers")
    assert refused(RSA, min_rsa_bits=4096) is Reason.KEY_TOO_SMALL
    assert refused(RSA, max_rsa_bits=1024) is Reason.KEY_TOO_LARGE
    assert refused(RSA, max_exponent_bits=16) is Reason.KEY_EXPONENT
    with pytest.raises(Reached):
        parse_key_record(RSA, Limits())


def test_dns_answer_over_the_limit_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = exchange._parse

    def only_the_question(wire: bytes, *, question_only: bool) -> object:
        if not question_only:
            raise Reached
        return real(wire, question_only=True)

    monkeypatch.setattr(exchange, "_parse", only_the_question)
    assert look_up(size=1000, max_answer_octets=600, query_timeout=10.0, message_timeout=30.0) == {
        Reason.DNS_ANSWER_TOO_LARGE
    }
