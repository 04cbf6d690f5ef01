from __future__ import annotations

import base64
import itertools
import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from phoenixdkim.dkim.keys import KeyOutcome, KeyRecord, KeyRecordError, KeyType, key_answer, parse_key_record
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from signed_mail import LIMITS, ed25519_private, rsa_private

SPKI = rsa_private().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
PKCS1 = rsa_private().public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
ED = ed25519_private().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
P = b"p=" + base64.b64encode(SPKI)
RSA = b"v=DKIM1; k=rsa; " + P


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def number(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def made(modulus: int, exponent: int = 65537, tail: bytes = b"") -> bytes:
    return b"p=" + base64.b64encode(der(0x30, number(modulus) + number(exponent)) + tail)


@pytest.mark.parametrize(
    "record",
    [
        RSA,
        P,  # D06, D07: v= and k= may be absent
        b"p=" + base64.b64encode(PKCS1),  # D15
        b"v=DKIM1; " + P + b";",
        b"v=DKIM1; n=note; g=*; x=y; " + P,  # D13
        b"v=DKIM1; s=email; " + P,  # D10
        b"v=DKIM1; s=other : * ; " + P,
        b"p = " + b" \r\n ".join(base64.b64encode(SPKI)[i : i + 60] for i in range(0, 400, 60)),
    ],
)
def test_d06_d07_d10_d13_d15_usable(record: bytes) -> None:
    key = parse_key_record(record, LIMITS)
    assert (key.type, key.bits, key.strict, key.testing, key.hashes) == (KeyType.RSA, 2048, False, False, None)


def test_d08_d11_d12_flags() -> None:
    key = parse_key_record(b"v=DKIM1; h=sha1 : sha256; t=y : s; " + P, LIMITS)
    assert (key.hashes, key.strict, key.testing) == (frozenset((b"sha1", b"sha256")), True, True)


def test_v01_d08_hashes_and_flags_are_told_apart_by_case() -> None:
    key = parse_key_record(b"v=DKIM1; h=SHA256:sha 256; t=Y:S; " + P, LIMITS)
    assert key.hashes is not None and b"sha256" not in key.hashes
    assert not key.strict and not key.testing


def test_d14_ed25519() -> None:
    key = parse_key_record(b"k=ed25519; p=" + base64.b64encode(ED), LIMITS)
    assert (key.type, key.bits) == (KeyType.ED25519, 256)


N = rsa_private().public_key().public_numbers().n


@pytest.mark.parametrize(
    "record, reason",
    [
        (b"", Reason.KEY_RECORD_SYNTAX),  # D16
        (b"hello", Reason.KEY_RECORD_SYNTAX),
        (b"v=spf1 include:example.com -all", Reason.KEY_VERSION),
        (b"v=DKIM2; " + P, Reason.KEY_VERSION),  # D06
        (b"v=dkim1; " + P, Reason.KEY_VERSION),
        (P + b"; v=DKIM1", Reason.KEY_VERSION),
        (b"v=DKIM1; k=rsa", Reason.KEY_RECORD_SYNTAX),  # D09
        (b"v=DKIM1; p=", Reason.KEY_REVOKED),
        (b"v=DKIM1; p= \t ;", Reason.KEY_REVOKED),
        (P + b"; " + P, Reason.KEY_RECORD_SYNTAX),  # V02
        (b"k=dsa; " + P, Reason.KEY_TYPE_UNKNOWN),  # D07
        (b"k=RSA; " + P, Reason.KEY_TYPE_UNKNOWN),  # V01
        (b"s=EMAIL; " + P, Reason.KEY_SERVICE_MISMATCH),  # V01
        (b"s=e mail; " + P, Reason.KEY_SERVICE_MISMATCH),
        (b"s=tlsrpt; " + P, Reason.KEY_SERVICE_MISMATCH),  # D10
        (b"p=!!!!", Reason.KEY_MALFORMED),
        (b"p=\xff\xfe", Reason.KEY_MALFORMED),
        (b"p=QUJD", Reason.KEY_MALFORMED),
        (b"p=" + base64.b64encode(SPKI[:-1]), Reason.KEY_MALFORMED),  # M4
        (b"p=" + base64.b64encode(SPKI + b"x"), Reason.KEY_MALFORMED),
        (b"p=MIA=", Reason.KEY_MALFORMED),
        (b"p=MA==", Reason.KEY_MALFORMED),
        (b"k=ed25519; " + P, Reason.KEY_MALFORMED),  # D14
        pytest.param(b"k=ed25519; p=" + base64.b64encode(ED[:31]), Reason.KEY_MALFORMED, id="31 octets"),
        pytest.param(b"k=rsa; p=" + base64.b64encode(ED), Reason.KEY_MALFORMED, id="Ed25519 for RSA"),
        (made(N - 1), Reason.KEY_MALFORMED),  # M4: even
        (made(0), Reason.KEY_TOO_SMALL),
        (made(N, 1), Reason.KEY_EXPONENT),
        (made(N, 0), Reason.KEY_EXPONENT),
        (made(N, 65536), Reason.KEY_EXPONENT),
        (made(N, 2**32 + 1), Reason.KEY_EXPONENT),  # M3
        (made(N, 65537, b"\0"), Reason.KEY_MALFORMED),
        (b"p=" + base64.b64encode(der(0x30, der(2, b"\x80" * 256) + number(3))), Reason.KEY_MALFORMED),
        (made(2**767 + 1), Reason.KEY_TOO_SMALL),  # V08, K9
        (made(2**511 + 1), Reason.KEY_TOO_SMALL),
        (made(2**1022 + 1), Reason.KEY_TOO_SMALL),
        (made(2**8192 + 1), Reason.KEY_TOO_LARGE),
        (made(2**16383 + 1), Reason.KEY_TOO_LARGE),
        (b"n=" + b"x" * 65000 + b"; " + P, Reason.KEY_RECORD_TOO_LARGE),
    ],
)
def test_d16_m3_m4_refused(record: bytes, reason: Reason) -> None:
    started = time.process_time()
    with pytest.raises(KeyRecordError) as caught:
        parse_key_record(record, LIMITS)
    assert caught.value.reason is reason
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize("bits", [1024, 4096, 8192])
def test_v08_sizes_that_must_work(bits: int) -> None:
    assert parse_key_record(made(2 ** (bits - 1) + 1), LIMITS).bits == bits


def test_v08_floor_is_a_limit() -> None:
    assert parse_key_record(made(2**767 + 1), Limits(min_rsa_bits=512)).bits == 768


@pytest.mark.parametrize(
    "point",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ],
)
def test_m5_ed25519_points_of_small_order(point: str) -> None:
    with pytest.raises(KeyRecordError) as caught:
        parse_key_record(b"k=ed25519; p=" + base64.b64encode(bytes.fromhex(point)), LIMITS)
    assert caught.value.reason is Reason.KEY_MALFORMED


def test_d03_order_of_records_does_not_matter() -> None:
    records = [RSA, b"v=spf1 -all", b"k=ed25519; p=" + base64.b64encode(ED), RSA]
    found = [key_answer(order, DnssecStatus.SECURE, LIMITS) for order in itertools.permutations(records)]
    for answer in found:
        assert answer.outcome is KeyOutcome.FOUND and answer.dnssec is DnssecStatus.SECURE
        kinds = [key.type for key in answer.keys if isinstance(key, KeyRecord)]
        assert kinds == [key.type for key in found[0].keys if isinstance(key, KeyRecord)]
        assert sorted(kind.value for kind in kinds) == [b"ed25519", b"rsa"]


def test_d03_no_usable_record_and_too_many() -> None:
    bad = [b"v=spf1 -all", b"junk", b"p="]
    answers = {key_answer(order, DnssecStatus.UNKNOWN, LIMITS).keys for order in itertools.permutations(bad)}
    assert len(answers) == 1
    many = [b"n=%d; " % i + P for i in range(9)]
    assert key_answer(many, DnssecStatus.UNKNOWN, LIMITS).keys == (Reason.MULTIPLE_KEY_RECORDS,)


def test_d04_no_record() -> None:
    assert key_answer([], DnssecStatus.UNKNOWN, LIMITS).outcome is KeyOutcome.ABSENT
