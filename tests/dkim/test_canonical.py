from __future__ import annotations

import hashlib
import itertools
import re
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoenixdkim.dkim.canonical import BodyDigests, Canonicalization, canonical_header
from phoenixdkim.dkim.headers import HeaderField

SIMPLE, RELAXED = Canonicalization.SIMPLE, Canonicalization.RELAXED


def reference(how: Canonicalization, body: bytes) -> bytes:
    """The whole body at once, in the words of RFC 6376 sections 3.4.3 and 3.4.4."""
    lines = body.split(b"\r\n")
    if how is RELAXED:
        lines = [re.sub(rb"[ \t]+", b" ", line) for line in lines]
        lines = [line.removesuffix(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"" if how is RELAXED else b"\r\n"
    return b"\r\n".join(lines) + b"\r\n"


def digests(body: bytes, cuts: list[int], lengths: tuple[int | None, ...] = (None,)) -> BodyDigests:
    made = BodyDigests([(how, length) for how in (SIMPLE, RELAXED) for length in lengths])
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    for start, end in itertools.pairwise(edges):
        made.update(body[start:end])
    made.finish()
    return made


@pytest.mark.parametrize(
    "body, simple, relaxed",
    [
        (b"", b"\r\n", b""),  # C03, C04
        (b"\r\n\r\n\r\n", b"\r\n", b""),
        (b" \t\r\n", b" \t\r\n", b""),
        (b" \t", b" \t\r\n", b""),
        (b"a", b"a\r\n", b"a\r\n"),  # C05
        (b"a \t", b"a \t\r\n", b"a\r\n"),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),  # RFC 6376 section 3.4.5
        (b"a\x0b\x0c\xa0 \r\n", b"a\x0b\x0c\xa0 \r\n", b"a\x0b\x0c\xa0\r\n"),  # C06
        (b"a \rb\nc \n", b"a \rb\nc \n\r\n", b"a \rb\nc \n\r\n"),  # C06: no line ends
        (b"a \r", b"a \r\r\n", b"a \r\r\n"),
        (b"a\r\n\r", b"a\r\n\r\r\n", b"a\r\n\r\r\n"),
    ],
)
def test_c03_c04_c05_c06_bodies(body: bytes, simple: bytes, relaxed: bytes) -> None:
    assert (reference(SIMPLE, body), reference(RELAXED, body)) == (simple, relaxed)
    made = digests(body, [])
    assert made.digest(SIMPLE, None) == hashlib.sha256(simple).digest()
    assert made.digest(RELAXED, None) == hashlib.sha256(relaxed).digest()
    assert (made.octets(SIMPLE), made.octets(RELAXED)) == (len(simple), len(relaxed))


_PIECES = st.sampled_from([b" ", b"\t", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"a", b"\xff", b" " * 65, b"\0"])


@settings(max_examples=400, deadline=None)
@given(
    body=st.lists(_PIECES, max_size=24).map(b"".join),
    cuts=st.lists(st.integers(0, 120), max_size=8),
    length=st.integers(0, 40),
)
def test_c03_c04_c11_pieces_do_not_matter(body: bytes, cuts: list[int], length: int) -> None:
    made = digests(body, cuts, (None, length))
    for how in (SIMPLE, RELAXED):
        whole = reference(how, body)
        assert made.octets(how) == len(whole)
        assert made.digest(how, None) == hashlib.sha256(whole).digest()
        assert made.digest(how, length) == hashlib.sha256(whole[:length]).digest()


@given(body=st.lists(_PIECES, max_size=12).map(b"".join))
def test_single_octets(body: bytes) -> None:
    made = digests(body, list(range(len(body))))
    for how in (SIMPLE, RELAXED):
        assert made.digest(how, None) == hashlib.sha256(reference(how, body)).digest()


@pytest.mark.parametrize(
    "piece", [b" " * 65536, b"\t" * 65536, b"\r\n" * 32768, b" \r\n" * 20000, b"\r" * 65536, (b" " * 63 + b"a") * 1000]
)
def test_m1_linear_time_and_constant_memory(piece: bytes) -> None:
    """M1: 8 MB of nothing but white space, line ends or CR."""
    made = BodyDigests([(SIMPLE, None), (RELAXED, None)])
    count = 8_000_000 // len(piece)
    made.update(piece)
    tracemalloc.start()
    started = time.process_time()
    for _ in range(count):
        made.update(piece)
    made.update(b"x")
    made.finish()
    used = time.process_time() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < 3
    assert peak < 2_000_000


@pytest.mark.parametrize(
    "name, value, relaxed",
    [
        (b"A", b" X", b"a:X\r\n"),
        (b"B ", b" Y\t\r\n\tZ  ", b"b:Y Z\r\n"),
        (b"SubJect", b"a  b\r\n c", b"subject:a b c\r\n"),
        (b"X", b"", b"x:\r\n"),
        (b"X", b" \r\n \t", b"x:\r\n"),
        (b"X", b" \x0ba\x0c ", b"x:\x0ba\x0c\r\n"),  # C06
        (b"X", b" a\rb\nc\xa0", b"x:a\rb\nc\xa0\r\n"),
        ("X-Ä".encode(), b" \xff", "x-Ä".encode() + b":\xff\r\n"),  # E03
    ],
)
def test_c01_c02_c12_header_fields(name: bytes, value: bytes, relaxed: bytes) -> None:
    field = HeaderField(name, value)
    assert canonical_header(field, RELAXED) == relaxed
    assert canonical_header(field, SIMPLE) == name + b":" + value + b"\r\n"


def test_m1_header_of_white_space_is_linear() -> None:
    started = time.process_time()
    assert canonical_header(HeaderField(b"X", b" \t" * 500_000 + b"a"), RELAXED) == b"x:a\r\n"
    assert canonical_header(HeaderField(b"X", b"\r\n " * 300_000), RELAXED) == b"x:\r\n"
    assert time.process_time() - started < 1
