"""A signature, octet for octet: Ed25519 signs the same text the same way each time."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.dkim.sign import Signer, SigningKey, SignOptions

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FIELDS = [
    HeaderField(b"Received", b" never signed"),
    HeaderField(b"Subject", b" one"),
    HeaderField(b"SUBJECT", b" two"),
    HeaderField(b"from", b" A <a@example.com>"),
    HeaderField(b"List-Id", b" <l.example>"),
]


def value(options: SignOptions, **changes: object) -> bytes:
    parts = {"domain": b"example.com", "selector": b"s1", "identity": b"", **changes}
    key = SigningKey("k", algorithm=Algorithm.ED25519_SHA256, private=KEY, **parts)  # type: ignore[arg-type]
    signer = Signer(FIELDS, [key], options, 1_700_000_000)
    signer.body(b"Hi  there \r\n\r\n")
    ((_, made),) = signer.finish()
    assert made is not None
    return made


def test_s02_s03_s05_s08_the_usual() -> None:
    assert value(SignOptions()).split(b"\r\n\t") == [
        b" v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.com; s=s1;",
        b"t=1700000000;",
        b"h=From:From:Subject:Subject:Subject:Reply-To:List-Id;",
        b"bh=LaegeaE4sWd4l9K7YWNlAinmqUePEZwKG9dMjiYmLn8=; b=",
        b"44HdXTdqSBkSRzaB2lScZ9zprIMMeMKp58cI6HKh3geluKOpxg5U5sejUj/qmfZYaDivVGd6HvB",
        b"lz+SDOghtDA==",
    ]


def test_s05_everything_set() -> None:
    options = SignOptions(
        Canonicalization.SIMPLE,
        Canonicalization.RELAXED,
        signed=(b"subject", b"From", b"X", b"LIST-ID"),
        oversigned=(b"X", b"Subject"),
        oversigned_if_present=(),
        ttl=3600,
    )
    assert value(options, identity=b"j=o; \x7f\xff~!@sub.example.com").split(b"\r\n\t") == [
        b" v=1; a=ed25519-sha256; c=simple/relaxed; d=example.com; s=s1;",
        b"t=1700000000; x=1700003600; i=j=3Do=3B=20=7F=FF~!@sub.example.com;",
        b"h=From:From:subject:subject:subject:X:LIST-ID;",
        b"bh=LaegeaE4sWd4l9K7YWNlAinmqUePEZwKG9dMjiYmLn8=; b=",
        b"I1YUHTdUTbSIq5kQlSeaDV4KR/luxKS4hVQavxDnhtmP+O+p3bd6DjxjTNDfKq0PTBrCbFAVJgP",
        b"pMVNKX+cXBg==",
    ]


@pytest.mark.parametrize("length, first, second", [(2, 63, 13), (3, 57, 20), (23, 57, 40)])
def test_s08_the_first_line_leaves_room_for_the_name(length: int, first: int, second: int) -> None:
    lines = value(SignOptions(), selector=b"s" * length).split(b"\r\n\t")
    assert [len(line) for line in lines[:2]] == [first, second]


@pytest.mark.parametrize("length, lines", [(76, 1), (77, 2)])
def test_s08_other_lines_are_filled(length: int, lines: int) -> None:
    """``h=``, the names, and the last semicolon, of which each is a word: 76 octets at most."""
    options = SignOptions(
        signed=(), oversigned_if_present=(), oversigned=(b"X" * (length - len("h=From:From:Subj:;")), b"Subj")
    )
    made = value(options).split(b"\r\n\t")
    start = next(number for number, line in enumerate(made) if line.startswith(b"h="))
    end = next(number for number, line in enumerate(made) if line.startswith(b"bh="))
    assert end - start == lines
