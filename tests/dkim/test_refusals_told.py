"""What a verdict that is no pass still tells: the key's size, DNSSEC, the names as far as they can be told."""

from __future__ import annotations

import pytest

from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, key_answer
from phoenixdkim.dkim.results import Algorithm, DnssecStatus, Reason
from phoenixdkim.dkim.sign import Signer, SignOptions
from phoenixdkim.dkim.verify import Verifier
from phoenixdkim.keystore import public_record
from signed_mail import LIMITS, MESSAGE, NOW, ed_key, rsa_key, rsa_private, signatures, signed, verify

NAME = b"r._domainkey.example.com"
SIGNED = signed(MESSAGE, [rsa_key()])
RECORD = public_record(rsa_private())
SECURE = DnssecStatus.SECURE


@pytest.mark.parametrize(
    "message, answer, reason, bits",
    [
        (SIGNED, KeyAnswer(KeyOutcome.ABSENT, (), SECURE, Reason.NO_KEY), Reason.NO_KEY, None),
        (SIGNED, KeyAnswer(KeyOutcome.UNAVAILABLE, (), SECURE, Reason.DNS_UNAVAILABLE), Reason.DNS_UNAVAILABLE, None),
        (SIGNED, KeyAnswer(KeyOutcome.FOUND, (Reason.KEY_REVOKED,), SECURE), Reason.KEY_REVOKED, None),
        (SIGNED, key_answer([RECORD + b"; h=sha1"], SECURE, LIMITS), Reason.KEY_HASH_NOT_ALLOWED, 2048),
        (SIGNED + b"x\r\n", key_answer([RECORD], SECURE, LIMITS), Reason.BODY_HASH_MISMATCH, None),
        (
            SIGNED.replace(b"Suzie", b"Susan"),
            key_answer([RECORD + b"; t=y"], SECURE, LIMITS),
            Reason.SIGNATURE_MISMATCH,
            2048,
        ),
    ],
)
def test_every_verdict_has_what_the_answer_said(
    message: bytes, answer: KeyAnswer, reason: Reason, bits: int | None
) -> None:
    (verdict,) = verify(message, {NAME: answer})
    # Of a name without a key record there is none to vouch for.
    vouched = None if reason is Reason.NO_KEY else SECURE
    assert (verdict.reason, verdict.key_bits, verdict.dnssec) == (reason, bits, vouched)
    assert verdict.testing == (reason is Reason.SIGNATURE_MISMATCH)


def test_nothing_is_made_up_for_tags_that_are_missing() -> None:
    fields = [HeaderField(b"From", b" a@example.com"), HeaderField(b"DKIM-Signature", b"v=1; d=a.example")]
    (verdict,) = Verifier(fields, LIMITS, NOW).finish({})
    assert verdict.reason is Reason.MISSING_TAG
    assert (verdict.algorithm, verdict.domain, verdict.selector) == (Algorithm.OTHER, b"a.example", b"")
    assert (verdict.identity, verdict.b) == (b"@a.example", b"")


def test_a_refused_identity_is_told_as_it_stands() -> None:
    fields = [HeaderField(b"From", b" a@example.com"), HeaderField(b"DKIM-Signature", b'i="a @ b"@c d.example; x')]
    (verdict,) = Verifier(fields, LIMITS, NOW).finish({})
    assert verdict.identity == b'"a@b"@c d.example'
    fields[1] = HeaderField(b"DKIM-Signature", b"i=a b; x")
    assert Verifier(fields, LIMITS, NOW).finish({})[0].identity == b"a b"


def test_s07_an_identity_with_two_signs() -> None:
    """The local part of the last '@' is encoded, the domain is not."""
    (value,) = signatures(MESSAGE, [ed_key()], identity=b'"a@b"@example.com')
    assert value is not None
    assert b' i="a=40b"@example.com;' in value.replace(b"\r\n\t", b" ")


def names(options: SignOptions) -> bytes:
    (value,) = signatures(MESSAGE, [ed_key()], options)
    assert value is not None
    return value.replace(b"\r\n\t", b"").partition(b"h=")[2].partition(b";")[0]


def test_s02_a_name_given_twice_is_taken_once() -> None:
    options = SignOptions(signed=(b"FROM", b"To", b"TO", b"Date"), oversigned=(), oversigned_if_present=(b"DATE",))
    assert names(options) == b"From:From:To:Date:Date"


@pytest.mark.parametrize("value, signs", [(b" a@b", True), (b" a@b\n", False), (b" a\r@b", False)])
def test_s12_from_is_watched_whatever_is_signed(value: bytes, signs: bool) -> None:
    signer = Signer(
        [HeaderField(b"From", value)], [ed_key()], SignOptions(signed=(), oversigned=(), oversigned_if_present=()), NOW
    )
    assert (signer.finish()[0][1] is not None) == signs
    assert signer.bare_cr_or_lf != signs


@pytest.mark.parametrize(
    "limit, octets, signs", [(998, 998, True), (998, 999, False), (990, 990, True), (990, 991, False)]
)
@pytest.mark.parametrize("fold", [b"", b" 1\r\n"])
def test_s12_field_lines_of_998_octets(limit: int, octets: int, signs: bool, fold: bytes) -> None:
    first = b"" if fold else b"Subject:"
    text = b" " + b"x" * (octets - 1 - len(first))
    fields = [HeaderField(b"From", b" a@example.com"), HeaderField(b"Subject", fold + text)]
    signer = Signer(fields, [ed_key()], SignOptions(), NOW, limit)
    assert (signer.finish()[0][1] is not None) == signs
    assert signer.long_line != signs
