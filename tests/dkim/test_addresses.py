from __future__ import annotations

import time

import pytest

from phoenixdkim.dkim.addresses import AddressError, from_addresses


@pytest.mark.parametrize(
    "value, found",
    [
        (b" a@example.com", [b"a@example.com"]),
        (b" <a@example.com>", [b"a@example.com"]),
        (b" Joe SixPack <joe@Example.com>\r\n", [b"joe@Example.com"]),
        (b' "victim@example.net" <a@example.com>', [b"a@example.com"]),
        (b' "a, b" <a@example.com>, (c, d@e) b@example.org', [b"a@example.com", b"b@example.org"]),
        (b" (x (y) \\) <z@z>) a@example.com (c)", [b"a@example.com"]),
        (b" J. Doe\r\n\t<a@example.com>", [b"a@example.com"]),
        (b" team: a@example.com, B <b@example.com>;", [b"a@example.com", b"b@example.com"]),
        (b' "a b"@example.com', [b'"a b"@example.com']),
        (b' "a@b"@example.com', [b'"a@b"@example.com']),
        (b" =?utf-8?q?x=40y?= <a@example.com>", [b"a@example.com"]),
        ("\tÄ <ä@exämple.com>".encode(), ["ä@exämple.com".encode()]),
    ],
)
def test_s01_authors(value: bytes, found: list[bytes]) -> None:
    assert from_addresses(value) == found


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b" Joe",
        b" undisclosed:;",
        b" <>",
        b" a@",
        b" @example.com",
        b" a@b@example.com",
        b" <@example.net,@example.org:a@example.com>",  # K5: a route
        b" a@example.com <b@example.net>",  # K5: two readers, two authors
        b" <a@example.com> <b@example.net>",
        b" <a@example.com> b@example.net",
        b" a@example.com\x00.evil",
        b" <a@example.com",
        b' "open <a@example.com>',
        b" (open a@example.com",
        b" a..b@example.com",
        b" a@example..com",
        b" a@.example.com",
        b" a:b:c@example.com;",
        b" a@example.com;",
        b" a b@example.com",
        b" a\\b@example.com",
    ],
)
def test_k5_s01_refused(value: bytes) -> None:
    with pytest.raises(AddressError):
        from_addresses(value)


@pytest.mark.parametrize(
    "value", [b"(" * 60_000, b'"' + b"\\" * 60_001, b"<" * 60_000, b"a," * 30_000, b"," * 60_000, b"a@b," * 15_000]
)
def test_m6_linear(value: bytes) -> None:
    started = time.process_time()
    with pytest.raises(AddressError):
        from_addresses(value)
    assert time.process_time() - started < 1
