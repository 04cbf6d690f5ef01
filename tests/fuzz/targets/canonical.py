"""Canonicalization. Oracle: however the body is cut into chunks, the hashes are those of a reader that has it whole
and was written line by line from RFC 6376 section 3.4; so are the faults that keep a body from being signed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from fuzz.reference import relaxed_body, relaxed_value, simple_body
from fuzz.target import Target, check
from phoenixdkim.dkim.canonical import BodyDigests, Canonicalization, canonical_header
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.sign import Signer, SignOptions

_SIMPLE, _RELAXED = Canonicalization.SIMPLE, Canonicalization.RELAXED
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def execute(data: bytes) -> None:
    """Octets: how many cuts, where; a length for l=; the body, in which 0xFF, n, c stands for a run of c."""
    cuts = data[:1]
    count = cuts[0] % 9 if cuts else 0
    places, length, text = data[1 : 1 + count], data[1 + count : 2 + count], data[2 + count :]
    body = _expanded(text)
    limit = length[0] if length else 0
    chunks = _cut(body, places)
    digests = BodyDigests([(_SIMPLE, None), (_RELAXED, None), (_SIMPLE, limit), (_RELAXED, limit)])
    signer = Signer([], [], SignOptions(), 0)
    for chunk in chunks:
        digests.update(chunk)
        signer.body(chunk)
    digests.finish()
    signer.finish()
    for how, canonical in ((_SIMPLE, simple_body(body)), (_RELAXED, relaxed_body(body))):
        check(digests.octets(how) == len(canonical), "octets", how, digests.octets(how), canonical[:200], chunks[:9])
        for end in (None, limit):
            expected = hashlib.sha256(canonical[:end]).digest()
            check(digests.digest(how, end) == expected, "hash", how, end, canonical[:200], chunks[:9])
    bare = bool(_BARE.search(body))
    check(signer.bare_cr_or_lf == bare, "bare CR or LF", bare, chunks[:9])
    if not bare:
        long = max(map(len, body.split(b"\r\n"))) > 998
        check(signer.long_line == long, "long line", long, [len(chunk) for chunk in chunks])
    field = HeaderField(b"Subject \t", body)
    check(canonical_header(field, _SIMPLE) == b"Subject \t:" + body + b"\r\n", "simple header")
    check(canonical_header(field, _RELAXED) == b"subject:" + relaxed_value(body) + b"\r\n", "relaxed header", body)


def _expanded(text: bytes) -> bytes:
    first, *runs = text.split(b"\xff")
    return first + b"".join(run[1:2] * (4 * run[0]) + run[2:] if len(run) > 1 else run for run in runs)


def _cut(body: bytes, places: bytes) -> list[bytes]:
    positions = sorted(place * max(len(body), 255) // 255 for place in places)
    return [body[at:end] for at, end in zip([0, *positions], [*positions, len(body)], strict=True)]


def seeds() -> Iterator[bytes]:
    yield b"\0\0"
    yield b"\x02\x20\x90\x10Hi.\r\n\r\nWe lost the game.  Are you\thungry yet? \r\n\r\nJoe.\r\n\r\n\r\n"
    yield b"\x04\x10\x20\x30\xff\x40a\xff\x60 \r\n\xff\xfab\r\n\xff\x10\r\r\n \r\n"
    yield b"\x03\x80\x81\x82\x05 \t \r\r\n\n\r \r\n\t"
    yield b"\x01\x7f\xff" + b"\r\n" * 60 + b" x"


TARGET = Target(
    execute, seeds, (b"\r\n", b"\r", b"\n", b" ", b"\t", b"\r\n ", b" \r\n", b"\xff\xffa", b"\xff\xf9b"), 384
)
