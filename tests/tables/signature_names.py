"""One change to d=, s= or i= (V12, V16, V17, V21)."""

from __future__ import annotations

from typing import Final

from phoenixdkim.dkim.results import Reason
from tables.by_hand import signed, tags
from tables.keys import ED
from tables.row import ZONE, Row
from tables.value_rows import raw_row, tag_row

_OK: Final = Reason.VERIFIED


def _named(
    ids: tuple[str, ...], reason: Reason, selector: bytes, domain: bytes, dialogue: bool = True, name: str = ""
) -> Row:
    """A key at another name. One that is refused is never asked for, and the resolver could not carry most of them."""
    shown = name or (b"s=%s d=%s" % (selector, domain)).decode("ascii", "backslashreplace")
    zone = {selector.lower() + b"._domainkey." + domain.lower(): (ED.record,)} if reason is _OK else ZONE
    return Row(f"name of the key: {shown!r}", ids, reason, signed(tags(s=selector, d=domain)), zone, dialogue=dialogue)


_LONG: Final = b".".join([b"a" * 61] * 3)  # 185 octets

NAMES: Final = (
    _named(("V12",), _OK, b"sel", b"a-b.c1.example.com"),
    _named(("V12",), _OK, b"sel", b"1.2.example"),
    _named(("V12",), _OK, b"sel", b"a_b.example.com"),
    _named(("V12",), _OK, b"sel", b"co.uk", name="a public suffix of two labels"),
    *(
        _named(("V12", "K1"), Reason.BAD_DOMAIN, b"sel", domain, b"\0" not in domain)
        for domain in (
            b"legit.com(.attacker.com",
            b"legit.com)attacker.com",
            b'a"b.com',
            b"legit.com\0.attacker.com",
            b"exam ple.com",
            b"a/b.com",
            b"a\\b.com",
            b"a,b.com",
            b"a:b.com",
            b"a@b.com",
            b"*.example.com",
            b"a\x7fb.com",
            b"a\x01b.com",
            b"<b.com>",
            b"[192.0.2.1]",
        )
    ),
    *(
        _named(("V12", "M7"), Reason.BAD_DOMAIN, b"sel", domain)
        for domain in (b"com", b".", b".example.com", b"example.com.", b"a..com", b"-a.com", b"a-.com")
    ),
    _named(("V12", "M7"), _OK, b"s", b"a" * 63 + b".com", name="a label of 63 octets"),
    _named(("V12", "M7"), Reason.BAD_DOMAIN, b"s", b"a" * 64 + b".com", name="a label of 64 octets"),
    _named(("V12", "M7"), Reason.BAD_DOMAIN, b"s", b"a." * 126 + b"com", name="a domain of 255 octets"),
    _named(("V21", "V12"), _OK, b"s" * 5, _LONG + b"." + b"b" * 50, name="253 octets in all"),
    _named(("V21", "M7"), Reason.BAD_SELECTOR, b"s" * 6, _LONG + b"." + b"b" * 50, name="254 octets in all"),
    raw_row("d= with a fold inside", ("V12",), Reason.BAD_DOMAIN, tags(d=b"exam\r\n\tple.com")),
    _named(("V21",), _OK, b"a.b.c", b"example.com"),
    _named(("V21",), _OK, b"_a.b-c_d", b"example.com"),
    _named(("V21",), _OK, b"2026", b"example.com"),
    *(
        _named(("V21", "K5"), Reason.BAD_SELECTOR, selector, b"example.com", b"\0" not in selector)
        for selector in (
            b"a..b",
            b".a",
            b"a.",
            b"a b",
            b"a(b",
            b"a)b",
            b"a*",
            b"a/b",
            b"-a",
            b"a-",
            b"a\0b",
            b'a"b',
            b"a@b",
        )
    ),
    _named(("V21", "M7"), Reason.BAD_SELECTOR, b"a" * 64, b"example.com", name="a selector of 64 octets"),
)

IDENTITIES: Final = (
    *(
        Row(
            f"i={value.decode()}",
            ids,
            _OK,
            signed(tags(i=value)),
            properties=({b"header.d": b"example.com", b"header.i": value},),
        )
        for value, ids in (
            (b"@example.com", ("V16", "A03")),
            (b"joe@example.com", ("V16", "A03")),
            (b"@EXAMPLE.com", ("V16",)),
            (b"joe@sub.example.com", ("V16",)),
            (b"@a.b.Example.Com", ("V16",)),
            (b"joe=2Bx=20y@example.com", ("V17",)),
        )
    ),
    *(
        Row(
            f"i={value.decode()}",
            ("V17", "A05", "K5"),
            _OK,
            signed(tags(i=value)),
            # No quotation mark goes out: a reader that does not know escapes would see two strings.
            properties=({b"header.d": b"example.com", b"header.i": value.replace(b'"', b"?")},),
        )
        for value in (b'"a@b"@example.com', b'"a@evil.example"@example.com')
    ),
    *(
        Row(
            f"i={value.decode()} under d=example.com",
            ("V16", *more),
            Reason.IDENTITY_MISMATCH,
            signed(tags(i=value)),
            properties=({b"header.d": b"example.com"},),
        )
        for value, *more in (
            (b"joe@badexample.com",),
            (b"@example.org",),
            (b"@com", "M7"),
            (b"@example.com.evil.org", "M7"),
            (b"@example-com", "M7"),
            (b"@ample.com", "M7"),
        )
    ),
    Row(
        "agmail.com is not under gmail.com",
        ("V16",),
        Reason.IDENTITY_MISMATCH,
        signed(tags(d=b"gmail.com", i=b"joe@agmail.com")),
        {b"sel._domainkey.gmail.com": (ED.record,)},
    ),
    *(
        tag_row(f"i={value.decode('latin-1')!r} is no address", ids, Reason.BAD_IDENTITY, i=value)
        for value, ids in (
            (b"example.com", ("V16",)),
            (b"joe", ("V16",)),
            (b"joe@", ("V16",)),
            (b"@", ("V16",)),
            (b"@example.com.", ("V16", "M7")),
            (b"@.example.com", ("V16", "M7")),
            (b"@sub..example.com", ("V16", "M7")),
            (b"joe@exam ple.com", ("V16",)),
            (b"joe@(x)example.com", ("V16", "K1")),
            (b"joe=40example.com", ("V17",)),
            (b"joe@example=2Ecom", ("V17",)),
            (b"joe@evil.example@example.com", ("V17", "K5")),
            (b'"a"@evil.example"@example.com', ("V17", "K5")),
            (b"j\x01oe@example.com", ("V17",)),
            (b"j\xc3\xb6e@example.com", ("V17", "E01")),
        )
    ),
    raw_row("i= with a fold in its local part", ("V17",), _OK, tags(i=b"joe\r\n\t.smith@example.com")),
    raw_row("i= with NUL", ("V17", "K5"), Reason.BAD_IDENTITY, tags(i=b"joe\0@example.com"), dialogue=False),
    tag_row("i= of 1025 octets", ("V17",), Reason.BAD_IDENTITY, i=b"a" * 1013 + b"@example.com"),
)


ROWS: Final = (*NAMES, *IDENTITIES)
