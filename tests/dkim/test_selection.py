from __future__ import annotations

import hashlib

import pytest

from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.selection import HeaderIndex, without_b

OWN = HeaderField(b"DKIM-Signature", b" v=1; b=own")
FIELDS = [
    HeaderField(b"DKIM-Signature", b" v=1; b=other"),
    OWN,
    HeaderField(b"To", b" one"),
    HeaderField(b"From", b" me"),
    HeaderField(b"to ", b" two"),
]


def hashed(names: list[bytes], own: HeaderField | None = OWN) -> bytes:
    return HeaderIndex(FIELDS).digest(names, Canonicalization.RELAXED, HeaderField(b"S", b" x"), own)


@pytest.mark.parametrize(
    "names, text",
    [
        ([b"from"], b"from:me\r\n"),
        ([b"to", b"from", b"to"], b"to:two\r\nfrom:me\r\nto:one\r\n"),  # C09, C13
        ([b"to", b"to", b"to", b"absent"], b"to:two\r\nto:one\r\n"),  # C09, V14
        ([b"dkim-signature", b"dkim-signature"], b"dkim-signature:v=1; b=other\r\n"),  # C10
    ],
)
def test_c07_c09_c10_c13_selection(names: list[bytes], text: bytes) -> None:
    assert hashed(names) == hashlib.sha256(text + b"s:x").digest()  # C07: last, and without CRLF


def test_c10_signature_in_any_place_is_left_out() -> None:
    first = HeaderIndex([OWN, FIELDS[0]]).digest([b"dkim-signature"], Canonicalization.RELAXED, OWN, OWN)
    assert first == hashlib.sha256(b"dkim-signature:v=1; b=other\r\ndkim-signature:v=1; b=own").digest()


@pytest.mark.parametrize(
    "value, emptied",
    [
        (b" a=1; b=xyz; bh=q", b" a=1; b=; bh=q"),
        (b" bh=q; b=x\r\n\ty=", b" bh=q; b="),
        (b" bh=q;\r\n b\r\n =\r\n x; c=b=1", b" bh=q;\r\n b\r\n =; c=b=1"),
        (b"b=x;", b"b=;"),
        (b" bh=q", b" bh=q"),
        (b" bb=b=1; b = x ", b" bb=b=1; b ="),
    ],
)
def test_c08_only_b_is_emptied(value: bytes, emptied: bytes) -> None:
    assert without_b(HeaderField(b"DKIM-Signature", value)).value == emptied
