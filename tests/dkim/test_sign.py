from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField, parse_message
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm, Result
from phoenixdkim.dkim.sign import Signer, SigningKey, SignOptions
from phoenixdkim.dkim.tags import parse_tag_list, without_white_space
from phoenixdkim.keystore.rsa_numbers import rsa_fault
from signed_mail import MESSAGE, NOW, ed_key, rsa_key, rsa_private, signatures, signed, verify, zone

RSA, ED = rsa_key(), ed_key()
ZONE = zone(RSA, ED)


HOP = (
    b"Date: Thu, 28 May 2026 20:00:00 +0000\r\n",
    b"To: undisclosed-recipients:;\r\n",
    b"Cc: c@example.org\r\n",
    b"Message-ID: <1@hop.example>\r\n",
    b"MIME-Version: 1.0\r\n",
    b"Content-Type: text/plain; charset=us-ascii\r\n",
    b"List-Unsubscribe: <mailto:u@hop.example>\r\n",
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
    b"Received: by hop.example; Thu, 28 May 2026 20:00:00 +0000\r\n",
)
"""What an ordinary hop adds when it is missing."""


def tags(message: bytes = MESSAGE, options: SignOptions | None = None, identity: bytes = b"") -> dict[bytes, bytes]:
    (value,) = signatures(message, [ED], options, identity=identity)
    assert value is not None
    return {name: without_white_space(text) for name, text in parse_tag_list(value, 64).items()}


def names(**options: object) -> list[bytes]:
    return tags(options=SignOptions(**options))[b"h"].lower().split(b":")  # type: ignore[arg-type]


def test_tags() -> None:
    found = tags()
    assert found[b"v"] == b"1" and found[b"a"] == b"ed25519-sha256" and found[b"c"] == b"relaxed/relaxed"
    assert found[b"t"] == b"%d" % NOW  # S05
    assert b"l" not in found and b"x" not in found  # S04
    assert tags(options=SignOptions(ttl=3600))[b"x"] == b"%d" % (NOW + 3600)


def test_before_1970_there_is_neither_t_nor_x() -> None:
    def names_at(now: int) -> set[bytes]:
        (value,) = signatures(MESSAGE, [ED], SignOptions(ttl=3600), now)
        assert value is not None
        return {name for name in parse_tag_list(value, 64) if name in (b"t", b"x")}

    assert names_at(0) == {b"t", b"x"}
    assert names_at(-1) == names_at(-7200) == set()


def test_s01_s02_s03_signed_fields() -> None:
    found = names()
    for name in (b"from", b"to", b"subject", b"date"):
        assert found.count(name) == 2
    assert found.count(b"reply-to") == 1  # oversigned, none there
    assert found.count(b"cc") == 0  # oversigned if present, none there
    assert found.count(b"message-id") == 1
    assert not {b"received", b"return-path", b"comments", b"keywords", b"dkim-signature"} & set(found)
    only = names(signed=(b"To",), oversigned=(), oversigned_if_present=())
    assert only == [b"from", b"from", b"to"]  # S01: From always


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("present", [False, True])
@pytest.mark.parametrize("occurrences", [0, 1, 3])
def test_s03_how_often_a_field_is_named(always: bool, present: bool, occurrences: int) -> None:
    message = b"x-a: 1\r\n" * occurrences + MESSAGE
    options = SignOptions(signed=(b"X-A",), oversigned=(b"X-a",) * always, oversigned_if_present=(b"x-A",) * present)
    extra = always or (present and occurrences > 0)
    assert tags(message, options)[b"h"].lower().split(b":").count(b"x-a") == occurrences + extra


def test_s03_field_added_later_breaks_the_signature() -> None:
    message = signed(MESSAGE, [RSA])
    for field in (b"Subject: x\r\n", b"Reply-To: eve@example.org\r\n", b"Date: now\r\n", b"To: eve@example.org\r\n"):
        assert verify(field + message, ZONE)[0].result is Result.FAIL


def test_s03_a_field_that_a_hop_adds_does_not_break_the_signature() -> None:
    message = signed(b"From: a@example.com\r\n\r\ntext\r\n", [RSA])
    for field in HOP:
        assert verify(field + message, ZONE)[0].result is Result.PASS
    message = b"".join(HOP) + message
    assert verify(message, ZONE)[0].result is Result.PASS
    for field in (b"Subject: x\r\n", b"Reply-To: b@example.com\r\n"):
        assert verify(field + message, ZONE)[0].result is Result.FAIL


def test_repeated_fields_are_all_signed() -> None:
    message = b"List-Id: one\r\nList-Id: two\r\n" + MESSAGE
    assert tags(message)[b"h"].lower().split(b":").count(b"list-id") == 2
    made = signed(message, [RSA])
    assert verify(made, ZONE)[0].result is Result.PASS
    assert verify(made.replace(b"List-Id: one", b"List-Id: 1"), ZONE)[0].result is Result.FAIL


def test_s06_weak_keys_and_algorithms_make_no_signature() -> None:
    weak = dataclasses.replace(RSA, algorithm=Algorithm.RSA_SHA1)
    crossed = dataclasses.replace(RSA, algorithm=Algorithm.ED25519_SHA256)
    assert signatures(MESSAGE, [weak, crossed, ED])[:2] == [None, None]
    assert signatures(MESSAGE, [weak, ED])[1] is not None  # S09: independent
    assert rsa_private().key_size >= 2048


@pytest.mark.filterwarnings("ignore")
def test_s06_small_rsa_key() -> None:
    class Small:
        key_size = 1023

    small = dataclasses.replace(RSA, private=Small())  # type: ignore[arg-type]
    assert signatures(MESSAGE, [small]) == [None]
    fine = dataclasses.replace(RSA, private=rsa.generate_private_key(public_exponent=65537, key_size=1024))
    assert signatures(MESSAGE, [fine]) != [None]


class Recorder:
    """A private key that counts its signatures and verifications, and signs wrongly while ``faulty``."""

    def __init__(self, private: RSAPrivateKey, faulty: bool = False) -> None:
        self._private = private
        self.key_size = private.key_size
        self.faulty = faulty
        self.verifications = 0

    def sign(self, digest: bytes, *how: object) -> bytes:
        signature: bytes = self._private.sign(digest, *how)  # type: ignore[call-overload]
        return signature[:-1] + bytes((signature[-1] ^ 1,)) if self.faulty else signature

    def public_key(self) -> RSAPublicKey:
        self.verifications += 1
        return self._private.public_key()


def test_the_first_signature_of_a_key_is_verified() -> None:
    private = Recorder(rsa_private())
    key = SigningKey("k", b"example.com", b"rsa", Algorithm.RSA_SHA256, private)  # type: ignore[arg-type]
    others = [dataclasses.replace(key, identity=b"@example.com"), dataclasses.replace(key, selector=b"s2")]
    for _ in range(3):
        assert None not in signatures(MESSAGE, [key, *others])
    assert private.verifications == 1


def test_no_invalid_signature_leaves() -> None:
    """Until one has verified, each signature is looked at, and the other keys sign."""
    private = Recorder(rsa_private(), faulty=True)
    key = SigningKey("k", b"example.com", b"rsa", Algorithm.RSA_SHA256, private)  # type: ignore[arg-type]
    for count in (1, 2, 3):
        made = signatures(MESSAGE, [key, ED])
        assert made[0] is None and made[1] is not None
        assert private.verifications == count
    private.faulty = False
    assert signatures(MESSAGE, [key]) != [None]


def test_a_composite_prime_makes_no_signature() -> None:
    """Its numbers fit together as if it was a prime, which arithmetic does not show."""
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
    q = numbers.q
    p = next(p for p in itertools.count(numbers.p + 2, 2) if p % 3 == 0 and math.gcd(65537 * q, p * (p - 1)) == 1)
    d = pow(65537, -1, math.lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    private = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key(
        unsafe_skip_rsa_key_validation=True
    )
    assert rsa_fault(private, Limits()) == ""
    key = SigningKey("k", b"example.com", b"rsa", Algorithm.RSA_SHA256, private)
    assert signatures(MESSAGE, [key]) == [None]


@pytest.mark.parametrize("text", [b"a;b=c", b"a\r\nb", b"a\nb", b"a\0b", b"a b", b"", b"a=b", b"a\tb"])
def test_s07_names_that_do_not_fit_their_tags(text: bytes) -> None:
    assert signatures(MESSAGE, [dataclasses.replace(ED, domain=text), ED])[0] is None
    assert signatures(MESSAGE, [dataclasses.replace(ED, selector=text), ED])[0] is None
    if text:
        assert signatures(MESSAGE, [dataclasses.replace(ED, identity=b"joe@" + text), ED])[0] is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_s07_m15_identity_is_encoded(local: bytes) -> None:
    (value,) = signatures(MESSAGE, [ED], identity=local + b"@example.com")
    assert value is not None
    lines = value.split(b"\r\n")
    assert all(line[:1] == b"\t" for line in lines[1:]) and b"\n" not in b"".join(lines)
    assert len(parse_tag_list(value, 64)) == 10
    message = b"DKIM-Signature:" + value + b"\r\n" + MESSAGE
    assert verify(message, ZONE)[0].result is Result.PASS


@pytest.mark.parametrize("identity", [b"", b"joe@example.com"])
@pytest.mark.parametrize("key", [RSA, ED])
def test_s08_lines(key: object, identity: bytes) -> None:
    (value,) = signatures(MESSAGE, [key], SignOptions(ttl=99), identity=identity)  # type: ignore[list-item]
    assert value is not None and value.startswith(b" v=1;")
    for line in (b"DKIM-Signature:" + value).split(b"\r\n"):
        assert len(line) <= 78, line
    assert value == value.rstrip()


def test_s08_many_fields_stay_under_998() -> None:
    (value,) = signatures(b"To: x\r\n" * 200 + MESSAGE, [ED])
    assert value is not None and max(map(len, value.split(b"\r\n"))) <= 78


def test_s09_s10_several_keys_verify() -> None:
    assert [v.result for v in verify(signed(MESSAGE, [RSA, ED, RSA]), ZONE)] == [Result.PASS] * 3


@pytest.mark.parametrize(
    "message",
    [
        b"From: a@example.com\r\n\r\n",
        b"From: a@example.com\r\n\r\n\r\n\r\n",
        b"From : a@example.com\r\n\r\nx",
        b"From: a\r\n",
    ],
)
@pytest.mark.parametrize("body", list(Canonicalization))
def test_s10_odd_messages_verify(message: bytes, body: Canonicalization) -> None:
    made = signed(message, [RSA, ED], SignOptions(body_canon=body))
    assert [v.result for v in verify(made, ZONE)] == [Result.PASS, Result.PASS]


def checked(pieces: list[bytes]) -> tuple[bool, bool]:
    fields, _ = parse_message(MESSAGE)
    signer = Signer(fields, [ED], SignOptions(), NOW)
    for piece in pieces:
        signer.body(piece)
    signer.finish()
    return signer.bare_cr_or_lf, signer.long_line


def reference(body: bytes) -> tuple[bool, bool]:
    rest = body.replace(b"\r\n", b"")
    return b"\r" in rest or b"\n" in rest, any(len(line) > 998 for line in body.split(b"\r\n"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a\r\nb\r\n",
        b"a\rb",
        b"a\nb",
        b"a\r\r\nb",
        b"a\r\n\nb",
        b"\r",
        b"\n",
        b"a\n.\r\n",  # K8
        b"x" * 998,
        b"x" * 999,
        b"x" * 998 + b"\r\n",
        b"x" * 999 + b"\r\n",
        b"a\r\n" + b"x" * 998 + b"\r\nb",
        b"a\r\n" + b"x" * 999 + b"\r\nb",
        b"a\r\n" * 700 + b"x" * 999 + b"\r\nb",
    ],
)
def test_s12_k8_what_a_relay_would_change(body: bytes) -> None:
    for size in (1, 2, 3, 500, 998, 999, 1000, 5000):
        found = checked([body[at : at + size] for at in range(0, len(body), size)])
        assert found[0] == reference(body)[0], size
        if not found[0]:
            assert found[1] == reference(body)[1], size


_PIECE = st.sampled_from([b"\r\n", b"\r", b"\n", b"a", b"x" * 499, b"x" * 500, b"x" * 998, b"x" * 999, b""])


@settings(max_examples=500, deadline=None)
@given(st.lists(_PIECE, max_size=12))
def test_s12_pieces_do_not_matter(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    bare, long = reference(body)
    found = checked(pieces)
    assert found[0] == bare
    if not bare:
        assert found[1] == long


@pytest.mark.parametrize(
    "field, bare, long",
    [
        (b"Subject: a\r\n\tb\r\n \r\n c", False, False),
        (b"Subject: a\rb", True, False),
        (b"Subject: a\nb", True, False),
        (b"Subject: a\r\nb", True, False),
        (b"Subject: a\r\n", True, False),
        (b"Subject: a\r\r\n b", True, False),
        (b"Subject:" + b"x" * 990, False, False),
        (b"Subject:" + b"x" * 991, False, True),
        (b"Subject:" + b"x" * 990 + b"\r\n b", False, False),
        (b"Subject: a\r\n " + b"x" * 997, False, False),
        (b"Subject: a\r\n " + b"x" * 998, False, True),
        (b"Subject: " + b"x" * 900 + b"\r\n " + b"x" * 900, False, False),
        (b"X-Unsigned: a\rb" + b"x" * 2000, False, False),
        (b"subject : a\rb" + b"x" * 998, True, True),
    ],
)
def test_s12_fields(field: bytes, bare: bool, long: bool) -> None:
    name, _, value = field.partition(b":")
    signer = Signer([HeaderField(b"From", b" a@example.com"), HeaderField(name, value)], [ED], SignOptions(), NOW)
    signer.body(b"x\r\n")
    made = signer.finish()
    assert (signer.bare_cr_or_lf, signer.long_line) == (bare, long)
    assert (made[0][1] is None) == (bare or long)


def test_s12_such_a_message_is_not_signed() -> None:
    assert signatures(MESSAGE + b"a\rb", [RSA, ED]) == [None, None]
    assert signatures(MESSAGE + b"x" * 999, [ED]) == [None]
