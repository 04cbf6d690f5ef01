"""Bytes as they are (M9, M10, T6, C03 to C06, C11, E03, E04): every odd octet, every split of a body into pieces.

The bodies are compared with a canonicalization of their own here: the whole body at once, octet by octet, in the words
of RFC 6376 section 3.4, and with nothing of ours in it.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoenixdkim.dkim.canonical import BodyDigests, Canonicalization
from phoenixdkim.dkim.headers import HeaderField, parse_message
from phoenixdkim.dkim.results import Reason, Result, UnsignedReason
from phoenixdkim.dkim.sign import Signer, SignOptions
from phoenixdkim.milter.outcome import InsertField, Outcome
from phoenixdkim.milter.session import Client, MessageSession
from phoenixdkim.policy import Policy, SigningTable, parse_pattern
from signed_mail import MESSAGE, NOW, answers, ed_key, rsa_key, signatures, signed, verify, zone

SIMPLE, RELAXED = Canonicalization.SIMPLE, Canonicalization.RELAXED
HOW = (SIMPLE, RELAXED)
RSA, ED = rsa_key(), ed_key()
ZONE = zone(RSA, ED)


def lines_of(body: bytes) -> list[bytes]:
    """Lines, each with the CRLF that ends it. A CR or a LF alone ends none (RFC 6376 section 2.8, RFC 5322 2.3)."""
    lines = []
    line = bytearray()
    for octet in body:
        line.append(octet)
        if octet == 0x0A and line[-2:-1] == b"\r":
            lines.append(bytes(line))
            line.clear()
    if line:
        lines.append(bytes(line))
    return lines


def relaxed_line(line: bytes) -> bytes:
    """RFC 6376 section 3.4.4 a: no WSP at the end, the CRLF is not removed; all WSP within a line to one SP."""
    text, end = (line[:-2], b"\r\n") if line.endswith(b"\r\n") else (line, b"")
    out = bytearray()
    for octet in text:
        if octet not in b" \t":
            out.append(octet)
        elif not out or out[-1] != 0x20 or not out.endswith(b" "):
            out.append(0x20)
    if out.endswith(b" "):
        del out[-1]
    return bytes(out) + end


def canonical_body(how: Canonicalization, body: bytes) -> bytes:
    """The whole body, in the words of RFC 6376 sections 3.4.3 and 3.4.4."""
    lines = lines_of(body)
    if how is RELAXED:
        lines = [relaxed_line(line) for line in lines]
    # Empty lines at the end are ignored: an empty line has no octets before its CRLF.
    while lines and lines[-1] in (b"\r\n", b""):
        lines.pop()
    if not lines:
        # 3.4.3: "If there is no body or no trailing CRLF on the message body, a CRLF is added"; 3.4.4: none is added
        # to an empty body.
        return b"\r\n" if how is SIMPLE else b""
    text = b"".join(lines)
    return text if text.endswith(b"\r\n") else text + b"\r\n"


def ours(pieces: tuple[bytes, ...], lengths: tuple[int | None, ...] = (None,)) -> BodyDigests:
    digests = BodyDigests([(how, length) for how in HOW for length in lengths])
    for piece in pieces:
        digests.update(piece)
    digests.finish()
    return digests


def splits(body: bytes, most: int) -> Iterator[tuple[bytes, ...]]:
    """Every way to cut the body into one to ``most`` pieces, empty ones too."""
    yield (body,)
    for cuts in range(1, most):
        for where in itertools.combinations_with_replacement(range(len(body) + 1), cuts):
            yield tuple(body[a:b] for a, b in itertools.pairwise((0, *where, len(body))))


def assert_same(body: bytes, most: int, lengths: tuple[int | None, ...] = (None,)) -> None:
    wanted = {how: canonical_body(how, body) for how in HOW}
    hashes = {
        (how, length): hashlib.sha256(wanted[how] if length is None else wanted[how][:length]).digest()
        for how in HOW
        for length in lengths
    }
    for pieces in splits(body, most):
        made = ours(pieces, lengths)
        for how in HOW:
            assert made.octets(how) == len(wanted[how]), (pieces, how)
            for length in lengths:
                assert made.digest(how, length) == hashes[how, length], (pieces, how, length)


def test_the_examples_of_rfc_6376() -> None:
    """Sections 3.4.3 to 3.4.6, so that what we compare with is right itself."""
    example = b" C \r\nD \t E\r\n\r\n\r\n"
    assert canonical_body(SIMPLE, example) == b" C \r\nD \t E\r\n"
    assert canonical_body(RELAXED, example) == b" C\r\nD E\r\n"
    # The hashes of an empty body that sections 3.4.3 and 3.4.4 give.
    for how, digest in (
        (SIMPLE, b"frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        (RELAXED, b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ):
        assert base64.b64encode(hashlib.sha256(canonical_body(how, b"")).digest()) == digest


@pytest.mark.parametrize("size", range(7))
def test_every_short_body_in_every_two_pieces(size: int) -> None:
    """C03 to C06, T6: all bodies of up to six of the octets that matter, cut wherever they can be cut."""
    for octets in itertools.product(b"a \t\r\n", repeat=size):
        assert_same(bytes(octets), 2)


@pytest.mark.parametrize("size", range(6))
def test_every_short_body_in_every_three_pieces(size: int) -> None:
    for octets in itertools.product(b"a \t\r\n", repeat=size):
        assert_same(bytes(octets), 3)


TRICKY = [
    b"a \t\r\n \t\r\n\r\nb\r\n\r\n",
    b"\r\n\r\n \r\na\r\n\r",
    b"a\r\r\n\n\r\n \r",
    b" \t \r\n\t\r\n",
    b"a \r \n \r\n b",
    b"\x00\x0b\x0c\xa0 \xff\xfe\r\n\xef\xbb\xbf\r\n",
    b"\xc3\r\n\xa4 \r\n.\r\n",
    b"a\n.\r\nb\r.\rc\r\n",
    b"  a  \r\n\r\n  ",
]


@pytest.mark.parametrize("body", TRICKY)
def test_bodies_with_every_transition_in_three_pieces_and_cut_short(body: bytes) -> None:
    """C11: with l= of every length, before, in and after what is held back."""
    assert_same(body, 3, (None, *range(len(canonical_body(SIMPLE, body)) + 2)))


_PIECES = st.sampled_from(
    [
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n" * 70,
        b"a",
        b"\xff",
        b" " * 65,
        b"\t " * 40,
        b"\0",
        b"\x0b",
        b"\xc2\xa0",
    ]
)


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.lists(_PIECES, max_size=8).map(b"".join), max_size=8), length=st.integers(0, 400))
def test_long_runs_over_many_pieces(pieces: list[bytes], length: int) -> None:
    body = b"".join(pieces)
    made = ours(tuple(pieces), (None, length))
    for how in HOW:
        wanted = canonical_body(how, body)
        assert made.octets(how) == len(wanted)
        assert made.digest(how, None) == hashlib.sha256(wanted).digest()
        assert made.digest(how, length) == hashlib.sha256(wanted[:length]).digest()


@pytest.mark.parametrize("edge", [4096, 8192, 16384])
def test_runs_that_end_around_an_inner_size(edge: int) -> None:
    """What is held back goes out in blocks: a CRLF more or less must not be lost between them."""
    for count, tail in itertools.product((edge // 2 - 1, edge // 2, edge // 2 + 1), (b"", b"x", b"\r", b"\n", b" ")):
        body = b"a" + b"\r\n" * count + tail
        wanted = {how: hashlib.sha256(canonical_body(how, body)).digest() for how in HOW}
        for at in (1, 2, edge - 1, edge, edge + 1, len(body) - 1):
            made = ours((body[:at], body[at:]))
            for how in HOW:
                assert made.digest(how, None) == wanted[how]


# What a header may bring.

ODD_VALUES = [
    b"",
    b" ",
    b" \r\n ",
    b" a\rb",
    b" a\nb",
    b" \x0b\x0c\xa0",
    b" \xff\xfe",
    b" \xc3(",
    b"\xef\xbb\xbf x",
    b" a\r\n\tb\r\n  c ",
    b" " * 900,
    b" =?utf-8?q?=FF?=",
    "\u202e\u2028".encode(),
]


@pytest.mark.parametrize("header_canon", HOW)
@pytest.mark.parametrize("value", ODD_VALUES)
def test_odd_values_are_signed_and_verified_as_they_are(value: bytes, header_canon: Canonicalization) -> None:
    message = b"Subject:" + value + b"\r\nX-Odd:" + value + b"\r\nFrom: a@example.com\r\n\r\ntext\r\n"
    fields, body = parse_message(message)
    assert len(fields) == 3
    if re.search(rb"\r(?!\n)|(?<!\r)\n", value):
        # S12: a relay would change such a field, and the signature would break.
        assert signatures(message, [RSA, ED], SignOptions(header_canon=header_canon)) == [None, None]
        return
    made = signed(message, [RSA, ED], SignOptions(header_canon=header_canon))
    assert [verdict.result for verdict in verify(made, ZONE)] == [Result.PASS, Result.PASS]
    assert body == b"text\r\n"


@pytest.mark.parametrize("name", [b"Subject ", b"SUBJECT\t", b"sUbJeCt \t "])
def test_c12_obsolete_syntax(name: bytes) -> None:
    message = name + b": x\r\nFrom \t: a@example.com\r\n\r\ntext\r\n"
    made = signed(message, [RSA, ED])
    assert [verdict.result for verdict in verify(made, ZONE)] == [Result.PASS, Result.PASS]
    changed = made.replace(b": x\r\n", b": y\r\n")
    assert [verdict.result for verdict in verify(changed, ZONE)] == [Result.FAIL, Result.FAIL]


NETWORKS = Policy(
    b"mx.example",
    signing=True,
    table=SigningTable.of({parse_pattern("*@example.com"): (RSA, ED)}),
    trust_authenticated=True,
)


def run(fields: list[HeaderField], body: bytes, *, trusted: bool = False, chunk: int = 65535) -> Outcome:
    session = MessageSession(NETWORKS, Client("192.0.2.1", authenticated=trusted), NOW)
    for field in fields:
        session.header(field.name, field.value)
    names = session.end_of_headers()
    for at in range(0, len(body), chunk):
        session.body(body[at : at + chunk])
    return session.end_of_message(answers(ZONE, names))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\r\n",
        b"\r\n\r\n",
        b"text without header",
        b"\r\ntext",
        b"From: a@example.com",
        b"From: a@example.com\r\n",
        b"From: a@example.com\r\nno separator",
        b"DKIM-Signature:\r\n\r\n",
        b"DKIM-Signature: v=1\r\n",
        signed(MESSAGE, [RSA]).partition(b"Received")[0],
        b"From: " + b"a" * 2_000_000 + b"@example.com\r\n\r\n",
        b"\xef\xbb\xbfFrom: a@example.com\r\n\r\n",
        b"From: a@example.com\r\n\r\n" + bytes(range(256)),
    ],
    ids=range(14),
)
@pytest.mark.parametrize("trusted", [False, True])
def test_m10_messages_that_are_hardly_any(message: bytes, trusted: bool) -> None:
    """A message always ends with an outcome, and one that is verified with a result."""
    fields, body = parse_message(message)
    outcome = run(fields, body, trusted=trusted)
    assert outcome.signatures or outcome.unsigned is not None
    if outcome.unsigned is not UnsignedReason.BARE_CR_OR_LF:
        assert outcome.signatures or outcome.result not in (None, Result.PASS)
        assert any(isinstance(edit, InsertField) for edit in outcome.edits)


@settings(max_examples=300, deadline=None)
@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from([b"From", b"Subject", b"X", b"DKIM-Signature", b"Authentication-Results", b""])
            | st.binary(max_size=8),
            st.sampled_from(ODD_VALUES) | st.binary(max_size=60),
        ),
        max_size=8,
    ),
    body=st.binary(max_size=60) | st.lists(_PIECES, max_size=10).map(b"".join),
    chunk=st.integers(1, 70),
    trusted=st.booleans(),
)
def test_m9_e04_any_octets_have_an_outcome(
    fields: list[tuple[bytes, bytes]], body: bytes, chunk: int, trusted: bool
) -> None:
    """And whatever we sign verifies as it is, with the same pieces of body or with others."""
    made = [HeaderField(name, value) for name, value in fields]
    outcome = run(made, body, trusted=trusted, chunk=chunk)
    assert outcome.result is not Result.PASS
    signatures = [edit for edit in outcome.edits if isinstance(edit, InsertField) and edit.name == b"DKIM-Signature"]
    assert bool(signatures) == (outcome.unsigned is None)
    if signatures:
        again = run([HeaderField(edit.name, edit.value) for edit in signatures] + made, body)
        assert [verdict.result for verdict in again.verdicts[: len(signatures)]] == [Result.PASS] * len(signatures)


def test_k8_bare_line_ends_are_not_made_proper() -> None:
    """The end of data that an MTA could be smuggled (K8): another body than the one with proper line ends."""
    proper = MESSAGE + b".\r\nMAIL FROM:<eve@example.org>\r\n"
    for odd in (b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\n.\n", b"\r.\r"):
        smuggled = MESSAGE + odd[1:] + b"MAIL FROM:<eve@example.org>\r\n"
        if smuggled == proper:
            continue
        moved = signed(proper, [RSA, ED]).removesuffix(proper) + smuggled
        assert {verdict.reason for verdict in verify(moved, ZONE)} == {Reason.BODY_HASH_MISMATCH}


def test_m9_a_bare_cr_or_lf_in_the_body_is_left_unsigned() -> None:
    """S12: a relay would change it, and the signature would break."""
    for body in (b"a\nb\r\n", b"a\rb\r\n", b"a\r", b"\n", b"a\r\r\n"):
        outcome = run([HeaderField(b"From", b" a@example.com")], body, trusted=True)
        assert outcome.unsigned is UnsignedReason.BARE_CR_OR_LF
        assert not outcome.edits


@pytest.mark.parametrize("name", ["X-Ä".encode(), b"X-\xff", "From\u200b".encode(), b"From\xa0", "\ufeffFrom".encode()])
def test_m9_names_that_are_not_ascii(name: bytes) -> None:
    """Neither signed nor believed: some reader may take such a name for another (RFC 5322 section 2.2)."""
    fields, body = parse_message(signed(MESSAGE, [RSA, ED]))
    odd = [HeaderField(name, b" eve@example.org"), *fields]
    outcome = run(odd, body)
    assert {verdict.reason for verdict in outcome.verdicts} == {Reason.HIDDEN_HEADER_NAME}
    assert outcome.result is Result.NEUTRAL
    outcome = run(odd[:1] + parse_message(MESSAGE)[0], body, trusted=True)
    assert outcome.unsigned is UnsignedReason.HIDDEN_HEADER_NAME
    assert outcome.result is Result.NONE


def test_signing_and_checking_agree_on_what_a_line_is() -> None:
    """Every short body: it is signed if and only if its line ends are proper."""
    for size in range(6):
        for octets in itertools.product(b"a \r\n", repeat=size):
            body = bytes(octets)
            proper = b"\r" not in body.replace(b"\r\n", b"") and b"\n" not in body.replace(b"\r\n", b"")
            for pieces in splits(body, 2):
                signer = Signer([HeaderField(b"From", b" a@example.com")], [], SignOptions(), NOW)
                for piece in pieces:
                    signer.body(piece)
                signer.finish()
                assert signer.bare_cr_or_lf is not proper, pieces


@pytest.mark.parametrize("limit", [998, 990, 78, 2040])
@pytest.mark.parametrize("more", [-1, 0, 1, 2])
def test_s12_lines_of_every_length_around_the_limit_in_every_two_pieces(limit: int, more: int) -> None:
    length = limit + more
    for tail in (b"", b"\r\n", b"\r\nab\r\n"):
        for start in (b"", b"ab\r\n"):
            body = start + b"x" * length + tail
            for at in (0, 1, 2, 3, 4, 5, length - 1, length, length + 1, len(body) - 3, len(body) - 1, len(body)):
                signer = Signer([HeaderField(b"From", b" a@example.com")], [], SignOptions(), NOW, limit)
                signer.body(body[:at])
                signer.body(body[at:])
                signer.finish()
                assert signer.long_line is (length > limit), (length, tail, start, at)
