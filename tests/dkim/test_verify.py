from __future__ import annotations

import base64
import hashlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm, DnssecStatus, Reason, Result
from phoenixdkim.dkim.sign import SignOptions
from phoenixdkim.dkim.verify import FromPolicy, LengthPolicy, SignatureVerdict, Verifier, determinative
from phoenixdkim.keystore import public_record
from signed_mail import (
    LIMITS,
    MESSAGE,
    NOW,
    ed25519_private,
    ed_key,
    rsa_key,
    rsa_private,
    signatures,
    signed,
    verify,
    verify_fields,
    zone,
)

RSA, ED = rsa_key(), ed_key()
ZONE = zone(RSA, ED)
RSA_NAME, ED_NAME = tuple(ZONE)
BOTH = signed(MESSAGE, [RSA, ED])
HOW = [Canonicalization.SIMPLE, Canonicalization.RELAXED]


def one(message: bytes, records: object = ZONE, **options: object) -> SignatureVerdict:
    (verdict,) = verify(message, records, **options)  # type: ignore[arg-type]
    return verdict


def craft(tags: str = "", h: str = "from:to", body: bytes = b"text\r\n", length: int | None = None) -> bytes:
    """A message whose Ed25519 signature has just these tags, as no signer of ours would make it."""
    from phoenixdkim.dkim.headers import parse_message
    from phoenixdkim.dkim.selection import HeaderIndex

    fields, _ = parse_message(b"From: a@example.com\r\nTo: b@example.net\r\n\r\n")
    covered = body if length is None else body[:length]
    bh = base64.b64encode(hashlib.sha256(covered).digest()).decode()
    text = f" v=1; a=ed25519-sha256; d=example.com; s=e; h={h}; bh={bh}; {tags}b=".encode()
    digest = HeaderIndex(fields).digest(
        h.lower().split(":") and [name.encode() for name in h.lower().split(":")],
        Canonicalization.SIMPLE,
        HeaderField(b"DKIM-Signature", text),
        None,
    )
    b = base64.b64encode(ed25519_private().sign(digest))
    return b"DKIM-Signature:" + text + b + b"\r\nFrom: a@example.com\r\nTo: b@example.net\r\n\r\n" + body


def test_pass() -> None:
    verdicts = verify(BOTH, ZONE)
    assert [(v.result, v.reason, v.algorithm, v.selector, v.key_bits) for v in verdicts] == [
        (Result.PASS, Reason.VERIFIED, Algorithm.RSA_SHA256, b"r", 2048),
        (Result.PASS, Reason.VERIFIED, Algorithm.ED25519_SHA256, b"e", 256),
    ]


def test_unsigned_message_has_no_verdicts_and_needs_nothing() -> None:
    assert verify(MESSAGE, {}) == ()
    verifier = Verifier([HeaderField(b"From", b" a@b.example")], LIMITS, NOW)
    assert not verifier.needs_body and verifier.key_names == ()


@pytest.mark.parametrize("header_canon", HOW)
@pytest.mark.parametrize("body_canon", HOW)
@pytest.mark.parametrize("chunk", [0, 1, 7])
def test_every_canonicalization_in_pieces(
    header_canon: Canonicalization, body_canon: Canonicalization, chunk: int
) -> None:
    message = signed(MESSAGE, [RSA, ED], SignOptions(header_canon=header_canon, body_canon=body_canon))
    assert [v.result for v in verify(message, ZONE, chunk=chunk)] == [Result.PASS, Result.PASS]


@pytest.mark.parametrize(
    "old, new, reason",
    [
        (b"Are you", b"are you", Reason.BODY_HASH_MISMATCH),  # V10
        (b"SUBJECT:  Is", b"SUBJECT: Was", Reason.SIGNATURE_MISMATCH),
        (b"From: Joe", b"From: Jon", Reason.SIGNATURE_MISMATCH),
        (b"t=17", b"u=1; t=17", Reason.SIGNATURE_MISMATCH),  # C07
        (b"\r\nTo:", b"\r\nSubject: more\r\nTo:", Reason.SIGNATURE_MISMATCH),  # S03, M12
    ],
)
def test_v10_changed_message_fails(old: bytes, new: bytes, reason: Reason) -> None:
    assert old in BOTH
    for verdict in verify(BOTH.replace(old, new), ZONE):
        assert (verdict.result, verdict.reason) == (Result.FAIL, reason)


def test_changed_signature_value_fails() -> None:
    from phoenixdkim.dkim.headers import parse_message

    fields, body = parse_message(BOTH)
    for index in (0, 1):
        value = fields[index].value
        at = value.rindex(b"b=") + 10
        changed = value[:at] + (b"A" if value[at : at + 1] != b"A" else b"B") + value[at + 1 :]
        altered = [*fields[:index], HeaderField(fields[index].name, changed), *fields[index + 1 :]]
        verdicts = verify_fields(altered, body, ZONE)
        assert (verdicts[index].result, verdicts[1 - index].result) == (Result.FAIL, Result.PASS)


ED_ONLY = craft()


def test_craft_is_valid() -> None:
    assert one(ED_ONLY).result is Result.PASS


@pytest.mark.parametrize(
    "answer, result, reason",
    [
        (KeyAnswer(KeyOutcome.ABSENT), Result.PERMERROR, Reason.NO_KEY),  # D04
        (KeyAnswer(KeyOutcome.UNAVAILABLE), Result.TEMPERROR, Reason.DNS_UNAVAILABLE),  # D05
        (KeyAnswer(KeyOutcome.UNAVAILABLE, reason=Reason.LOOKUP_LIMIT), Result.TEMPERROR, Reason.LOOKUP_LIMIT),
        ([b"v=DKIM1; p="], Result.PERMERROR, Reason.KEY_REVOKED),  # D09
        ([b"junk"], Result.PERMERROR, Reason.KEY_RECORD_SYNTAX),  # D16
        ([public_record(rsa_private())], Result.PERMERROR, Reason.KEY_TYPE_MISMATCH),  # D07
        ([b"h=sha1; " + ZONE[ED_NAME][0].replace(b"v=DKIM1; ", b"")], Result.PERMERROR, Reason.KEY_HASH_NOT_ALLOWED),
        ([ZONE[ED_NAME][0] + b"; h=sha1:sha256"], Result.PASS, Reason.VERIFIED),  # D08
        ([ZONE[ED_NAME][0] + b"; t=s"], Result.PASS, Reason.VERIFIED),  # D11
        ([ZONE[ED_NAME][0] + b"; t=y"], Result.PASS, Reason.VERIFIED),  # D12
        ([b"v=spf1 -all", ZONE[ED_NAME][0]], Result.PASS, Reason.VERIFIED),  # D03
        ([public_record(rsa_private()), ZONE[ED_NAME][0]], Result.PASS, Reason.VERIFIED),
    ],
)
def test_key_answers(answer: KeyAnswer | list[bytes], result: Result, reason: Reason) -> None:
    verdict = one(ED_ONLY, {ED_NAME: answer})
    assert (verdict.result, verdict.reason) == (result, reason)


def test_d05_missing_answer_is_temporary() -> None:
    verifier = Verifier([HeaderField(b"DKIM-Signature", ED_ONLY[15:].partition(b"\r\n")[0])], LIMITS, NOW)
    assert verifier.finish({})[0].reason is Reason.NO_FROM
    from phoenixdkim.dkim.headers import parse_message

    fields, body = parse_message(ED_ONLY)
    verifier = Verifier(fields, LIMITS, NOW)
    verifier.body(body)
    assert verifier.finish({})[0].result is Result.TEMPERROR


def test_d03_tried_key_says_more_than_one_that_does_not_suit() -> None:
    message = ED_ONLY.replace(b"b@example.net", b"c@example.net")
    for records in ([public_record(rsa_private()), ZONE[ED_NAME][0]], [ZONE[ED_NAME][0], b"n=1;k=rsa;p=x"]):
        assert one(message, {ED_NAME: records}).reason is Reason.SIGNATURE_MISMATCH


def test_d11_strict_key_and_subdomain_identity() -> None:
    message = craft("i=a@sub.example.com; ")
    assert one(message).result is Result.PASS
    verdict = one(message, {ED_NAME: [ZONE[ED_NAME][0] + b"; t=s"]})
    assert (verdict.result, verdict.reason) == (Result.PERMERROR, Reason.KEY_SUBDOMAIN_FORBIDDEN)


def test_d12_testing_is_told() -> None:
    assert one(ED_ONLY, {ED_NAME: [ZONE[ED_NAME][0] + b"; t=y:s"]}).testing
    assert not one(ED_ONLY).testing


def test_dnssec_status_is_told() -> None:
    from phoenixdkim.dkim.keys import key_answer

    answer = key_answer(ZONE[ED_NAME], DnssecStatus.SECURE, LIMITS)
    assert one(ED_ONLY, {ED_NAME: answer}).dnssec is DnssecStatus.SECURE
    assert one(ED_ONLY, {}).dnssec is None


TAIL = craft("l=4; ", body=b"text and a forged tail\r\n", length=4)


@pytest.mark.parametrize(
    "policy, result, reason, detail",
    [
        (LengthPolicy.POLICY, Result.POLICY, Reason.UNSIGNED_TAIL, True),
        (LengthPolicy.REPORT, Result.PASS, Reason.VERIFIED, True),
        (LengthPolicy.ACCEPT, Result.PASS, Reason.VERIFIED, False),
    ],
)
def test_v19_k6_unsigned_tail(policy: LengthPolicy, result: Result, reason: Reason, detail: bool) -> None:
    verdict = one(TAIL, length_policy=policy)
    assert (verdict.result, verdict.reason, bool(verdict.detail)) == (result, reason, detail)


def test_v19_default_does_not_pass_a_tail_and_l_of_all_passes() -> None:
    assert one(TAIL).result is Result.POLICY
    assert one(craft("l=0; ", length=0)).result is Result.POLICY
    assert one(craft("l=6; ")).result is Result.PASS


def test_v18_length_beyond_body() -> None:
    verdict = one(craft("l=7; "))
    assert (verdict.result, verdict.reason) == (Result.PERMERROR, Reason.LENGTH_EXCEEDS_BODY)


def test_v19_forged_signature_over_a_tail_fails() -> None:
    verdict = one(TAIL.replace(b"b@example.net", b"c@example.net"))
    assert verdict.result is Result.FAIL


@pytest.mark.parametrize(
    "message, reason",
    [
        (BOTH.replace(b"\r\nTo:", b"\r\nFrom: Eve <eve@example.org>\r\nTo:"), Reason.MULTIPLE_FROM),  # K4
        (BOTH.replace(b"\r\nFrom: Joe", b"\r\nX-From: Joe"), Reason.NO_FROM),
        (b"X: y\r\n" * 1000 + BOTH, Reason.TOO_MANY_HEADER_FIELDS),  # M6
        (b"X: " + b"y" * 262144 + b"\r\n" + BOTH, Reason.HEADER_TOO_LARGE),
    ],
)
def test_k4_m6_reasons_of_the_whole_message(message: bytes, reason: Reason) -> None:
    verdicts = verify(message, ZONE)
    assert [v.reason for v in verdicts] == [reason, reason]
    assert all(v.result is not Result.PASS and v.domain == b"example.com" for v in verdicts)


@pytest.mark.parametrize(
    "policy, result, reason, detail",
    [
        (FromPolicy.POLICY, Result.POLICY, Reason.MULTIPLE_FROM, ""),
        (FromPolicy.PERMERROR, Result.PERMERROR, Reason.MULTIPLE_FROM, ""),
        (FromPolicy.REPORT, Result.PASS, Reason.VERIFIED, "several From fields"),
    ],
)
def test_k4_several_from_by_option(policy: FromPolicy, result: Result, reason: Reason, detail: str) -> None:
    """A second From above the signed one: h= names From once, so the signature still holds."""
    verdict = one(b"From: eve@example.org\r\n" + ED_ONLY, from_policy=policy)
    assert (verdict.result, verdict.reason, verdict.detail) == (result, reason, detail)
    assert one(ED_ONLY, from_policy=policy).result is Result.PASS


def test_k4_reported_several_from_with_an_unsigned_tail() -> None:
    message = b"From: eve@example.org\r\n" + TAIL
    verdict = one(message, from_policy=FromPolicy.REPORT)
    assert (verdict.result, verdict.reason) == (Result.POLICY, Reason.UNSIGNED_TAIL)
    verdict = one(message, from_policy=FromPolicy.REPORT, length_policy=LengthPolicy.REPORT)
    assert (verdict.result, verdict.detail) == (Result.PASS, "several From fields, unsigned text after signed body")


def test_hidden_name_is_neutral() -> None:
    assert {v.result for v in verify(BOTH, ZONE, hidden_name=True)} == {Result.NEUTRAL}


def test_m2_signatures_over_the_limit() -> None:
    """M2, K11: nothing is looked up or computed for them, and few rows are written."""
    junk = b"".join(
        b"DKIM-Signature: v=1; a=rsa-sha256; d=x%d.example; s=s; h=from; bh=QQ==; b=QQ==\r\n" % i for i in range(5000)
    )
    started = time.process_time()
    limits = Limits(max_header_fields=10_000, max_header_octets=10_000_000)
    verdicts = verify(BOTH.partition(b"Received")[0] + junk + MESSAGE, ZONE, limits=limits)
    assert time.process_time() - started < 1
    assert [v.result for v in verdicts[:2]] == [Result.PASS, Result.PASS]
    assert len(verdicts) <= 12
    assert (verdicts[-1].result, verdicts[-1].reason) == (Result.POLICY, Reason.TOO_MANY_SIGNATURES)


def test_m2_one_query_for_each_distinct_name() -> None:
    from phoenixdkim.dkim.headers import parse_message

    fields, _ = parse_message(signed(MESSAGE, [RSA, RSA, ED]))
    assert Verifier(fields, LIMITS, NOW).key_names == (RSA_NAME, ED_NAME)


def test_a13_verdicts_are_not_merged() -> None:
    evil = ed_key(b"evil.example", b"x")
    message = signed(MESSAGE, [evil, RSA]).replace(b"s=r;", b"s=q;")
    verdicts = verify(message, zone(evil))
    assert [(v.domain, v.result) for v in verdicts] == [
        (b"evil.example", Result.PASS),
        (b"example.com", Result.PERMERROR),
    ]


def test_refused_signature_still_names_its_domain() -> None:
    verdict = one(b"DKIM-Signature: v=1; a=rsa-sha1; d=example.com; s=r; h=from; b=QQ==; bh=QQ==\r\n" + MESSAGE)
    assert (verdict.algorithm, verdict.domain, verdict.result) == (Algorithm.RSA_SHA1, b"example.com", Result.PERMERROR)


@pytest.mark.parametrize(
    "tag, found",
    [
        (b"d=exam ple.com", (b"exam ple.com", b"s", b"@exam ple.com")),
        (b"d=" + b"a." * 122 + b"bank.example.evil.example", (b"", b"s", b"@")),
        (b"d=e.com; i=a b@c d", (b"e.com", b"s", b"ab@c d")),
        (b"d=e.com; i=" + b"a" * 1020 + b"@bank.example", (b"e.com", b"s", b"")),
    ],
)
def test_a13_refused_signature_names_no_other_domain(tag: bytes, found: tuple[bytes, bytes, bytes]) -> None:
    verdict = one(b"DKIM-Signature: v=1; a=rsa-sha256; s=s; h=from; b=QQ==; bh=QQ==; x=1; " + tag + b"\r\n" + MESSAGE)
    assert (verdict.domain, verdict.selector, verdict.identity) == found


def with_signature(raw: bytes) -> bytes:
    head, _, tail = ED_ONLY.partition(b"b=")
    while not head.endswith(b" "):
        more, _, tail = tail.partition(b"b=")
        head += b"b=" + more
    return head + b"b=" + base64.b64encode(raw) + b"\r\n" + tail.partition(b"\r\n")[2]


@pytest.mark.parametrize("raw", [b"\0" * 64, b"\0" * 63, b"\xff" * 64, b"\1" + b"\0" * 63, b"x", b"\0" * 65])
def test_m5_odd_ed25519_signatures(raw: bytes) -> None:
    assert one(with_signature(raw)).reason is Reason.SIGNATURE_MISMATCH


def test_m5_s_beyond_the_group_order() -> None:
    text = ED_ONLY.partition(b"; b=")[2].partition(b"\r\n")[0] if b"; b=" in ED_ONLY else b""
    raw = base64.b64decode(text)
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(raw[32:], "little") + order
    assert one(with_signature(raw)).result is Result.PASS
    assert one(with_signature(raw[:32] + s.to_bytes(32, "little"))).result is Result.FAIL


@pytest.mark.parametrize("size", [0, 1, 255, 257, 256, 4096])
def test_odd_rsa_signatures(size: int) -> None:
    value = signatures(MESSAGE, [RSA])[0]
    assert value is not None
    head = value[: value.rindex(b"b=") + 2]
    for octet in (b"\0", b"\xff"):
        message = b"DKIM-Signature:" + head + base64.b64encode(octet * size) + b"\r\n" + MESSAGE
        assert one(message).result in (Result.FAIL, Result.PERMERROR)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\r\n",
        b"DKIM-Signature:\r\n\r\n",
        b"DKIM-Signature",
        b"DKIM-Signature:;\r\n",
        b"From: a@b\r\nDKIM-Signature: \xff=\0\r\n",
    ],
)
def test_m9_m10_no_exception(message: bytes) -> None:
    assert all(v.result is Result.PERMERROR for v in verify(message, {}))


def test_m9_odd_octets_are_hashed_as_they_are() -> None:
    odd = MESSAGE.replace(b"Joe.", b"\x00\x0b\xff\xc3(").replace(b"Suzie", b"\xff\x0b\x00")
    assert [v.result for v in verify(signed(odd, [RSA, ED]), ZONE)] == [Result.PASS, Result.PASS]


def test_e01_e02_u_labels_need_an_internationalised_message() -> None:
    key = ed_key("exämple.com".encode(), "sél".encode())
    records = {b"xn--sl-bja._domainkey.xn--exmple-cua.com": [public_record(key.private)]}
    assert one(signed(MESSAGE, [key]), records).reason is Reason.BAD_DOMAIN
    international = MESSAGE.replace(b"Suzie", "Zoë".encode())
    verdict = one(signed(international, [key]), records)
    assert (verdict.result, verdict.domain) == (Result.PASS, "exämple.com".encode())


_OCTETS = st.sampled_from(
    [b"", b";", b"=", b":", b"@", b"\r\n ", b"\0", b"\xff", b" ", b"b=", b"h=", b"From", b"9" * 80]
)


@settings(max_examples=500, deadline=None)
@given(at=st.integers(0, 900), cut=st.integers(0, 12), new=_OCTETS | st.binary(max_size=6))
def test_m9_e04_any_change_gives_a_verdict(at: int, cut: int, new: bytes) -> None:
    """Changes anywhere in two signatures: each still gets a verdict, and nothing is raised."""
    verdicts = verify(BOTH[:at] + new + BOTH[at + cut :], ZONE)
    assert all(isinstance(verdict.result, Result) and verdict.reason in Reason for verdict in verdicts)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_m9_any_octets_are_a_message(data: bytes) -> None:
    for message in (data, b"DKIM-Signature: " + data, BOTH.partition(b"h=")[0] + data):
        assert not any(verdict.result is Result.PASS for verdict in verify(message, ZONE))


def verdict(result: Result, domain: bytes = b"") -> SignatureVerdict:
    return SignatureVerdict(result, Reason.VERIFIED, domain=domain)


@pytest.mark.parametrize(
    "results, chosen",
    [
        ([], None),
        ([Result.FAIL, Result.PASS, Result.TEMPERROR], 1),
        ([Result.PASS, Result.PASS], 0),
        ([Result.PERMERROR, Result.FAIL, Result.TEMPERROR], 2),
        ([Result.PERMERROR, Result.POLICY, Result.FAIL, Result.FAIL], 2),
        ([Result.NEUTRAL, Result.PERMERROR], 1),
    ],
)
def test_determinative(results: list[Result], chosen: int | None) -> None:
    verdicts = [verdict(result, b"%d" % index) for index, result in enumerate(results)]
    assert determinative(verdicts) == (None if chosen is None else verdicts[chosen])
