"""DKIM-Signature fields. Oracle: SignatureError, or a signature whose parts are what its text says.

What is looked up in DNS is a plain name; emptying b= changes b= alone; white space inside base64 changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fuzz.target import Target, check
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.selection import without_b
from phoenixdkim.dkim.signature import SignatureError, parse_signature
from phoenixdkim.dkim.tags import parse_tag_list

NOW = 1_700_000_000
LIMITS = Limits()
_DNS_NAME = re.compile(
    rb"([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+_domainkey(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)+"
)
_FIELD_NAME = re.compile(rb"[!-9;-~]+")


def execute(data: bytes) -> None:
    eai = data[:1] == b"e"
    field = HeaderField(b"DKIM-Signature", data[1:])
    try:
        found = parse_signature(field, LIMITS, NOW, eai)
    except SignatureError:
        return
    tags = parse_tag_list(data[1:], LIMITS.max_tags)
    check(_DNS_NAME.fullmatch(found.key_name), "no name for DNS", found.key_name)
    check(len(found.key_name) <= 253, "too long for DNS", found.key_name)
    check(found.domain == tags[b"d"] and found.selector == tags[b"s"], "another name than was written")
    check(eai or (found.domain + found.selector).isascii(), "U-labels in a plain message", found.domain)
    check(b"from" in found.signed, "From is not signed", found.signed)
    check(all(_FIELD_NAME.fullmatch(name) and name == name.lower() for name in found.signed), "names", found.signed)
    identity_domain = found.identity.rpartition(b"@")[2]
    if identity_domain.isascii() and found.domain.isascii():
        under = (b"." + identity_domain.lower()).endswith(b"." + found.domain.lower())
        check(under, "i= is not under d=", found.identity, found.domain)
        check(found.strict_identity == (identity_domain.lower() == found.domain.lower()), "strict", found.identity)
    check(not any(octet <= 32 or octet == 127 for octet in found.identity), "controls in i=", found.identity)
    check(found.signature and found.body_hash, "an empty signature or hash", found)
    check(found.length is None or 0 <= found.length < 10**76, "l=", found.length)
    emptied = parse_tag_list(without_b(field).value, LIMITS.max_tags)
    check(emptied == {**tags, b"b": b""} and list(emptied) == list(tags), "emptying b= changed more", emptied)


VALID = (
    b"v=1; a=rsa-sha256; c=relaxed/simple; d=example.com; s=s2026;\r\n\tt=1699999999; x=1800000000; l=20; q=dns/txt;"
    b" i=joe=20x@mail.example.com; h=From:To:Subject : Date; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;"
    b"\r\n\tb=YWJj ZGVm"
)


def seeds() -> Iterator[bytes]:
    yield b" " + VALID
    yield b"e " + VALID.replace(b"d=example.com", "d=exämple.com".encode()).replace(
        b"@mail.example.com", "@sub.exämple.com".encode()
    )
    yield b" " + VALID.replace(b"rsa-sha256", b"ed25519-sha256").replace(b"c=relaxed/simple; ", b"")
    yield b" " + VALID.replace(b"b=YWJj", b"b\r\n =YWJj") + b"; z=From:joe|To:b=3Bc"


TARGET = Target(
    execute,
    seeds,
    (
        *(tag + b"=" for tag in (b"v", b"a", b"b", b"bh", b"c", b"d", b"h", b"i", b"l", b"q", b"s", b"t", b"x", b"z")),
        *(b";", b":", b"@", b".", b"\r\n\t", b"relaxed", b"simple", b"rsa-sha1", b"from", b"xn--", b"_domainkey"),
        *("ä".encode(), b"\xff", b"\0", b"9" * 76, b"2" * 64, b"example.com"),
    ),
    768,
)
