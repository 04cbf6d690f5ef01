"""Addresses of From. Oracle: AddressError, or addr-specs that stand in the value, each with one plain domain; written
one after the other they read alike. One plain ``<addr-spec>`` in a value without quotes, comments and other brackets is
the only answer; text around brackets changes nothing; a domain that has no ``@`` before it is never an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fuzz.target import Target, check
from phoenixdkim.dkim.addresses import AddressError, from_addresses

_DOMAIN = re.compile(rb"[^\x00-\x20\x7f()<>@,:;\\\"\[\]]+")

_ATEXT = rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.\x80-\xff]"
_BRACKETED = re.compile(rb"<[ \t]*(" + _ATEXT + rb"+@" + _ATEXT + rb"+)[ \t]*>")
_DISPLAY_TEXT = (b"Ann @ Home, [x]: ", b"victim@example.net ", b'"<v@example.net>" ', b"(<v@example.net>) ", b"<3 ")


_APART = rb"[ \t\r\n]*(?:\(.*\)[ \t\r\n]*)?"


def spread(part: bytes) -> bytes:
    """A pattern for a local part or domain, with white space and comments around its dots (RFC 5322 section 4.4)."""
    return (_APART + rb"\." + _APART).join(map(re.escape, part.split(b".")))


def stands_in(part: bytes, data: bytes) -> bool:
    """Whether the value has this part of an address."""
    return part in data or re.search(spread(part), data, re.DOTALL) is not None


def execute(data: bytes) -> None:
    try:
        found = from_addresses(data)
    except AddressError:
        return
    check(0 < len(found) <= 100, "how many", len(found))
    for address in found:
        local, at, domain = address.rpartition(b"@")
        check(at and local and _DOMAIN.fullmatch(domain), "no addr-spec", address)
        check(b".." not in domain and domain[:1] != b"." and domain[-1:] != b".", "no domain", domain)
        for part in (local, domain):
            check(stands_in(part, data), "an address that the value does not have", address)
        check(local[:1] == b'"' or _DOMAIN.fullmatch(local), "local part", local)
        check(re.search(rb"@[^@]*" + spread(domain), data, re.DOTALL), "a domain of display text", domain)
        for text in _DISPLAY_TEXT:
            check(from_addresses(text + b"<" + address + b"> c@example.net") == [address], "display text", text)
    if data.count(b"<") == data.count(b">") == 1 and not set(data) & set(b'"()\\'):
        inside = _BRACKETED.search(data)
        check(inside is None or found == [inside[1].rstrip(b".")], "not the address in brackets", found)
    check(from_addresses(b" , ".join(found)) == found, "reads otherwise alone", found)
    check(from_addresses(b"(c)".join((b" G : ", *(b"<%s> ," % a for a in found), b";"))) == found, "in a group", found)


def seeds() -> Iterator[bytes]:
    yield b" Joe SixPack <joe@example.com>"
    yield b' "Doe, Jane" (c (n)) <"j d"@example.com>, x@example.org'
    yield b" Team: a@example.com, B <b@example.net>;"
    yield b" =?utf-8?q?a=40b=2Ecom?= <c@d.example>\r\n\t(\\))"
    yield b" <@route.example:a@b.example>"
    yield b" a@[192.0.2.1]"
    yield b" <a . b(c)@example (d)\r\n .com>"
    yield b" Foo, Inc. @ Home [x] <3 <a@b.example>> c@d.example;"
    yield b' "open (a@b.example <c@d.example>'
    yield b' a@b.example <<c@d.example>, e@f.example\\"'
    yield " Jörg <jörg@exämple.com>".encode()


TARGET = Target(
    execute,
    seeds,
    (
        b"<",
        b">",
        b"@",
        b",",
        b":",
        b";",
        b'"',
        b"(",
        b")",
        b"\\",
        b"[",
        b"]",
        b"\0",
        b"\r\n ",
        b"..",
        b"a@b.example",
        b"\xff",
    ),
    256,
)
