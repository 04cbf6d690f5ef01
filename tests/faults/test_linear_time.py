"""Time in proportion to the octets, whatever they are (M1, M2, M6, M11, M13, G5).

Each family is a pattern that has brought some mail software to its knees: 1 MB and 10 MB of it are worked through, with
limits as wide as options let them be, and ten times as much may take twelve times as long. CPU time of this process is
compared, not the clock, so that a busy machine changes nothing; and what is forty times faster than the bound of 0.2 s
a MB is not compared at all, because there the noise is larger than the work.
"""

from __future__ import annotations

import base64
import dataclasses
import gc
import hashlib
import time
from collections.abc import Callable

import pytest

from phoenixdkim import authres, log
from phoenixdkim.config.model import LimitsTable
from phoenixdkim.dkim.addresses import AddressError, from_addresses
from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField, parse_message
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, KeyRecordError, key_answer, parse_key_record
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dkim.selection import without_b
from phoenixdkim.dkim.sign import Signer, SignOptions
from phoenixdkim.dkim.signature import SignatureError, parse_signature
from phoenixdkim.dkim.tags import TagListError, parse_tag_list
from phoenixdkim.dkim.verify import SignatureVerdict, Verifier, determinative
from phoenixdkim.milter.accounting import summary
from phoenixdkim.milter.outcome import Outcome
from phoenixdkim.milter.session import Client, MessageSession
from phoenixdkim.policy import Policy
from signed_mail import NOW, ed_key, rsa_private, zone

MB = 1_000_000
RATIO = 12.0
A_MB = 0.2
"""Seconds of CPU that a MB may take (M1)."""
US = b"mx.example.com"
WIDEST = Limits(
    **{
        name: next(entry.le for entry in info.metadata if hasattr(entry, "le"))
        for name, info in LimitsTable.model_fields.items()
        if name not in ("min_rsa_bits", "clock_drift")
    }
)
LARGE_RECORD = dataclasses.replace(WIDEST, max_key_record_octets=10**9)
SIMPLE, RELAXED = Canonicalization.SIMPLE, Canonicalization.RELAXED
ED = ed_key()
ZONE = zone(ED)
((KEY_NAME, (KEY_RECORD,)),) = ZONE.items()
ANSWERS = {KEY_NAME: key_answer([KEY_RECORD], DnssecStatus.UNKNOWN, WIDEST)}

Work = Callable[[bytes], object]


def filled(pattern: bytes, size: int) -> bytes:
    return (pattern * (size // len(pattern) + 1))[:size]


def cpu(work: Work, data: bytes) -> float:
    gc.collect()
    gc.disable()
    try:
        started = time.process_time()
        work(data)
        return time.process_time() - started
    finally:
        gc.enable()


def assert_linear(work: Work, make: Callable[[int], bytes], size: int = MB, a_mb: float = A_MB) -> None:
    """Ten times the octets take at most twelve times as long, and a MB no longer than it may."""
    small, large = make(size), make(10 * size)
    assert len(large) > 9 * len(small)
    told = []
    for _ in range(5):
        # The least of several: what else the machine does can only add to it.
        one = min(cpu(work, small) for _ in range(2))
        ten = cpu(work, large)
        a_mb_took = ten / (len(large) / MB)
        if a_mb_took <= a_mb and (ten <= RATIO * one or a_mb_took < A_MB / 40):
            return
        told.append(f"{one:.4f} s, {ten:.4f} s")
    raise AssertionError(f"not linear, or too slow: {'; '.join(told)}")


def verifier() -> Verifier:
    """One that hashes a body in both canonicalizations, whole and cut short."""
    rows = [
        HeaderField(
            b"DKIM-Signature",
            b" v=1; a=ed25519-sha256; d=example.com; s=e; h=from; bh=QQ==; b=QQ==; c=simple/" + how + length,
        )
        for how in (b"simple", b"relaxed")
        for length in (b"", b"; l=5000000")
    ]
    made = Verifier([*rows, HeaderField(b"From", b" a@example.com")], WIDEST, NOW)
    assert made.needs_body
    return made


def body(chunk: int) -> Work:
    def work(data: bytes) -> None:
        checking = verifier()
        signing = Signer([HeaderField(b"From", b" a@example.com")], [ED], SignOptions(body_canon=RELAXED), NOW)
        for at in range(0, len(data), chunk):
            piece = data[at : at + chunk]
            checking.body(piece)
            signing.body(piece)
        checking.finish(ANSWERS)
        signing.finish()

    return work


BODIES = {
    "spaces": b" ",
    "tabs": b"\t",
    "spaces and tabs": b" \t",
    "runs of 63 spaces": b" " * 63 + b"a",
    "runs of 65 spaces": b" " * 65 + b"a",
    "runs of 4095 spaces": b" " * 4095 + b"a",
    "two spaces": b"a  ",
    "CRLF": b"\r\n",
    "CR": b"\r",
    "LF": b"\n",
    "CR CRLF": b"\r\r\n",
    "CRLF LF": b"\r\n\n",
    "space CRLF": b" \r\n",
    "tab space CRLF CRLF": b"\t \r\n\r\n",
    "space CR": b" \r",
    "short lines": b"a\r\n",
    "lines of 998": b"a" * 998 + b"\r\n",
    "lines of 999": b"a" * 999 + b"\r\n",
    "one line": b"a",
    "NUL": b"\0",
    "8-bit": b"\xff\xa0",
}


@pytest.mark.parametrize("name", BODIES)
def test_m1_bodies(name: str) -> None:
    assert_linear(body(65535), lambda size: filled(BODIES[name], size))


@pytest.mark.parametrize("name", ["spaces", "runs of 63 spaces", "runs of 4095 spaces", "CRLF", "space CRLF"])
def test_m1_bodies_in_small_pieces(name: str) -> None:
    """In these something is held back at the end of each piece."""
    assert_linear(body(4096), lambda size: filled(BODIES[name], size))


@pytest.mark.parametrize("name", BODIES)
def test_t6_bodies_octet_by_octet(name: str) -> None:
    """Twenty microseconds an octet are a call each of ours; what counts is that they don't grow."""
    assert_linear(body(1), lambda size: filled(BODIES[name], size), size=2000, a_mb=60)


def field_of(name: bytes) -> Callable[[bytes], list[HeaderField]]:
    return lambda data: [HeaderField(name, data)]


def fields_like(name: bytes, pattern: bytes) -> Callable[[bytes], list[HeaderField]]:
    return lambda data: [HeaderField(name, pattern)] * (len(data) // (len(name) + len(pattern) + 3))


BODY_HASH = base64.b64encode(hashlib.sha256(b"text\r\n").digest())
EXPECTED = {
    Reason.SIGNATURE_MISMATCH,
    Reason.TOO_MANY_HEADER_FIELDS,
    Reason.MULTIPLE_FROM,
    Reason.HIDDEN_HEADER_NAME,
    Reason.TOO_MANY_SIGNATURES,
    Reason.TAG_LIST_SYNTAX,
    Reason.BODY_HASH_MISMATCH,
    Reason.DNS_UNAVAILABLE,
}


def session(make: Callable[[bytes], list[HeaderField]]) -> Callable[[bytes], Outcome]:
    """A whole message with that header before a signature that covers it, and a key that is there."""
    policy = Policy(US, limits=WIDEST)

    def work(data: bytes) -> Outcome:
        running = MessageSession(policy, Client("192.0.2.1"), NOW)
        for how in (b"simple", b"relaxed"):
            text = b" v=1; a=ed25519-sha256; d=example.com; s=e; h=from" + b":x" * 2000 + b":y; b=QQ==; bh="
            running.header(b"DKIM-Signature", text + BODY_HASH + b"; c=" + how)
        for field in make(data):
            running.header(field.name, field.value)
        running.header(b"From", b" a@example.com")
        running.end_of_headers()
        running.body(b"text\r\n")
        outcome = running.end_of_message(ANSWERS)
        summary("queue id", outcome)
        # The header was hashed, unless a limit came first.
        assert {verdict.reason for verdict in outcome.verdicts} <= EXPECTED
        return outcome

    return work


HEADERS = {
    "one field of spaces": field_of(b"X"),
    "fields named like the signed one": fields_like(b"X", b" y"),
    "fields of many names": lambda data: [HeaderField(b"Y%d" % n, b" y") for n in range(len(data) // 10)],
    "empty fields": fields_like(b"X", b""),
    "DKIM-Signature fields": fields_like(
        b"DKIM-Signature", b" v=1; a=ed25519-sha256; d=a.example; s=e; h=from; bh=QQ==; b=QQ=="
    ),
    "DKIM-Signature fields that are none": fields_like(b"DKIM-Signature", b" x"),
    "forged Authentication-Results": fields_like(b"Authentication-Results", b" mx.example.com; dkim=pass"),
    "Authentication-Results of others": fields_like(b"authentication-RESULTS", b" mx.example.org; dkim=pass"),
    "Authentication-Results with comments": fields_like(b"Authentication-Results", b" " + b"(x)" * 60 + b"a; none"),
    "Authentication-Results without sense": fields_like(b"Authentication-Results", b'"' + b"\\a" * 900),
    "From fields": fields_like(b"From", b" a@example.com"),
    "names that are not ASCII": fields_like(b"\xff", b" x"),
}
FILLINGS = {
    "spaces": b" ",
    "tabs and spaces": b"\t ",
    "folds": b"\r\n ",
    "folds of tabs": b"\r\n\t",
    "runs of 63": b" " * 63 + b"a",
    "letters": b"a",
    "CR": b"\r",
    "CRLF": b"\r\n",
}


@pytest.mark.parametrize("name", HEADERS)
def test_m2_m6_m11_headers(name: str) -> None:
    assert_linear(session(HEADERS[name]), lambda size: filled(b" ", size))


@pytest.mark.parametrize("name", FILLINGS)
def test_m1_m6_one_huge_field(name: str) -> None:
    work = session(field_of(b"X"))
    assert {verdict.reason for verdict in work(filled(FILLINGS[name], 1000)).verdicts} == {Reason.SIGNATURE_MISMATCH}
    assert_linear(work, lambda size: filled(FILLINGS[name], size))


def forged(data: bytes) -> bool:
    return authres.forged(data, US)


AUTHRES = {
    "open comments": b"(",
    "comments": b"(a)",
    "escapes in comments": b"(\\(",
    "quoted strings": b'"a"',
    "escapes in a quoted string": b'\\"',
    "words": b"a ",
    "pairs": b"a=b ",
    "slashes": b"a/",
    "one word": b"a",
    "our name": b"mx.example.com ",
    "u-labels": "ä.".encode(),
    "semicolons": b";",
    "equals": b"=",
    "encoded words": b"=?utf-8?q?=6D?= ",
    "encoded words of base64": b"=?x?b?bX=g?=",
    "starts of encoded words": b"=?x?q?a",
    "ends of encoded words": b"?=",
    "question marks": b"=?",
    "runs": b"<mx.example.co>",
    "escapes": b"\\m",
    "controls": b"m\x01",
    "zero-width characters": "m\u200b".encode(),
    "octets that are not UTF-8": b"m\xff",
    "apostrophes": b"'a",
    "folds": b"\r\n ",
    "digits": b"1 ",
    "dots": b"a.",
}


@pytest.mark.parametrize("start", [b"", b"(", b'"', b"=?utf-8?q?x?= "])
@pytest.mark.parametrize("name", AUTHRES)
def test_m11_authentication_results(name: str, start: bytes) -> None:
    assert_linear(forged, lambda size: start + filled(AUTHRES[name], size))


def tag_list(data: bytes) -> None:
    """Everything that reads a signature or a key record."""
    for read in (
        lambda: parse_tag_list(data, WIDEST.max_tags),
        lambda: parse_signature(HeaderField(b"DKIM-Signature", data), WIDEST, NOW),
        lambda: parse_key_record(data, LARGE_RECORD),
    ):
        try:
            read()
        except (TagListError, SignatureError, KeyRecordError):
            continue
    if data.count(b";") < WIDEST.max_tags:
        # Of others no hash is made.
        without_b(HeaderField(b"DKIM-Signature", data))


_START = b"v=1; a=rsa-sha256; d=example.com; s=s; bh=QQ==; "
TAG_LISTS: dict[str, tuple[bytes, bytes, bytes]] = {
    "semicolons": (b"", b";", b""),
    "equals": (b"b", b"=", b""),
    "white space": (b"", b" ", b""),
    "white space before =": (b"b", b" \t\r\n", b"=x"),
    "one tag again and again": (b"", b"a=b;", b""),
    "h= of many names": (_START + b"b=QQ==; h=from", b":a", b""),
    "h= of blanks": (_START + b"b=QQ==; h=from", b" \t:", b""),
    "b= of blanks": (_START + b"h=from; b=", b"Q Q\r\n\t=\t=", b""),
    "b= of base64": (_START + b"h=from; b=", b"QUJD", b""),
    "b= of padding": (_START + b"h=from; b=QQ", b"=", b""),
    "z=": (_START + b"h=from; b=QQ==; z=", b"From:a|", b""),
    "i=": (_START + b"h=from; b=QQ==; i=", b"a", b"@example.com"),
    "i= of blanks": (_START + b"h=from; b=QQ==; i=", b" a", b"@example.com"),
    "i= of at signs": (_START + b"h=from; b=QQ==; i=", b"@", b"example.com"),
    "d= of dots": (_START.replace(b"example", b"a." * 100), b"x.", b""),
    "l= of digits": (_START + b"h=from; b=QQ==; l=", b"9", b""),
    "x= of digits": (_START + b"h=from; b=QQ==; x=", b"9", b""),
    "q= of colons": (_START + b"h=from; b=QQ==; q=", b"a:", b""),
    "p= of blanks": (b"p=", b"Q ", b""),
    "p= of base64": (b"k=ed25519; p=", b"QUJD", b""),
    "p= of zeros in DER": (b"p=MIMPAAAC", b"AAAA", b""),
    "key record notes": (b"n=", b"a ", b"; p="),
    "key record flags": (b"t=", b"y:", b"; p="),
}


@pytest.mark.parametrize("name", TAG_LISTS)
def test_m3_m6_m13_tag_lists(name: str) -> None:
    start, pattern, end = TAG_LISTS[name]
    assert_linear(tag_list, lambda size: start + filled(pattern, size) + end, size=MB // 11)
    # Ten times more than any option allows: refused by its length, or by its number of tags.
    assert cpu(tag_list, start + filled(pattern, 10 * MB) + end) < 10 * A_MB


def many_tags(size: int) -> bytes:
    return b"".join(b"a%06d=b;" % number for number in range(size // 10))


def test_m6_many_distinct_tags() -> None:
    """10,000 and 100,000 tags, where an option allows 1,000: counted, not read."""
    assert_linear(tag_list, many_tags, size=MB // 11)


def addresses(data: bytes) -> None:
    try:
        from_addresses(data)
    except AddressError:
        return


@pytest.mark.parametrize(
    "pattern",
    [
        b"(",
        b"(a)",
        b'"a"',
        b'\\"',
        b"\\",
        b"a@b.c,",
        b"<",
        b"<>",
        b"<@",
        b"<a@b>",
        b")",
        b"\r",
        b"a:;",
        b"a ",
        b" ",
        b"\r\n ",
        b"\xff",
        b"[",
    ],
)
@pytest.mark.parametrize("start", [b"", b'"', b"("])
def test_from_values(pattern: bytes, start: bytes) -> None:
    """Each octet is looked at by itself, so these have a bound of their own, 65,536 octets: a twentieth of a second."""
    assert_linear(addresses, lambda size: start + filled(pattern, size), size=6500, a_mb=2.0)
    assert cpu(addresses, start + filled(pattern, MB)) < 0.01


@pytest.mark.parametrize("pattern", [b"\x01", b"\x1b[", b"\xff", "\u2028".encode(), b'"', b"\\", b"a ", b"%s"])
def test_m14_log_lines(pattern: bytes) -> None:
    """Values are cut at 255 octets before they are escaped; these are far longer."""
    assert_linear(log.value, lambda size: filled(pattern, size), size=20_000, a_mb=5 * A_MB)


def verdicts(data: bytes) -> None:
    """A field of as many clauses as there are octets, over 250."""
    rows = [
        SignatureVerdict(
            result=authres.Result.FAIL,
            reason=authres.Reason.SIGNATURE_MISMATCH,
            domain=b"a.example",
            identity=b'"(;\r\n\xff' * 20,
            b=b"AAAAAAAA" + b"%08d" % number,
        )
        for number in range(len(data) // 250)
    ]
    determinative(rows)
    authres.build(US, rows)


def test_m13_results_of_many_signatures() -> None:
    """100 and 1,000 signatures that begin alike, where an option allows 100 at most."""
    assert_linear(verdicts, lambda size: filled(b"x", size), size=25_000, a_mb=10 * A_MB)


@pytest.mark.parametrize("pattern", [b"X: y\r\n", b" \r\n", b"X:\r\n ", b"a", b":", b"\r\n", b"X: \r\n\t\r\n"])
def test_m9_messages_from_files(pattern: bytes) -> None:
    """As the commands read them; a field is an object, which costs more than its octets."""
    assert_linear(parse_message, lambda size: b"X: y\r\n" + filled(pattern, size), size=MB // 10, a_mb=5 * A_MB)


def test_m3_keys_of_every_size_are_refused_in_no_time() -> None:
    """Neither modulus nor exponent is computed with before both are known to be within their bounds."""

    def element(tag: int, content: bytes) -> bytes:
        return bytes((tag, 0x83)) + len(content).to_bytes(3, "big") + content

    def number(bits: int) -> bytes:
        return element(2, b"\0" + (2 ** (bits - 1) + 1).to_bytes((bits + 7) // 8, "big"))

    numbers = rsa_private().public_key().public_numbers()
    for modulus, exponent in ((200_000, 17), (2048, 200_000), (200_000, 200_000), (16_384, 8_192), (2048, 33)):
        record = b"p=" + base64.b64encode(element(0x30, number(modulus) + number(exponent)))
        with pytest.raises(KeyRecordError):
            parse_key_record(record, Limits(max_key_record_octets=10**9))
        assert (
            cpu(lambda data: key_answer([data], DnssecStatus.UNKNOWN, Limits(max_key_record_octets=10**9)), record)
            < 0.05
        )
    assert numbers.e == 65537
    assert key_answer([KEY_RECORD], DnssecStatus.UNKNOWN, Limits()) == ANSWERS[KEY_NAME]
    assert isinstance(ANSWERS[KEY_NAME], KeyAnswer) and ANSWERS[KEY_NAME].outcome is KeyOutcome.FOUND
