"""What a message can bring into our Authentication-Results: quoted, left out, or told as it is (A03 to A13)."""

from __future__ import annotations

import base64
from typing import Final

from phoenixdkim.dkim.results import Reason, Result
from tables.by_hand import HEAD, field, message, signed, tags
from tables.row import Row

_OK: Final = Reason.VERIFIED


def _refused(
    name: str,
    ids: tuple[str, ...],
    reason: Reason,
    properties: dict[bytes, bytes | None],
    dialogue: bool = True,
    **changes: bytes,
) -> Row:
    return Row(name, ids, reason, signed(tags(**changes)), properties=(properties,), dialogue=dialogue)


_DOMAIN: Final = Reason.BAD_DOMAIN
_SELECTOR: Final = Reason.BAD_SELECTOR
_IDENTITY: Final = Reason.BAD_IDENTITY
_ABC: Final = base64.b64encode(b"ABCDEFGHIJKL" * 6)[:64]
_ABCDE: Final = _ABC[:8] + b"A" * 56


def _with_b(value: bytes) -> bytes:
    return field(tags(b=value))


VALUES: Final = (
    _refused("a comment in d=", ("A05", "K1"), _DOMAIN, {b"header.d": b"a.com(b.com"}, d=b"a.com(b.com"),
    _refused("a quotation mark in d=", ("A05", "K1"), _DOMAIN, {b"header.d": b"a?.com"}, d=b'a".com'),
    _refused("a backslash in d=", ("A05", "K1"), _DOMAIN, {b"header.d": b"a?.com"}, d=b"a\\.com"),
    _refused(
        "another clause in d=",
        ("A05", "K1"),
        _DOMAIN,
        {b"header.d": b"a.com dkim=pass", b"header.s": b"sel"},
        d=b"a.com dkim=pass",
    ),
    _refused("a space in d=", ("A05", "A13", "K5"), _DOMAIN, {b"header.d": b"exam ple.com"}, d=b"exam ple.com"),
    _refused("a fold in d=", ("A05", "A13", "K5"), _DOMAIN, {b"header.d": b"exam???ple.com"}, d=b"exam\r\n\tple.com"),
    _refused("NUL in d=", ("A05", "K5"), _DOMAIN, {b"header.d": b"a.com?.b.com"}, False, d=b"a.com\0.b.com"),
    _refused("ESC in d=", ("A05", "M14"), _DOMAIN, {b"header.d": b"a?[31m.com"}, d=b"a\x1b[31m.com"),
    _refused(
        "d= of 254 octets",
        ("A12", "A13", "M7"),
        _DOMAIN,
        {b"header.d": None, b"header.s": b"sel"},
        d=b"a" * 246 + b".bank.ex",
    ),
    _refused("d= of 3000 octets", ("A12",), _DOMAIN, {b"header.d": None, b"header.s": b"sel"}, d=b"a" * 3000),
    _refused("a comment in s=", ("A05", "K1"), _SELECTOR, {b"header.s": b"a(b", b"header.d": b"example.com"}, s=b"a(b"),
    _refused("a space in s=", ("A05", "K5"), _SELECTOR, {b"header.s": b"a b"}, s=b"a b"),
    _refused("s= of 254 octets", ("A12",), _SELECTOR, {b"header.s": None, b"header.d": b"example.com"}, s=b"a" * 254),
    _refused(
        "a clause in i=", ("A05",), _IDENTITY, {b"header.i": b"x dkim=pass header.d=a.b"}, i=b"x dkim=pass header.d=a.b"
    ),
    _refused(
        "a comment and an address in i=", ("A05",), _IDENTITY, {b"header.i": b"x)@(example.com"}, i=b"x)@(example.com"
    ),
    _refused(
        "i= of 1025 octets is not told",
        ("A12",),
        _IDENTITY,
        {b"header.i": None, b"header.d": b"example.com"},
        i=b"a" * 1013 + b"@example.com",
    ),
    Row(
        "i= of 1000 octets that verifies",
        ("A12", "A03"),
        _OK,
        signed(tags(i=b"a" * 988 + b"@example.com")),
        properties=({b"header.i": None, b"header.d": b"example.com"},),
    ),
    _refused(
        "a value of a= that is not known",
        ("A05", "V06"),
        Reason.UNKNOWN_ALGORITHM,
        {b"header.a": None, b"header.d": b"example.com"},
        a=b'rsa";x'[:4],
    ),
    _refused(
        "specials in b=",
        ("A04", "A05", "V09"),
        Reason.BAD_BASE64,
        {b"header.b": b"(x)?c???xff"},
        b=b'(x)"c"\x01\xff',
    ),
)

PREFIXES: Final = (
    Row(
        "b= of four characters",
        ("A04",),
        Reason.SIGNATURE_MISMATCH,
        message(_with_b(b"QUJD"), *HEAD),
        properties=({b"header.b": b"QUJD"},),
    ),
    Row(
        "two signatures whose b= begin alike",
        ("A04", "A03"),
        Reason.SIGNATURE_MISMATCH,
        message(_with_b(_ABC), _with_b(_ABCDE), *HEAD),
        verdicts=((Result.FAIL, Reason.SIGNATURE_MISMATCH),) * 2,
        properties=({b"header.b": _ABC[:12]}, {b"header.b": _ABCDE[:12]}),
    ),
    Row(
        "two signatures whose b= begin alike, a third one not",
        ("A04", "A03"),
        Reason.SIGNATURE_MISMATCH,
        message(_with_b(_ABC), _with_b(b"Z" * 64), _with_b(_ABCDE), *HEAD),
        verdicts=((Result.FAIL, Reason.SIGNATURE_MISMATCH),) * 3,
        properties=({b"header.b": _ABC[:12]}, {b"header.b": b"Z" * 8}, {b"header.b": _ABCDE[:12]}),
    ),
    Row(
        "b= with slashes and equal signs",
        ("A04", "A05"),
        Reason.SIGNATURE_MISMATCH,
        message(_with_b(b"A/+/AA=="), *HEAD),
        properties=({b"header.b": b"A/+/AA=="},),
    ),
)

_EVIL: Final = field(tags(d=b"evil.example"))

SEVERAL: Final = (
    Row(
        "a pass of one domain and a failure of another",
        ("A13", "A03"),
        _OK,
        message(field(tags(d=b"bank.example")), field(tags()), *HEAD),
        verdicts=((Result.PERMERROR, Reason.NO_KEY), (Result.PASS, _OK)),
        properties=({b"header.d": b"bank.example"}, {b"header.d": b"example.com"}),
    ),
    Row(
        "the same the other way round",
        ("A13", "A03"),
        _OK,
        message(field(tags()), field(tags(d=b"bank.example")), *HEAD),
        verdicts=((Result.PASS, _OK), (Result.PERMERROR, Reason.NO_KEY)),
        properties=({b"header.d": b"example.com"}, {b"header.d": b"bank.example"}),
    ),
    Row(
        "ten signatures without key",
        ("A03", "A12"),
        Reason.NO_KEY,
        message(*[_EVIL] * 10, *HEAD),
        verdicts=((Result.PERMERROR, Reason.NO_KEY),) * 10,
        properties=({b"header.d": b"evil.example"},) * 10,
    ),
)

ROWS: Final = (*VALUES, *PREFIXES, *SEVERAL)
