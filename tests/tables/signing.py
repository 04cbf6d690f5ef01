"""Messages to be signed, each with one thing that matters, and what must come of it (S01 to S13, A10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from phoenixdkim.dkim.results import UnsignedReason
from tables.by_hand import BODY, HEAD
from tables.keys import ED, RSA, AnyKey, RsaKey

KEYS: Final[Mapping[str, AnyKey]] = {"rsa": RSA, "ed25519": ED, "rsa-1024": RsaKey(1024)}
"""Keys of all rows, of the domain example.com, each at a selector of its own name."""

INSIDE: Final = "127.0.0.1"
"""A client in a trusted network."""
OUTSIDE: Final = "203.0.113.9"

_ALL: Final = ({"from": "*@example.com", "keys": ["ed25519"]},)


@dataclass(frozen=True)
class SigningRow:
    """One row.

    Attributes:
        name: what is special; unique.
        ids: the requirements that it proves.
        unsigned: why the message is not signed; None when it is.
        head: fields, from the top, without final CRLF.
        body: the body.
        client: address of the client.
        authenticated: it authenticated.
        rules: the signing rules.
        options: other options that are not at their default, by their names in the configuration file.
        signed_by: keys of the signatures from the top; those of the one rule unless told otherwise.
        tags: values that the first signature's tags must have; None: the tag must not be there.
        h: names of h=, lower-case and sorted; None when the row is not about them.
        removed: ordinals of the Authentication-Results fields that are removed.
        dialogue: False where the milter protocol can't carry the message as it is.
    """

    name: str
    ids: tuple[str, ...]
    unsigned: UnsignedReason | None = None
    head: Sequence[bytes] = HEAD
    body: bytes = BODY
    client: str | None = INSIDE
    authenticated: bool = False
    rules: tuple[Mapping[str, object], ...] = _ALL
    options: Mapping[str, object] = field(default_factory=dict)
    signed_by: tuple[str, ...] = ("ed25519",)
    tags: Mapping[bytes, bytes | None] = field(default_factory=dict)
    h: tuple[bytes, ...] | None = None
    removed: tuple[int, ...] = ()
    dialogue: bool = True

    def __str__(self) -> str:
        return self.name


_FROM, _TO, _SUBJECT, _DATE, _ID = HEAD
_USUAL: Final = tuple(sorted((*(b"from", b"to", b"subject", b"date") * 2, b"reply-to", b"message-id")))
"""h= of a message with the fields of ``HEAD``."""
_R: Final = UnsignedReason


def _from(name: str, value: bytes, unsigned: UnsignedReason | None, **more: object) -> SigningRow:
    return SigningRow(name, ("S01", "S13"), unsigned, (b"From:" + value, *HEAD[1:]), **more)  # type: ignore[arg-type]


def _rule(**changes: object) -> tuple[Mapping[str, object], ...]:
    return ({"from": "*@example.com", "keys": ["ed25519"], **changes},)


AUTHORS: Final = (
    SigningRow("the usual message", ("S01", "S04", "S05"), tags={b"l": None, b"x": None, b"i": None}, h=_USUAL),
    SigningRow("no From", ("S01",), _R.NO_FROM, HEAD[1:]),
    SigningRow("two From", ("S01", "K4"), _R.MULTIPLE_FROM, (_FROM, *HEAD)),
    SigningRow(
        "two From, one with a blank before its colon", ("S01", "K4"), _R.MULTIPLE_FROM, (b"FROM : a@example.com", *HEAD)
    ),
    _from("two authors of one domain", b" a@example.com, b@example.com", None),
    _from("two authors of different rules", b" a@example.com, b@example.net", _R.MULTIPLE_FROM),
    _from("an author of another domain", b" joe@example.net", _R.NO_RULE),
    _from("an author of a sub-domain", b" joe@sub.example.com", _R.NO_RULE),
    _from("an author of a domain that ends like ours", b" joe@badexample.com", _R.NO_RULE),
    _from("our domain in the display name", b' "joe@example.com" <eve@example.net>', _R.NO_RULE),
    _from("our domain in a comment", b" eve@example.net (joe@example.com)", _R.NO_RULE),
    _from("our domain in letters of another case", b" Joe@EXAMPLE.Com", None),
    _from("no address", b" Joe", _R.INVALID_FROM),
    _from("an empty From, to be signed", b"", _R.INVALID_FROM),
    _from("two addresses in brackets", b" <a@example.com> <b@example.net>", _R.MULTIPLE_FROM),
    _from("a route", b" <@example.net:a@example.com>", _R.INVALID_FROM),
    _from("ours before another address in brackets", b" a@example.com <b@example.net>", _R.NO_RULE),
    _from("ours in brackets behind another address", b" b@example.net <a@example.com>", None),
    _from("ours in brackets and another behind", b" <a@example.com> b@example.net", None),
    _from("ours behind another address in brackets", b" <b@example.net> a@example.com", _R.NO_RULE),
    _from("ours in a quoted string", b' "<a@example.com>" <b@example.net>', _R.NO_RULE),
    _from("ours in an open quotation", b' "<a@example.com> <b@example.net>', _R.MULTIPLE_FROM),
    _from("ours in brackets within brackets of another", b" <b@example.net<a@example.com>>", _R.MULTIPLE_FROM),
    _from("ours beside empty brackets", b" <> a@example.com", _R.INVALID_FROM),
    _from("a comma in the display name", b" Foo, Inc. <a@example.com>", None),
    _from("an unpaired bracket in the display name", b" I <3 you <a@example.com>", None),
    _from("a semicolon at the end", b" a@example.com;", None),
    _from("a group", b" us: a@example.com;", None),
    _from("an open quotation mark", b' "a <a@example.com>', None),
)

CLIENTS: Final = (
    SigningRow("a client from outside", ("S13",), _R.NOT_TRUSTED, client=OUTSIDE),
    SigningRow("a client from outside that authenticated", ("S13",), client=OUTSIDE, authenticated=True),
    SigningRow(
        "a client from outside that authenticated, not trusted by option",
        ("S13",),
        _R.NOT_TRUSTED,
        client=OUTSIDE,
        authenticated=True,
        options={"signing.trust_authenticated": False},
    ),
    SigningRow("a client that nobody knows", ("S13",), _R.NOT_TRUSTED, client=None),
    SigningRow(
        "a client of a network in the configuration",
        ("S13",),
        client=OUTSIDE,
        options={"signing.trusted": ["203.0.113.0/24"]},
    ),
    SigningRow(
        "a local client that is not in the configuration",
        ("S13",),
        _R.NOT_TRUSTED,
        options={"signing.trusted": ["203.0.113.0/24"]},
    ),
    SigningRow("a local client by IPv6", ("S13",), client="::1"),
)

FIELDS: Final = (
    SigningRow(
        "fields that are never signed",
        ("S02",),
        head=(
            b"Return-Path: <joe@example.com>",
            b"Received: from a by b; now",
            b"Comments: x",
            b"Keywords: y",
            b"X-Odd: z",
            b"DKIM-Signature: v=1",
            *HEAD,
        ),
        h=_USUAL,
    ),
    SigningRow(
        "fields of a list",
        ("S02",),
        head=(*HEAD, b"List-Id: <l.example.com>", b"List-Unsubscribe: <mailto:x@example.com>", b"In-Reply-To: <1@b>"),
        h=tuple(sorted((*_USUAL, b"list-id", b"list-unsubscribe", b"list-unsubscribe", b"in-reply-to"))),
    ),
    SigningRow(
        "two fields of a name", ("S02", "C09"), head=(*HEAD, b"To: two@example.net"), h=tuple(sorted((*_USUAL, b"to")))
    ),
    SigningRow(
        "a message with From alone",
        ("S02", "S03"),
        head=(_FROM,),
        h=(b"from", b"from", b"reply-to", b"subject"),
    ),
    SigningRow(
        "fields that are oversigned when present",
        ("S03",),
        head=(*HEAD, b"Cc: c@example.net", b"MIME-Version: 1.0", b"Content-Type: text/plain"),
        h=tuple(sorted((*_USUAL, *(b"cc", b"mime-version", b"content-type") * 2))),
    ),
    SigningRow(
        "fields that are signed to count",
        ("S02",),
        head=(
            *HEAD,
            b"Feedback-ID: 1:2:3:x",
            b"CFBL-Address: f@example.com; report=arf",
            b"CFBL-Feedback-ID: 1",
            b"BIMI-Selector: v=BIMI1; s=x",
            b"Autocrypt: addr=joe@example.com; keydata=AA",
            b"OpenPGP: id=A",
            b"Auto-Submitted: auto-generated",
        ),
        h=tuple(
            sorted(
                (
                    *_USUAL,
                    b"feedback-id",
                    b"cfbl-address",
                    b"cfbl-feedback-id",
                    b"bimi-selector",
                    b"autocrypt",
                    b"openpgp",
                    b"auto-submitted",
                )
            )
        ),
    ),
    SigningRow(
        "oversigning off for absent fields",
        ("S03",),
        options={"signing.oversigned_headers": []},
        h=tuple(sorted((*(b"from", b"to", b"date") * 2, b"subject", b"message-id"))),
    ),
    SigningRow(
        "oversigned by option although absent",
        ("S03",),
        head=(_FROM,),
        options={"signing.oversigned_headers": ["CC"], "signing.oversigned_if_present": ["Cc", "X-Odd"]},
        h=(b"cc", b"from", b"from"),
    ),
    SigningRow(
        "another field oversigned when present",
        ("S03",),
        head=(_FROM, b"x-odd: 1", b"X-ODD: 2"),
        options={"signing.oversigned_headers": [], "signing.oversigned_if_present": ["X-Odd", "X-Even"]},
        h=(b"from", b"from", b"x-odd", b"x-odd", b"x-odd"),
    ),
    SigningRow(
        "oversigning off",
        ("S01", "S03"),
        options={"signing.oversigned_headers": [], "signing.oversigned_if_present": []},
        h=(b"date", b"from", b"from", b"message-id", b"subject", b"to"),
    ),
    SigningRow(
        "one field oversigned",
        ("S03",),
        options={"signing.oversigned_headers": ["Subject"], "signing.oversigned_if_present": []},
        h=(b"date", b"from", b"from", b"message-id", b"subject", b"subject", b"to"),
    ),
    SigningRow(
        "one field signed",
        ("S01", "S02", "S03"),
        options={
            "signing.oversigned_headers": [],
            "signing.signed_headers": ["Subject"],
            "signing.oversigned_if_present": [],
        },
        h=(b"from", b"from", b"subject"),
    ),
    SigningRow(
        "another field signed",
        ("S02",),
        head=(*HEAD, b"X-Mailer: x"),
        options={
            "signing.signed_headers": ["X-Mailer"],
            "signing.oversigned_if_present": [],
            "signing.oversigned_headers": [],
        },
        h=(b"from", b"from", b"x-mailer"),
    ),
)

SIGNATURES: Final = (
    SigningRow(
        "signatures that expire",
        ("S05",),
        options={"signing.signature_ttl": 3600},
        tags={b"x": b"1700003600", b"t": b"1700000000"},
    ),
    SigningRow("two keys", ("S09",), rules=_rule(keys=["rsa", "ed25519"]), signed_by=("rsa", "ed25519")),
    SigningRow(
        "three keys",
        ("S09",),
        rules=_rule(keys=["ed25519", "rsa", "rsa-1024"]),
        signed_by=("ed25519", "rsa", "rsa-1024"),
    ),
    SigningRow(
        "an RSA key of 1024 bits, to sign with", ("S06",), rules=_rule(keys=["rsa-1024"]), signed_by=("rsa-1024",)
    ),
    SigningRow(
        "i= of the author's", ("S07", "S08"), rules=_rule(identity="joe@example.com"), tags={b"i": b"joe@example.com"}
    ),
    SigningRow(
        "i= of a sub-domain",
        ("S07", "S08"),
        rules=_rule(identity="@news.example.com"),
        tags={b"i": b"@news.example.com"},
    ),
    SigningRow("i= with a long local part", ("S07", "S08"), rules=_rule(identity="a" * 64 + "@example.com")),
    *(
        SigningRow(
            f"c={how}, to sign",
            ("S10", "C01", "C02", "C03", "C04"),
            options={"signing.canonicalization": how},
            rules=_rule(keys=["rsa", "ed25519"]),
            signed_by=("rsa", "ed25519"),
            tags={b"c": how.encode()},
        )
        for how in ("simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed")
    ),
    SigningRow("200 fields that are signed", ("S08",), head=(*HEAD, *[b"To: x@example.net"] * 200)),
    SigningRow(
        "a signature that is there already",
        ("S09", "C10"),
        head=(b"DKIM-Signature: v=1; a=rsa-sha256; b=QUJD", *HEAD),
        h=_USUAL,
    ),
)

_OURS: Final = b"Authentication-Results: mx.example.org; dkim=pass header.d=bank.example"
_OTHERS: Final = b"Authentication-Results: mx.example.net; dkim=pass header.d=bank.example"
_FORGED: Final = (_OURS, *HEAD, _OTHERS, _OURS)


def _forged(name: str, unsigned: UnsignedReason | None = None, **more: object) -> SigningRow:
    """A row whose message has two fields that claim our name, around another's."""
    changes: dict[str, object] = {"head": _FORGED, "removed": (1, 3), **more}
    return SigningRow(f"forged fields: {name}", ("A06", "A07", "A10"), unsigned, **changes)  # type: ignore[arg-type]


FORGED: Final = (
    _forged("signed"),
    _forged("verified", _R.NOT_TRUSTED, client=OUTSIDE),
    _forged("no rule", _R.NO_RULE, rules=_rule(**{"from": "*@example.net"})),
    _forged("no From", _R.NO_FROM, head=(_OURS, *HEAD[1:], _OTHERS, _OURS)),
    _forged("two From", _R.MULTIPLE_FROM, head=(_OURS, _FROM, _OTHERS, _OURS, *HEAD)),
    _forged("neither signed nor verified", _R.NOT_TRUSTED, client=OUTSIDE, options={"verifying.enabled": False}),
    _forged("signed, nothing verified", options={"verifying.enabled": False}),
    _forged(
        "signing and verifying off", _R.SIGNING_OFF, options={"signing.enabled": False, "verifying.enabled": False}
    ),
    _forged("a bare LF in the body", _R.BARE_CR_OR_LF, body=b"a\n.\r\n"),
    _forged("a long line", _R.LINE_TOO_LONG, body=b"x" * 999 + b"\r\n"),
    _forged("8 bits", _R.EIGHT_BIT, body=b"\xff\r\n", options={"signing.eight_bit": "leave"}),
    _forged(
        "a large header",
        _R.HEADER_TOO_LARGE,
        head=(_OURS, *HEAD, *[b"X-Pad: x"] * 30, _OTHERS, _OURS),
        options={"limits.max_header_fields": 20, "verifying.enabled": False},
        removed=(1, 2, 3),
    ),
    _forged("left by option", options={"verifying.remove_forged": "off"}, removed=()),
    _forged("signed, of a network that keeps them", options={"verifying.keep_from": ["127.0.0.1"]}, removed=()),
    _forged(
        "verified, of a network that keeps them",
        _R.NOT_TRUSTED,
        client=OUTSIDE,
        options={"verifying.keep_from": ["192.0.2.0/24", "203.0.113.0/24"]},
        removed=(),
    ),
    _forged("of a network beside one that keeps them", options={"verifying.keep_from": ["127.0.0.2/31"]}),
    _forged("an authenticated client", authenticated=True, client=OUTSIDE),
    _forged("an unknown client", _R.NOT_TRUSTED, client=None, options={"verifying.keep_from": ["0.0.0.0/0", "::/0"]}),
    _forged("an IPv6 client", client="::1"),
    _forged("an IPv6 client that keeps them", client="::1", options={"verifying.keep_from": ["::1"]}, removed=()),
)

OCTETS: Final = (
    SigningRow("a body of no octets", ("S12",), body=b""),
    SigningRow("a body without final CRLF", ("S12", "C05"), body=b"a"),
    SigningRow("a body of 8 bits", ("S12",), body="Grüße\r\n".encode()),
    SigningRow(
        "a body of 8 bits, left by option",
        ("S12",),
        _R.EIGHT_BIT,
        body="Grüße\r\n".encode(),
        options={"signing.eight_bit": "leave"},
    ),
    SigningRow("a body of 7 bits, 8 left by option", ("S12",), options={"signing.eight_bit": "leave"}),
    SigningRow("a header of 8 bits", ("S12",), head=(_FROM, "Subject: Grüße".encode(), _DATE)),
    SigningRow(
        "octets that are no UTF-8, to be signed",
        ("S12", "E04"),
        head=(_FROM, b"Subject: \xe4\xff", _DATE),
        body=b"\xff\xfe\0\r\n",
    ),
    SigningRow("a bare CR in the body, to be signed", ("S12",), _R.BARE_CR_OR_LF, body=b"a\rb\r\n"),
    SigningRow("a bare LF in the body, to be signed", ("S12", "K8"), _R.BARE_CR_OR_LF, body=b"a\n.\r\n"),
    SigningRow("a bare CR at the end of the body, to be signed", ("S12",), _R.BARE_CR_OR_LF, body=b"a\r"),
    SigningRow("a body line of 998 octets", ("S12",), body=b"x" * 998 + b"\r\n"),
    SigningRow("a body line of 999 octets", ("S12",), _R.LINE_TOO_LONG, body=b"x" * 999 + b"\r\n"),
    SigningRow(
        "a bare CR in a field, to be signed",
        ("S12",),
        _R.BARE_CR_OR_LF,
        (_FROM, b"Subject: a\rb", _DATE),
        dialogue=False,
    ),
    SigningRow(
        "a bare LF in a field, to be signed",
        ("S12",),
        _R.BARE_CR_OR_LF,
        (_FROM, b"Subject: a\nb", _DATE),
        dialogue=False,
    ),
    SigningRow("a body line of 991 octets", ("S12",), body=b"x" * 991 + b"\r\n"),
    SigningRow(
        "a body line of 991 octets, 990 by option",
        ("S12",),
        _R.LINE_TOO_LONG,
        body=b"x" * 991 + b"\r\n",
        options={"signing.max_line": 990},
    ),
    SigningRow(
        "a body line of 2040 octets, by option",
        ("S12",),
        body=b"x" * 2040 + b"\r\n",
        options={"signing.max_line": 2040},
    ),
    SigningRow(
        "a header line of 500 octets, 499 by option",
        ("S12",),
        _R.LINE_TOO_LONG,
        (_FROM, b"Subject: " + b"x" * 491, _DATE),
        options={"signing.max_line": 499},
    ),
    SigningRow("a header line of 998 octets", ("S12",), head=(_FROM, b"Subject: " + b"x" * 989, _DATE)),
    SigningRow("a header line of 999 octets", ("S12",), _R.LINE_TOO_LONG, (_FROM, b"Subject: " + b"x" * 990, _DATE)),
    SigningRow("a long header line that is not signed", ("S12",), head=(*HEAD, b"X-Odd: " + b"x" * 2000)),
    SigningRow(
        "a field of 2000 octets in lines",
        ("S12", "S08"),
        head=(_FROM, b"To: " + b",\r\n ".join([b"x" * 90 + b"@example.net"] * 20), _DATE),
    ),
    SigningRow(
        "a header of more fields than allowed",
        ("S12", "M6"),
        _R.HEADER_TOO_LARGE,
        head=(*HEAD, *[b"X-Pad: x"] * 20),
        options={"limits.max_header_fields": 20},
    ),
)

ROWS: Final = (*AUTHORS, *CLIENTS, *FIELDS, *SIGNATURES, *FORGED, *OCTETS)
