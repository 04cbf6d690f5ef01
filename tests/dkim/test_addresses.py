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


TOO_LONG = "too long, or with a NUL"
NONE = "no address"
NO_SPEC = "no addr-spec"
BRACKETS = "brackets out of place"
OPEN = "an open group or bracket"
COLON = "a colon out of place"
LOCAL = "a malformed local part"
DOMAIN = "no domain"


@pytest.mark.parametrize(
    "value, words",
    [
        (b"", NONE),
        (b" ", NONE),
        (b" Joe", NO_SPEC),
        (b" undisclosed:;", NONE),
        (b" <>", NO_SPEC),
        (b" a@", NO_SPEC),
        (b" @example.com", NO_SPEC),
        (b" a@b@example.com", NO_SPEC),
        (b" <@example.net,@example.org:a@example.com>", NO_SPEC),  # K5: a route
        (b" <a,b@example.com>", NO_SPEC),
        (b" a@example.com <b@example.net>", "a display name that is none"),  # K5: two readers, two authors
        (b" <a@example.com> <b@example.net>", BRACKETS),
        (b" <a@example.com> b@example.net", BRACKETS),
        (b" <a@example.com> b", BRACKETS),
        (b" <a@example.com>>", BRACKETS),
        (b" <<a@example.com>", BRACKETS),
        (b" a@example.com\x00.evil", TOO_LONG),
        (b"a@example.com" + b" " * 65524, TOO_LONG),
        (b" <a@example.com", OPEN),
        (b" g: a@example.com", OPEN),
        (b' "open <a@example.com>', "an open quoted string"),
        (b" (open a@example.com", "an open comment"),
        (b" a@[192.0.2.1", "an open domain literal"),
        (b" a@[192.0.2.1]", NO_SPEC),
        (b' a@[192.0.2.1]"', "an open quoted string"),
        (b" [1]@example.com", NO_SPEC),
        (b" [1] <a@example.com> [2]", BRACKETS),
        (b" [1] <a@example.com>", "a display name that is none"),
        (b' a@"example.com"', NO_SPEC),
        (b' a "b" example.com', NO_SPEC),
        (b" .a@example.com", LOCAL),
        (b" a.@example.com", LOCAL),
        (b" a..b@example.com", LOCAL),
        (b" a@example..com", DOMAIN),
        (b" a@.example.com", DOMAIN),
        (b" a@.", DOMAIN),
        (b" a:b:c@example.com;", COLON),
        (b" :a@example.com;", COLON),
        (b" a@b: c@example.com;", COLON),
        (b" a@example.com;", "a semicolon out of place"),
        (b" a b@example.com", NO_SPEC),
        (b" a\\b@example.com", "an octet that has no place here"),
        (b"a@b.example," * 101, "too many addresses"),
    ],
)
def test_k5_s01_refused(value: bytes, words: str) -> None:
    with pytest.raises(AddressError) as refused:
        from_addresses(value)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    "value",
    [
        b"a@example.com" + b" " * 65523,
        b"(\\a)a@example.com",
        b"(c)a@example.com",
        b"a@example.com.",
        b" <a@example.com>,",
        b' "g": a@example.com;',
    ],
)
def test_s01_just_an_author(value: bytes) -> None:
    assert from_addresses(value) == [b"a@example.com"]


@pytest.mark.parametrize("value", [b'""@example.com', b'"\\a"@example.com', b'".a."@example.com', b"a@example.XX"])
def test_s01_as_written(value: bytes) -> None:
    assert from_addresses(value) == [value]


def test_s01_a_hundred_authors() -> None:
    assert from_addresses(b"a@b.example," * 100) == [b"a@b.example"] * 100


@pytest.mark.parametrize(
    "value", [b"(" * 60_000, b'"' + b"\\" * 60_001, b"<" * 60_000, b"a," * 30_000, b"," * 60_000, b"a@b," * 15_000]
)
def test_m6_linear(value: bytes) -> None:
    started = time.process_time()
    with pytest.raises(AddressError):
        from_addresses(value)
    assert time.process_time() - started < 1
