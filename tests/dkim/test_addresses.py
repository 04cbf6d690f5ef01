from __future__ import annotations

import contextlib
import time

import pytest

from phoenixdkim.dkim.addresses import ADDRESS_FAULTS, AddressError, AddressFault, from_addresses


@pytest.mark.parametrize(
    "value, found",
    [
        (b" a@example.com", [b"a@example.com"]),
        (b" <a@example.com>", [b"a@example.com"]),
        (b" Joe SixPack <joe@Example.com>\r\n", [b"joe@Example.com"]),
        (b' "victim@example.net" <a@example.com>', [b"a@example.com"]),
        (b' "a, b" <a@example.com>, (c, d@e) <b@example.org>', [b"a@example.com", b"b@example.org"]),
        (b" (x (y) \\) <z@z>) a@example.com (c)", [b"a@example.com"]),
        (b" J. Doe\r\n\t<a@example.com>", [b"a@example.com"]),
        (b" team: a@example.com, b@example.com;", [b"a@example.com", b"b@example.com"]),
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
        b" <a@x.example>",
        b" a@x.example <a@x.example>",
        b" b@y.example <a@x.example>",
        b" Foo, Inc. <a@x.example>",
        b" Foo [Sales] <a@x.example>",
        b" Ann @ Home <a@x.example>",
        b" Ann: Sales <a@x.example>",
        b" Ann; Sales: 1 <a@x.example>",
        b" b@y.example, Foo <a@x.example>, c@z.example",
        b" <a@x.example> b@y.example",
        b" <a@x.example> @ Home",
        b" <a@x.example>;",
        b' "Foo <b@y.example>" <a@x.example>',
        b' "Foo \\" <b@y.example>" <a@x.example>',
        b" (<b@y.example> (c) \\)) <a@x.example> (<c@z.example>)",
        b" =?utf-8?q?=3Cb=40y=2Eexample=3E?= <a@x.example>",
        b" J\xf6rg \xff\x01 <a@x.example>",
        b' "open <a@x.example>',
        b' b@y.example" <a@x.example>',
        b' O"Brien <a@x.example>',
        b" Sad :( b@y.example <a@x.example>",
        b" Glad :) b@y.example <a@x.example>",
        b" Ann \\ Bob <a@x.example>",
        b" Ann <Sales> <a@x.example> <>",
        b" I <3 you <a@x.example>",
        b" b@y.example <3 <a@x.example>",
        b" <a@x.example>>",
        b" <<a@x.example>",
        b" <<a@x.example>>",
        b" <(c)\r\n\ta (c) @ x.example. >",
        b"<a@x.example>\r\n",
        b" <a@x .example>",
        b" <a@x. example>",
        b" <a@x . example.>",
        b" Ann <a@x\r\n .example>",
        b" Ann <a@x.\r\n\texample>",
        b" Ann <a@(c)x(c).(c)example(c)>",
    ],
)
def test_s01_one_address_in_brackets_decides_alone(value: bytes) -> None:
    assert from_addresses(value) == [b"a@x.example"]


@pytest.mark.parametrize(
    "value, found",
    [
        (b" a@x.example;", b"a@x.example"),
        (b" Ann a@x.example Lee", b"a@x.example"),
        (b" mailto:a@x.example", b"a@x.example"),
        (b" <mailto:a@x.example>", b"a@x.example"),
        (b" <Ann a@x.example>", b"a@x.example"),
        (b" <a,b@x.example>", b"b@x.example"),
        (b" <a@x.example", b"a@x.example"),
        (b" a@x.example>", b"a@x.example"),
        (b" .a..b.@x.example", b".a..b.@x.example"),
        (b" A <a@x.example> B <b@y.example>", b"a@x.example b@y.example"),
        (b" c@z.example A <a@x.example>, B <b@y.example>", b"c@z.example a@x.example b@y.example"),
        (b" <b@y.example<a@x.example>>", b"b@y.example a@x.example"),
        (b" <b@y.example <a@x.example>", b"b@y.example a@x.example"),
        (b" <a@x.example> b@y.example>", b"a@x.example b@y.example"),
        (b" b@y.example> <a@x.example>", b"b@y.example a@x.example"),
        (b" <a@x.example> <b@y.example", b"a@x.example b@y.example"),
        # Quotes, parentheses or backslashes that do not pair up: what a reader takes for quoted is not known.
        (b' "Foo <b@y.example>" "Bar <a@x.example>', b"b@y.example a@x.example"),
        (b' Foo\\" <b@y.example> " <a@x.example>', b"b@y.example a@x.example"),
        (b' (" <b@y.example>) <a@x.example>"', b"b@y.example a@x.example"),
        (b" (<b@y.example> <a@x.example>", b"b@y.example a@x.example"),
        (b' a@x.example, "b@y.example', None),
    ],
)
def test_k5_all_addresses_count(value: bytes, found: bytes | None) -> None:
    if found is None:
        assert _fault(value) is AddressFault.NO_LOCAL_PART
    else:
        assert from_addresses(value) == found.split(b" ")


def _fault(value: bytes) -> AddressFault:
    with pytest.raises(AddressError) as refused:
        from_addresses(value)
    assert str(refused.value) == ADDRESS_FAULTS[refused.value.fault]
    return refused.value.fault


@pytest.mark.parametrize(
    "value, fault",
    [
        (b"", AddressFault.NO_ADDRESS),
        (b" ", AddressFault.NO_ADDRESS),
        (b" Joe", AddressFault.NO_ADDRESS),
        (b" undisclosed:;", AddressFault.NO_ADDRESS),
        (b" <>", AddressFault.NO_ADDRESS),
        (b' "a@example.com"', AddressFault.NO_ADDRESS),
        (b' "Ann <a@example.com>"', AddressFault.NO_ADDRESS),
        (b" (a@example.com)", AddressFault.NO_ADDRESS),
        (b" <> a@example.com", AddressFault.BRACKETS),
        (b" a@example.com <>", AddressFault.BRACKETS),
        (b" Ann <Sales> a@example.com", AddressFault.BRACKETS),
        (b" <a> > a@example.com", AddressFault.BRACKETS),
        (b" @example.com", AddressFault.NO_LOCAL_PART),
        (b" <@example.net:a@example.com>", AddressFault.NO_LOCAL_PART),  # K5: a route
        (b" <@example.net,@example.org:a@example.com>", AddressFault.NO_LOCAL_PART),
        (b" Ann <@example.net:a@example.com> b@example.com", AddressFault.NO_LOCAL_PART),
        (b" <b@example.com> <@example.net:a@example.com>", AddressFault.NO_LOCAL_PART),
        (b" [a@example.com]", AddressFault.NO_LOCAL_PART),
        (b" [1]@example.com", AddressFault.NO_LOCAL_PART),
        (b" a@", AddressFault.INVALID_DOMAIN),
        (b" a@b@example.com", AddressFault.INVALID_DOMAIN),
        (b" <a@b@example.com>", AddressFault.INVALID_DOMAIN),
        (b" <a@example.com@b>", AddressFault.INVALID_DOMAIN),
        (b" a@[192.0.2.1]", AddressFault.INVALID_DOMAIN),
        (b" <a@[192.0.2.1]>", AddressFault.INVALID_DOMAIN),
        (b' a@"example.com"', AddressFault.INVALID_DOMAIN),
        (b' a@example.com"b"', AddressFault.INVALID_DOMAIN),
        (b" a@example..com", AddressFault.INVALID_DOMAIN),
        (b" a@.example.com", AddressFault.INVALID_DOMAIN),
        (b" a@.", AddressFault.INVALID_DOMAIN),
        (b" a@example.com .example.net", AddressFault.INVALID_DOMAIN),
        (b" a@example.com(c).example.net", AddressFault.INVALID_DOMAIN),
        (b" <a@example.com(c)example.net>", AddressFault.INVALID_DOMAIN),
        (b" Ann <a@example.com b>", AddressFault.INVALID_DOMAIN),
        (b" <a@example.com b@example.com>", AddressFault.INVALID_DOMAIN),
        (b" <a@example. (c) .com>", AddressFault.INVALID_DOMAIN),
        (b' <a@example."com">', AddressFault.INVALID_DOMAIN),
        (b" <a@example .com> <b@example.com>", AddressFault.INVALID_DOMAIN),
        (b" a@example.com. example.net", AddressFault.INVALID_DOMAIN),
        (b" a@example.com\r.example.net", AddressFault.INVALID_DOMAIN),
        (b" <a@example.com\x01>", AddressFault.INVALID_DOMAIN),
        (b" a@example.com\\.example.net", AddressFault.INVALID_DOMAIN),
        (b" a@example.com (c", AddressFault.INVALID_DOMAIN),
        (b" a@example.com\x00.evil", AddressFault.NUL),
        (b" \x00 <a@example.com>", AddressFault.NUL),
        (b"a@example.com" + b" " * 65524, AddressFault.TOO_LONG),
        (b"a " * 10_001 + b"<a@example.com>", AddressFault.TOO_LONG),
        (b"a:;" * 5000, AddressFault.TOO_LONG),
        (b"a@b.example," * 101, AddressFault.TOO_MANY),
        (b"<a@b.example>" * 101, AddressFault.TOO_MANY),
    ],
)
def test_k5_s01_refused(value: bytes, fault: AddressFault) -> None:
    assert _fault(value) is fault


def test_every_fault_has_words() -> None:
    assert set(ADDRESS_FAULTS) == set(AddressFault)


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


@pytest.mark.parametrize(
    "value, found",
    [
        (b" <a . b@example.com>", b"a.b@example.com"),
        (b" <a(c).\r\n b@example.com>", b"a.b@example.com"),
        (b' <"a@b" . c@example.com>', b'"a@b".c@example.com'),
        (b' <a."b c"@example.com>', b'a."b c"@example.com'),
        (b" <a@example.com .example.net>", b"a@example.com.example.net"),
    ],
)
def test_s01_obsolete_addr_spec(value: bytes, found: bytes) -> None:
    assert from_addresses(value) == [found]


@pytest.mark.parametrize("value", [b'""@example.com', b'"\\a"@example.com', b'".a."@example.com', b"a@example.XX"])
def test_s01_as_written(value: bytes) -> None:
    assert from_addresses(value) == [value]


def test_s01_a_hundred_authors() -> None:
    assert from_addresses(b"a@b.example," * 100) == [b"a@b.example"] * 100


@pytest.mark.parametrize(
    "value",
    [
        b"(" * 60_000,
        b"()" * 30_000 + b"(",
        b'"' * 60_001,
        b'"' + b"\\" * 60_001,
        b"\\" * 60_001,
        b"<" * 60_000,
        b"<>" * 30_000,
        b"<@" * 30_000,
        b"a," * 30_000,
        b"," * 60_000,
        b"a@b," * 15_000,
        b"\r\n " * 20_000,
        b"\r" * 60_000,
    ],
)
def test_m6_linear(value: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(AddressError):
        from_addresses(value)
    assert time.process_time() - started < 1
