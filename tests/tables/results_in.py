"""Authentication-Results that come with a message: ours by name are removed, all others stay (A06 to A09, M11).

Our authserv-id is ``mx.example.org``.
"""

from __future__ import annotations

from typing import Final

from phoenixdkim.dkim.results import Reason
from tables.by_hand import HEAD, message, signed
from tables.row import Row

_NONE: Final = Reason.NO_SIGNATURE
_PASS: Final = b"; dkim=pass header.d=bank.example"


def _one(name: str, ids: tuple[str, ...], value: bytes, removed: bool, dialogue: bool = True) -> Row:
    """A field with this value on top of a message without signature."""
    whole = message(b"Authentication-Results:" + value, *HEAD)
    return Row(name, ids, _NONE, whole, removed=(1,) if removed else (), dialogue=dialogue)


def _field(name: bytes, value: bytes = b" mx.example.org" + _PASS) -> bytes:
    return name + b":" + value


OURS: Final = tuple(
    _one(f"ours: {name}", ids, value, True, dialogue)
    for name, ids, value, dialogue in (
        ("as it is", ("A06",), b" mx.example.org" + _PASS, True),
        ("without a space", ("A06",), b"mx.example.org" + _PASS, True),
        ("in capitals", ("A06", "A08"), b" MX.Example.ORG" + _PASS, True),
        ("no result", ("A06",), b" mx.example.org; none", True),
        ("no clause", ("A06", "A08"), b" mx.example.org", True),
        ("a blank before the semicolon", ("A08",), b" mx.example.org \t ; dkim=pass", True),
        ("a version", ("A08",), b" mx.example.org 1" + _PASS, True),
        ("a version behind a comment", ("A08",), b" mx.example.org (x) 1 (y)" + _PASS, True),
        ("a final dot", ("A08",), b" mx.example.org." + _PASS, True),
        ("a job behind a slash", ("A08",), b" mx.example.org/4711" + _PASS, True),
        ("a fold in front", ("A08",), b"\r\n\tmx.example.org" + _PASS, True),
        ("a fold behind", ("A08",), b" mx.example.org\r\n\t" + _PASS, True),
        ("a comment in front", ("A08",), b" (by us) mx.example.org" + _PASS, True),
        ("nested comments in front", ("A08",), b" (a (b) \\) c) mx.example.org" + _PASS, True),
        ("a comment that holds another name", ("A08",), b" (mx.example.net;) mx.example.org" + _PASS, True),
        ("in quotation marks", ("A08",), b' "mx.example.org"' + _PASS, True),
        ("in quotation marks with escapes", ("A08",), b' "mx\\.example.org"' + _PASS, True),
        ("full-width letters, the same host to IDNA", ("A08",), "\uff4d\uff58.example.org".encode() + _PASS, True),
        ("a no-break space in front", ("A08",), "\u00a0mx.example.org".encode() + _PASS, True),
        ("blanks inside the name", ("A08", "A09"), b" mx . example . org" + _PASS, True),
        ("no semicolon", ("A08", "A09"), b" mx.example.org dkim=pass", True),
        ("a word in front", ("A08", "A09"), b" other mx.example.org" + _PASS, True),
        ("no authserv-id", ("A08", "A09"), b" dkim=pass header.d=bank.example", True),
        ("no authserv-id, a semicolon", ("A08", "A09"), _PASS, True),
        ("nothing", ("A08", "A09"), b"", True),
        ("a comment only", ("A08", "A09"), b" (mx.example.org)", True),
        ("an open comment", ("A09",), b" (mx.example.org; dkim=pass", True),
        ("an open quotation mark", ("A09",), b' "mx.example.org; dkim=pass', True),
        ("NUL behind the name", ("A08", "A09"), b" mx.example.org\0.evil.example" + _PASS, False),
    )
)

OTHERS: Final = tuple(
    _one(f"another's: {name}", ("A09", *ids), value, False)
    for name, ids, value in (
        ("another host", (), b" mx.example.net" + _PASS),
        ("our domain, another host", (), b" example.org" + _PASS),
        ("a host below ours", (), b" a.mx.example.org" + _PASS),
        ("a host that ends like ours", (), b" amx.example.org" + _PASS),
        ("a host that begins like ours", (), b" mx.example.org.evil.example" + _PASS),
        ("our name in a comment", ("A08",), b" (mx.example.org) mx.example.net" + _PASS),
        ("our name in a clause", ("A08",), b" mx.example.net; dkim=pass header.d=mx.example.org"),
        ("our name in a reason", ("A08",), b' mx.example.net; dkim=fail reason="; mx.example.org; dkim=pass"'),
        ("a version", ("A08",), b" mx.example.net 1" + _PASS),
        ("a look-alike letter", ("A08", "M11"), "mx.ex\u0430mple.org".encode() + _PASS),
        ("an address", (), b" [192.0.2.1]; none"),
    )
)

_OURS: Final = _field(b"Authentication-Results")
_THEIRS: Final = _field(b"Authentication-Results", b" mx.example.net" + _PASS)

MANY: Final = (
    Row("two of ours", ("A06", "A07", "K2"), _NONE, message(_OURS, _OURS, *HEAD), removed=(1, 2)),
    Row(
        "ours and another's by turns",
        ("A06", "A07", "A09", "K2"),
        _NONE,
        message(_OURS, _THEIRS, _OURS, _THEIRS, _OURS, *HEAD),
        removed=(1, 3, 5),
    ),
    Row("ours below all other fields", ("A06", "K2"), _NONE, message(*HEAD, _THEIRS, _OURS), removed=(2,)),
    Row(
        "ours in names of other letters",
        ("A06", "A07", "M11"),
        _NONE,
        message(
            _field(b"AUTHENTICATION-RESULTS"),
            _field(b"authentication-results", b" mx.example.net; none"),
            _field(b"Authentication-results"),
            *HEAD,
        ),
        removed=(1, 3),
    ),
    Row(
        "ours with a blank before the colon",
        ("A06", "M11"),
        _NONE,
        message(_field(b"Authentication-Results "), *HEAD),
        removed=(1,),
    ),
    Row("ours 300 times", ("A06", "A07", "M11"), _NONE, message(*[_OURS] * 300, *HEAD), removed=tuple(range(1, 301))),
    Row(
        "ours in a header that is too large",
        ("A06", "M6"),
        _NONE,
        message(*[b"X-Pad: x"] * 30, _OURS, *HEAD),
        options={"limits.max_header_fields": 20},
        removed=(1,),
    ),
    Row(
        "ours above a signature that verifies",
        ("A06", "A10"),
        Reason.VERIFIED,
        _OURS + b"\r\n" + signed(),
        removed=(1,),
    ),
    Row("ours, left by option", ("A06",), _NONE, message(_OURS, *HEAD), options={"verifying.remove_forged": "off"}),
    Row(
        "fields whose names resemble ours",
        ("A06",),
        _NONE,
        message(
            _field(b"X-Authentication-Results"),
            _field(b"ARC-Authentication-Results"),
            _field(b"Authentication-Results-2"),
            *HEAD,
        ),
    ),
    Row(
        "a host that is named in the configuration",
        ("A09",),
        _NONE,
        message(_THEIRS, _field(b"Authentication-Results", b" MX2.example.net 1; none"), _OURS, *HEAD),
        options={"verifying.remove_authserv_ids": ["mx2.example.net", "mx3.example.net"]},
        removed=(2, 3),
    ),
)

ROWS: Final = (*OURS, *OTHERS, *MANY)
