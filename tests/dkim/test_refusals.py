"""Why a signature or a key record is refused, word for word: the log and ``verify`` show these."""

from __future__ import annotations

import base64

import pytest

from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, KeyRecordError, parse_key_record
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm, DnssecStatus, Reason, Result
from phoenixdkim.dkim.signature import SignatureError, parse_signature
from phoenixdkim.dkim.tags import TagListError, parse_tag_list
from phoenixdkim.dkim.verify import SignatureVerdict, Verifier
from signed_mail import LIMITS, MESSAGE, NOW, rsa_key, signed, verify


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def number(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


MODULUS = (1 << 1023) | 1
NUMBERS = der(0x30, number(MODULUS) + number(65537))
ALGORITHM = der(0x30, bytes.fromhex("06092a864886f70d010101") + b"\5\0")
EC = der(0x30, bytes.fromhex("06072a8648ce3d0201"))
POSITIVE = b"\2\x81\x80\x7f" + b"\1" * 127


def spki(algorithm: bytes = ALGORITHM, bits: bytes = b"\0" + NUMBERS, inside: bytes = b"", tail: bytes = b"") -> bytes:
    return der(0x30, algorithm + der(3, bits) + inside) + tail


@pytest.mark.parametrize(
    "key, reason, words",
    [
        (spki(tail=b"\0"), Reason.KEY_MALFORMED, "octets after the key"),
        (spki(algorithm=EC), Reason.KEY_MALFORMED, "no RSA key"),
        (spki(bits=b"\1" + NUMBERS), Reason.KEY_MALFORMED, "a malformed bit string"),
        (spki(inside=b"\0"), Reason.KEY_MALFORMED, "a malformed bit string"),
        (spki(bits=b""), Reason.KEY_MALFORMED, "a malformed bit string"),
        (spki(bits=b"\0" + NUMBERS + b"\0"), Reason.KEY_MALFORMED, "octets after the key"),
        (spki(bits=b"\0"), Reason.KEY_MALFORMED, "unexpected DER element"),
        (NUMBERS + b"\0", Reason.KEY_MALFORMED, "octets after the key"),
        (der(0x30, POSITIVE + number(3) + b"\0"), Reason.KEY_MALFORMED, "malformed numbers"),
        (der(0x30, b"\2\0" + number(3)), Reason.KEY_MALFORMED, "malformed numbers"),
        (der(0x30, POSITIVE + b"\2\0"), Reason.KEY_MALFORMED, "malformed numbers"),
        (der(0x30, b"\2\x81\x80" + b"\xff" * 128 + number(3)), Reason.KEY_MALFORMED, "malformed numbers"),
        (der(0x30, POSITIVE + b"\2\1\x83"), Reason.KEY_MALFORMED, "malformed numbers"),
        (der(0x30, number(MODULUS)), Reason.KEY_MALFORMED, "unexpected DER element"),
        (b"\x31\0", Reason.KEY_MALFORMED, "unexpected DER element"),
        (b"\x30", Reason.KEY_MALFORMED, "index out of range"),
        (b"\x30\x80\0\0", Reason.KEY_MALFORMED, "unusable DER length"),
        (b"\x30\x84\0\0\0\0", Reason.KEY_MALFORMED, "unusable DER length"),
        (b"\x30\x83\0\0\1", Reason.KEY_MALFORMED, "truncated DER"),
        (b"\x30\2\2", Reason.KEY_MALFORMED, "truncated DER"),
        (der(0x30, number(1 << 1022) + number(65537)), Reason.KEY_TOO_SMALL, "1023 bits"),
        (der(0x30, number((1 << 8192) | 1) + number(65537)), Reason.KEY_TOO_LARGE, "8193 bits"),
        (der(0x30, number(1 << 1023) + number(65537)), Reason.KEY_MALFORMED, "an even modulus"),
        (der(0x30, number(MODULUS) + number(1)), Reason.KEY_EXPONENT, "key-exponent"),
        (der(0x30, number(MODULUS) + number(65536)), Reason.KEY_EXPONENT, "key-exponent"),
        (der(0x30, number(MODULUS) + number((1 << 32) | 1)), Reason.KEY_EXPONENT, "key-exponent"),
    ],
)
def test_m3_m4_the_key_itself(key: bytes, reason: Reason, words: str) -> None:
    with pytest.raises(KeyRecordError) as refused:
        parse_key_record(b"p=" + base64.b64encode(key), LIMITS)
    assert (refused.value.reason, str(refused.value)) == (reason, words)


@pytest.mark.parametrize("exponent", [3, 65537, (1 << 31) | 1, (1 << 32) - 1])
def test_m4_exponents_that_are_computed_with(exponent: int) -> None:
    key = parse_key_record(b"p=" + base64.b64encode(der(0x30, number(MODULUS) + number(exponent))), LIMITS)
    assert key.bits == 1024


def test_d15_both_forms_are_the_same_key() -> None:
    plain = parse_key_record(b"p=" + base64.b64encode(NUMBERS), LIMITS)
    assert plain == parse_key_record(b"p=" + base64.b64encode(spki()), LIMITS)


@pytest.mark.parametrize(
    "record, reason, words",
    [
        (b"k=rsa", Reason.KEY_RECORD_SYNTAX, "no p="),
        (b"p=A;p=A", Reason.KEY_RECORD_SYNTAX, "tag p twice"),
        (b"p=A;junk", Reason.KEY_RECORD_SYNTAX, "a tag without '='"),
        (b"p=A;1a=", Reason.KEY_RECORD_SYNTAX, "a tag name that is none"),
        (b"p=A;_a=", Reason.KEY_RECORD_SYNTAX, "a tag name that is none"),
        (b"".join(b"a%d=;" % number for number in range(65)), Reason.TOO_MANY_TAGS, "more than 64 tags"),
        (b"p=A", Reason.KEY_MALFORMED, "p= is no base64"),
        (b"p=AAAA====", Reason.KEY_MALFORMED, "p= is no base64"),
        (b"k=ed25519;p=AAAA", Reason.KEY_MALFORMED, "no Ed25519 public key"),
        (b"k=ed25519;p=" + base64.b64encode(bytes(32)), Reason.KEY_MALFORMED, "no Ed25519 public key"),
        (b"p=", Reason.KEY_REVOKED, "key-revoked"),
        (b"v=DKIM2;p=A", Reason.KEY_VERSION, "key-version"),
        (b"n=;v=DKIM1;p=A", Reason.KEY_VERSION, "key-version"),
        (b"k=x;p=A", Reason.KEY_TYPE_UNKNOWN, "key-type-unknown"),
        (b"s=x;p=A", Reason.KEY_SERVICE_MISMATCH, "key-service-mismatch"),
        (b"p=" + b"A" * 4095, Reason.KEY_RECORD_TOO_LARGE, "key-record-too-large"),
    ],
)
def test_d16_the_record(record: bytes, reason: Reason, words: str) -> None:
    with pytest.raises(KeyRecordError) as refused:
        parse_key_record(record, LIMITS)
    assert (refused.value.reason, str(refused.value)) == (reason, words)


def test_v02_tag_lists_of_the_greatest_length() -> None:
    assert len(parse_tag_list(b"".join(b"a%d=;" % number for number in range(64)) + b" ", 64)) == 64
    with pytest.raises(TagListError) as refused:
        parse_tag_list(b"".join(b"a%d=;" % number for number in range(65)), 64)
    assert (refused.value.reason, str(refused.value)) == (Reason.TOO_MANY_TAGS, "more than 64 tags")


VALID = {
    "v": "1",
    "a": "rsa-sha256",
    "d": "example.com",
    "s": "sel",
    "h": "from",
    "bh": "AAAA",
    "b": "AAAA",
}


def field(**changes: str | None) -> HeaderField:
    tags = {**VALID, **changes}
    return HeaderField(b"DKIM-Signature", "; ".join(f"{n}={v}" for n, v in tags.items() if v is not None).encode())


@pytest.mark.parametrize(
    "changes, reason, detail",
    [
        *[({name: None}, Reason.MISSING_TAG, f"no {name}=") for name in VALID],
        ({"b": "A"}, Reason.BAD_BASE64, "b= is no base64"),
        ({"bh": "A"}, Reason.BAD_BASE64, "bh= is no base64"),
        ({"b": ""}, Reason.BAD_BASE64, "b= is empty"),
        ({"bh": " "}, Reason.BAD_BASE64, "bh= is empty"),
        ({"t": "5", "x": "5"}, Reason.BAD_EXPIRATION, "x= is not after t="),
        ({"h": ":".join(["from"] * 257)}, Reason.TOO_MANY_SIGNED_FIELDS, "more than 256 names"),
        ({"z": "\r"}, Reason.TAG_LIST_SYNTAX, "a bare CR or LF"),
        ({"z": "\n"}, Reason.TAG_LIST_SYNTAX, "a bare CR or LF"),
        ({"z": ";q"}, Reason.TAG_LIST_SYNTAX, "a tag without '='"),
        ({"V": ";v=1"}, Reason.DUPLICATE_TAG, "tag v twice"),
        ({"v": "2"}, Reason.BAD_VERSION, ""),
        ({"a": "x"}, Reason.UNKNOWN_ALGORITHM, ""),
        ({"a": "rsa-sha1"}, Reason.WEAK_ALGORITHM, ""),
        ({"d": "com"}, Reason.BAD_DOMAIN, ""),
        ({"x": str(NOW - 301)}, Reason.EXPIRED, ""),
        ({"t": str(NOW + 301)}, Reason.FUTURE_TIMESTAMP, ""),
    ],
)
def test_v05_v09_the_signature(changes: dict[str, str | None], reason: Reason, detail: str) -> None:
    with pytest.raises(SignatureError) as refused:
        parse_signature(field(**changes), LIMITS, NOW)
    assert (refused.value.reason, refused.value.detail) == (reason, detail)
    assert str(refused.value) == (detail or reason.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"x": str(NOW - 300)},
        {"t": str(NOW + 300)},
        {"t": "5", "x": str(NOW)},
        {"x": "9" * 76},
        {"h": ":".join(["from"] * 256)},
        {"l": "0"},
    ],
)
def test_v22_v23_just_within(changes: dict[str, str | None]) -> None:
    assert parse_signature(field(**changes), LIMITS, NOW).key_name == b"sel._domainkey.example.com"


def refused_verdict(value: bytes) -> SignatureVerdict:
    fields = [HeaderField(b"From", b" a@example.com"), HeaderField(b"DKIM-Signature", value)]
    (verdict,) = Verifier(fields, LIMITS, NOW).finish({})
    return verdict


def test_a_list_that_can_not_be_read_is_reported_as_far_as_it_goes() -> None:
    text = b"a=rsa-sha256; d=a.example; s = s1 ; d=b.example; i=x=20y@a.example; b=AB CD; Xq=1; \x0bt=; n=vX; junk"
    assert refused_verdict(text) == SignatureVerdict(
        Result.PERMERROR,
        Reason.DUPLICATE_TAG,
        Algorithm.RSA_SHA256,
        b"a.example",
        b"s1",
        b"x=20y@a.example",
        b"ABCD",
        detail="tag d twice",
    )
    assert refused_verdict(b"\x0bd=evil.example; Xd=evil.example; d=a.exampleX;junk").domain == b"a.exampleX"
    assert refused_verdict(b"a;" * 63 + b"d=a.example").domain == b"a.example"
    assert refused_verdict(b"a;" * 64 + b"d=a.example").domain == b""
    assert refused_verdict(b"a" * 4088 + b";d=abcdefghij;junk").domain == b"abcde"


@pytest.mark.parametrize("over", [0, 1])
def test_a12_what_is_too_long_to_report_is_left_out(over: int) -> None:
    parts = (b"d", 253), (b"s", 253), (b"i", 1024), (b"b", 1024)
    found = refused_verdict(b";".join(name + b"=" + name * (most + over) for name, most in parts) + b";junk")
    assert (found.domain, found.selector, found.identity) == (
        (b"", b"", b"") if over else (b"d" * 253, b"s" * 253, b"i" * 1024)
    )
    assert found.b == b"b" * 1024
    assert (found.algorithm, found.detail) == (Algorithm.OTHER, "a tag without '='")


def test_a_key_fault_with_a_changed_body_keeps_what_dnssec_said() -> None:
    message = signed(MESSAGE, [rsa_key()]) + b"more\r\n"
    answer = KeyAnswer(KeyOutcome.FOUND, (Reason.KEY_REVOKED,), DnssecStatus.SECURE)
    (verdict,) = verify(message, {b"r._domainkey.example.com": answer})
    assert (verdict.reason, verdict.dnssec) == (Reason.KEY_REVOKED, DnssecStatus.SECURE)


def test_limits_are_those_of_the_caller() -> None:
    with pytest.raises(KeyRecordError, match="1024 bits"):
        parse_key_record(b"p=" + base64.b64encode(NUMBERS), Limits(min_rsa_bits=1025))
    with pytest.raises(KeyRecordError, match="1024 bits"):
        parse_key_record(b"p=" + base64.b64encode(NUMBERS), Limits(max_rsa_bits=1023))
