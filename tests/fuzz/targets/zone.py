"""Zone files. Oracle: ZoneError, or records that can be looked up."""

from __future__ import annotations

from collections.abc import Iterator

import dns.name
import dns.rdatatype

from fuzz.target import Target, check
from phoenixdkim.dns.zone import ZoneError, _parse


def execute(data: bytes) -> None:
    try:
        found = _parse(data.decode("utf-8", "surrogateescape"), "zone")
    except ZoneError as error:
        check(str(error), "no words")
        return
    for (name, kind), rrset in found.items():
        check(isinstance(name, dns.name.Name) and len(rrset) > 0, "an empty set", name, kind)
        if kind == dns.rdatatype.TXT:
            check(all(isinstance(b"".join(rdata.strings), bytes) for rdata in rrset), "no text", name)


def seeds() -> Iterator[bytes]:
    yield b's1._domainkey.example.com. 300 IN TXT "v=DKIM1; k=rsa; p=" "MIGf"\n'
    yield b'$ORIGIN example.com.\n$TTL 5m\ns2._domainkey IN CNAME s1._domainkey\n  TXT ( "a"\n "b" ) ; c\n'
    yield b'a TXT "\\255\\"x"\n\xff TXT y\n'


TARGET = Target(
    execute,
    seeds,
    (
        b"$ORIGIN ",
        b"$TTL ",
        b"$INCLUDE ",
        b"$GENERATE ",
        b" IN ",
        b" TXT ",
        b" CNAME ",
        b'"',
        b"(",
        b")",
        b"\\300",
        b";",
        b"\n",
    ),
    256,
)
