"""Weak keys, odd curve points, and signatures that are no numbers of the key (K9, M3, M4, M5, V07, V08, D14, E02)."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField, parse_message
from phoenixdkim.dkim.keys import KeyRecordError, parse_key_record
from phoenixdkim.dkim.results import Reason, Result
from phoenixdkim.dkim.selection import HeaderIndex
from phoenixdkim.dkim.verify import Verifier
from phoenixdkim.keystore import public_record
from phoenixdkim.milter.outcome import InsertField
from phoenixdkim.milter.session import Client, MessageSession
from phoenixdkim.policy import Policy, SigningTable, ascii_domain, parse_pattern
from signed_mail import LIMITS, NOW, answers, ed_key, rsa_key, rsa_private, signatures, verify, zone

RSA = rsa_key()
ZONE = zone(RSA)
P = 2**255 - 19
D = (-121665 * pow(121666, P - 2, P)) % P
ORDER = 2**252 + 27742317777372353535851937790883648493

Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    """The group law of edwards25519 (RFC 8032 section 5.1.4), in affine coordinates."""
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P) % P,
    )


def times(scalar: int, point: Point) -> Point:
    result: Point = (0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def decompressed(y: int) -> Point | None:
    """A point with this y (RFC 8032 section 5.1.3)."""
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (x, y) if (x * x - xx) % P == 0 else None


def small_points() -> set[Point]:
    """The eight points whose order divides 8: multiples by the large prime order of any points of the curve."""
    found: set[Point] = set()
    y = 2
    while len(found) < 8:
        point = decompressed(y)
        if point is not None:
            torsion = times(ORDER, point)
            found |= {times(factor, torsion) for factor in range(8)}
        y += 1
    return found


def encodings(point: Point) -> set[bytes]:
    """Every 32 octets that some reader takes for it: y or y + p, either sign where x is 0."""
    x, y = point
    signs = (0, 1) if x == 0 else (x & 1,)
    return {(number | sign << 255).to_bytes(32, "little") for number in (y, y + P) if number < 2**255 for sign in signs}


def test_m5_all_points_of_small_order_in_all_encodings_are_no_keys() -> None:
    points = small_points()
    assert {times(8, point) for point in points} == {(0, 1)}
    written = set().union(*(encodings(point) for point in points))
    assert len(points) == 8
    assert len(written) >= 14
    for data in written:
        with pytest.raises(KeyRecordError) as caught:
            parse_key_record(b"k=ed25519; p=" + base64.b64encode(data), LIMITS)
        assert caught.value.reason is Reason.KEY_MALFORMED


@pytest.mark.parametrize("above", range(2, 19))
def test_m5_y_that_is_no_number_of_the_field_is_no_key(above: int) -> None:
    for sign in (0, 1):
        data = (P + above | sign << 255).to_bytes(32, "little")
        with pytest.raises(KeyRecordError):
            parse_key_record(b"k=ed25519; p=" + base64.b64encode(data), LIMITS)


def signed_with(b: bytes, algorithm: bytes = b"rsa-sha256", selector: bytes = b"r") -> bytes:
    """A message with that raw signature; its body hash is right."""
    bh = base64.b64encode(hashlib.sha256(b"text\r\n").digest())
    head = b" v=1; a=%s; d=example.com; s=%s; h=from; bh=%s; b=" % (algorithm, selector, bh)
    return b"DKIM-Signature:" + head + base64.b64encode(b) + b"\r\nFrom: a@example.com\r\n\r\ntext\r\n"


def digest_of(message: bytes, algorithm: type[hashes.HashAlgorithm] = hashes.SHA256) -> bytes:
    fields, _ = parse_message(message)
    unsigned = HeaderField(fields[0].name, fields[0].value.rpartition(b"b=")[0] + b"b=")
    text = b"From: a@example.com\r\n" + unsigned.name + b":" + unsigned.value
    made = hashes.Hash(algorithm())
    made.update(text)
    return made.finalize()


def reason(message: bytes, records: dict[bytes, list[bytes]] = ZONE) -> Reason:
    (verdict,) = verify(message, records)
    return verdict.reason


def right() -> bytes:
    return rsa_private().sign(digest_of(signed_with(b"x")), PKCS1v15(), Prehashed(hashes.SHA256()))


def test_what_is_changed_below_is_right_before() -> None:
    assert reason(signed_with(right())) is Reason.VERIFIED


def test_rsa_signatures_that_are_no_residues() -> None:
    """RFC 8017 section 8.2.2: as long as the modulus, and less than it."""
    numbers = rsa_private().public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    s = int.from_bytes(right(), "big")
    odd = [0, 1, numbers.n - 1, numbers.n, numbers.n + 1, 2 ** (8 * size) - 1, numbers.n - s]
    if s + numbers.n < 2 ** (8 * size):
        odd.append(s + numbers.n)
    for number in odd:
        assert reason(signed_with(number.to_bytes(size, "big"))) is Reason.SIGNATURE_MISMATCH
    for raw in (right() + b"\0", b"\0" + right(), right()[:-1], right()[1:], right() * 2, b"\0"):
        assert reason(signed_with(raw)) is Reason.SIGNATURE_MISMATCH


def test_a_signature_and_the_modulus_make_another_that_is_refused() -> None:
    """s + n is the same residue: one of some signatures fits in as many octets, and must not count as another."""
    numbers = rsa_private().public_key().public_numbers()
    for now in range(400):
        value = signatures(b"From: a@example.com\r\n\r\ntext\r\n", [RSA], now=NOW - now)[0]
        assert value is not None
        head, _, encoded = value.rpartition(b"b=")
        s = int.from_bytes(base64.b64decode(encoded), "big")
        if s + numbers.n < 2**2048:
            again = base64.b64encode((s + numbers.n).to_bytes(256, "big"))
            message = b"DKIM-Signature:" + head + b"b=" + again + b"\r\nFrom: a@example.com\r\n\r\ntext\r\n"
            assert reason(message) is Reason.SIGNATURE_MISMATCH
            return
    pytest.fail("no signature was small enough: draw another key")


def test_v07_a_valid_rsa_sha1_signature_passes_nowhere_and_costs_nothing() -> None:
    """Valid in every respect but its algorithm; neither key nor body is asked for."""
    message = signed_with(b"x", b"rsa-sha1")
    try:
        raw = rsa_private().sign(digest_of(message, hashes.SHA1), PKCS1v15(), Prehashed(hashes.SHA1()))
    except UnsupportedAlgorithm:
        # A library without SHA-1 makes none; then any octets do, they are not looked at.
        raw = b"\1" * 256
    (verdict,) = verify(signed_with(raw, b"rsa-sha1"), ZONE)
    assert (verdict.result, verdict.reason) == (Result.PERMERROR, Reason.WEAK_ALGORITHM)
    verifier = Verifier(parse_message(signed_with(raw, b"rsa-sha1"))[0], LIMITS, NOW)
    assert (verifier.key_names, verifier.needs_body) == ((), False)
    for other in (b"RSA-SHA1", b"rsa-sha1 ", b"rsa-sha\r\n\t1", b"rsa-md5", b"rsa"):
        assert verify(signed_with(raw, other), ZONE)[0].result is not Result.PASS
    # The same octets called rsa-sha256 are another digest.
    assert reason(signed_with(raw)) is Reason.SIGNATURE_MISMATCH


def element(tag: int, content: bytes, length: bytes | None = None) -> bytes:
    if length is None:
        size = len(content)
        octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
        length = bytes((size,)) if size < 128 else bytes((0x80 | len(octets),)) + octets
    return bytes((tag,)) + length + content


def number(value: int) -> bytes:
    return element(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


N = rsa_private().public_key().public_numbers().n
PAIR = number(N) + number(65537)
ALGORITHM = element(0x30, bytes.fromhex("06092a864886f70d0101010500"))
BITS = element(3, b"\0" + element(0x30, PAIR))

DER = {
    "nothing": b"",
    "one octet": b"\x30",
    "indefinite length": b"\x30\x80" + PAIR + b"\0\0",
    "a length of no octets that says many": element(0x30, PAIR, b"\x84\xff\xff\xff\xff"),
    "a length of 127 octets": element(0x30, PAIR, b"\xff" + b"\0" * 127),
    "longer than there is": element(0x30, PAIR, b"\x82\x7f\xff"),
    "shorter than there is": element(0x30, PAIR, b"\x10"),
    "octets after it": element(0x30, PAIR) + b"\0",
    "octets after the exponent": element(0x30, PAIR + b"\5\0"),
    "modulus only": element(0x30, number(N)),
    "no numbers": element(0x30, b""),
    "negative modulus": element(0x30, element(2, b"\xff" + N.to_bytes(256, "big")) + number(65537)),
    "negative exponent": element(0x30, number(N) + element(2, b"\xff")),
    "modulus of no octets": element(0x30, element(2, b"") + number(65537)),
    "exponent of no octets": element(0x30, number(N) + element(2, b"")),
    "modulus as octet string": element(0x30, element(4, N.to_bytes(256, "big")) + number(65537)),
    "set for sequence": element(0x31, PAIR),
    "no bit string": element(0x30, ALGORITHM),
    "unused bits": element(0x30, ALGORITHM + element(3, b"\1" + element(0x30, PAIR))),
    "empty bit string": element(0x30, ALGORITHM + element(3, b"")),
    "octet string for bit string": element(0x30, ALGORITHM + element(4, b"\0" + element(0x30, PAIR))),
    "another algorithm": element(0x30, element(0x30, bytes.fromhex("06072a8648ce3d0201")) + BITS),
    "octets after the bit string": element(0x30, ALGORITHM + BITS + b"\5\0"),
    "octets in the bit string after the key": element(0x30, ALGORITHM + element(3, b"\0" + element(0x30, PAIR) + b"x")),
    "even modulus": element(0x30, number(N + 1) + number(65537)),
    "zero modulus": element(0x30, number(0) + number(65537)),
    "exponent 0": element(0x30, number(N) + number(0)),
    "exponent 1": element(0x30, number(N) + number(1)),
    "exponent 2": element(0x30, number(N) + number(2)),
    "even exponent": element(0x30, number(N) + number(65538)),
    "exponent of 33 bits": element(0x30, number(N) + number(2**32 + 1)),
    "exponent as large as the modulus": element(0x30, number(N) + number(N)),
}


def test_what_the_der_is_changed_from_is_right() -> None:
    for data in (element(0x30, PAIR), element(0x30, ALGORITHM + BITS)):
        assert parse_key_record(b"p=" + base64.b64encode(data), LIMITS).bits == 2048


@pytest.mark.parametrize("name", DER)
def test_m4_key_that_is_not_well_formed(name: str) -> None:
    with pytest.raises(KeyRecordError) as caught:
        parse_key_record(b"k=rsa; p=" + base64.b64encode(DER[name]), LIMITS)
    assert caught.value.reason in {
        Reason.KEY_MALFORMED,
        Reason.KEY_TOO_SMALL,
        Reason.KEY_EXPONENT,
        Reason.KEY_REVOKED,
    }


def test_m4_exponent_3_is_a_key_and_forges_nothing() -> None:
    """PKCS#1 v1.5 with a small exponent: a cube that only begins like a padded digest is none (CVE-2006-4339)."""
    record = b"k=rsa; p=" + base64.b64encode(element(0x30, number(N) + number(3)))
    assert parse_key_record(record, LIMITS).bits == 2048
    prefix = bytes.fromhex("3031300d060960864801650304020105000420")
    message = signed_with(b"x")
    block = b"\0\1\xff\0" + prefix + digest_of(message)
    target = int.from_bytes(block + b"\0" * (256 - len(block)), "big")
    low, high = 0, 1 << 700
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**3 < target else (low, middle)
    assert (low**3).to_bytes(256, "big").startswith(block)
    records = {b"r._domainkey.example.com": [record]}
    assert reason(signed_with(low.to_bytes(256, "big")), records) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    "written", ["exämple.com", "EXÄMPLE.com", "xn--exmple-cua.com", "exa\u0308mple.com", "Exämple.COM."]
)
@pytest.mark.parametrize("configured", ["exämple.com", "xn--exmple-cua.com"])
def test_e02_mail_of_an_internationalised_domain_is_signed_and_verified(written: str, configured: str) -> None:
    """RFC 8616: configured and written in any form, d= is in A-labels, and what we sign we verify."""
    key = ed_key(ascii_domain(configured))
    policy = Policy(b"mx.example", signing=True, table=SigningTable.of({parse_pattern("*@" + configured): (key,)}))
    fields = [HeaderField(b"From", f" Jö <jö@{written}>".encode()), HeaderField(b"Subject", " ä".encode())]
    session = MessageSession(policy, Client(authenticated=True), NOW)
    for field in fields:
        session.header(field.name, field.value)
    session.end_of_headers()
    session.body("ä\r\n".encode())
    (edit,) = session.end_of_message({}).edits
    assert isinstance(edit, InsertField) and edit.name == b"DKIM-Signature"
    assert b"d=xn--exmple-cua.com;" in edit.value
    assert edit.value.isascii()
    again = MessageSession(policy, Client(), NOW)
    again.header(edit.name, edit.value)
    for field in fields:
        again.header(field.name, field.value)
    names = again.end_of_headers()
    assert names == (b"e._domainkey.xn--exmple-cua.com",)
    again.body("ä\r\n".encode())
    assert again.end_of_message(answers({names[0]: [public_record(key.private)]}, names)).result is Result.PASS


@pytest.mark.parametrize(
    "domain", [b"ex\xc3mple.com", b"\xff.com", "\u202eexample.com".encode(), "a\u3002b.com".encode()]
)
def test_e04_domains_that_are_no_text_are_not_signed_for(domain: bytes) -> None:
    policy = Policy(b"mx.example", signing=True, table=SigningTable.of({parse_pattern("*"): (ed_key(),)}))
    session = MessageSession(policy, Client(authenticated=True), NOW)
    session.header(b"From", b" <a@" + domain + b">")
    session.end_of_headers()
    outcome = session.end_of_message({})
    if outcome.unsigned is None:
        # U+3002 is a dot to IDNA: then it is a name, and everyone is signed for.
        assert ascii_domain(domain.decode()) == b"a.b.com"
    else:
        assert not any(isinstance(edit, InsertField) and edit.name == b"DKIM-Signature" for edit in outcome.edits)


def test_hashing_order_is_that_of_the_digest_above() -> None:
    """The digest that the tests sign is made here without ours; it is the same."""
    message = signed_with(b"x")
    fields, _ = parse_message(message)
    unsigned = HeaderField(fields[0].name, fields[0].value.rpartition(b"b=")[0] + b"b=")
    ours = HeaderIndex(fields).digest((b"from",), Canonicalization.SIMPLE, unsigned, fields[0])
    assert ours == digest_of(message)
