"""U-labels and octets above 127 (E01 to E05): allowed in an internationalised message, and nowhere else."""

from __future__ import annotations

from typing import Final

from phoenixdkim.dkim.results import Reason, Result
from tables.by_hand import BODY, HEAD, field, message, signed, tags
from tables.keys import ED
from tables.row import Row, Zone

_OK: Final = Reason.VERIFIED
_FROM, _TO, _SUBJECT, _DATE, _ID = HEAD
_INTERNATIONAL: Final = (_FROM, "To: Zoë <zoë@exämple.net>".encode(), _SUBJECT, _DATE)
_U: Final = "exämple.com".encode()
_A: Final = b"xn--exmple-cua.com"
_ZONE: Final[Zone] = {
    b"sel._domainkey." + _A: (ED.record,),
    b"xn--sl-bja._domainkey." + _A: (ED.record,),
    b"sel._domainkey.example.com": (ED.record,),
    b"sel._domainkey." + "bücher.example".encode("idna"): (ED.record,),
}


def _both(
    name: str, plain: Reason, international: Reason, shown: bytes | None = None, **changes: bytes
) -> tuple[Row, Row]:
    """The same tags in a plain and in an internationalised message."""
    value = tags(**changes)
    properties = ({b"header.d": shown},) if shown is not None else ()
    return (
        Row(f"{name}, plain message", ("E01",), plain, signed(value), _ZONE),
        Row(
            f"{name}, internationalised message",
            ("E02", "E05"),
            international,
            signed(value, head=_INTERNATIONAL),
            _ZONE,
            properties=properties,
        ),
    )


_BAD: Final = Reason.BAD_DOMAIN

LABELS: Final = (
    *_both("A-labels in d=", _OK, _OK, _A, d=_A),
    *_both("U-labels in d=", _BAD, _OK, _U, d=_U),
    *_both("U-labels in capitals in d=", _BAD, _OK, "EXÄMPLE.com".encode(), d="EXÄMPLE.com".encode()),
    *_both("U-labels in s=", Reason.BAD_SELECTOR, _OK, _A, d=_A, s="sél".encode()),
    *_both("U-labels in d=, A-labels in i=", _BAD, _OK, _U, d=_U, i=b"@" + _A),
    *_both("A-labels in d=, U-labels in i=", Reason.BAD_IDENTITY, _OK, _A, d=_A, i="@sub.exämple.com".encode()),
    *_both("octets above 127 in the local part of i=", Reason.BAD_IDENTITY, _OK, _A, d=_A, i="jö@".encode() + _A),
    *_both(
        "U-labels of another domain in i=",
        Reason.BAD_IDENTITY,
        Reason.IDENTITY_MISMATCH,
        _A,
        d=_A,
        i="@exämple.net".encode(),
    ),
    *_both("octets that are no UTF-8 in d=", _BAD, _BAD, None, d=b"ex\xe4mple.com"),
    *_both("octets that are no UTF-8 in s=", Reason.BAD_SELECTOR, Reason.BAD_SELECTOR, None, s=b"s\xff"),
    *_both("octets that are no UTF-8 in i=", Reason.BAD_IDENTITY, Reason.BAD_IDENTITY, None, i=b"j\xff@example.com"),
    *_both("a letter that no domain may have in d=", _BAD, _BAD, None, d="ex\u202eample.com".encode()),
    *_both("an ideographic full stop between labels", _BAD, _BAD, None, d="exämple\u3002com".encode()),
    *_both("octets above 127 in h=", Reason.BAD_HEADER_LIST, Reason.BAD_HEADER_LIST, None, h="from:sübject".encode()),
    *_both("octets above 127 in an unknown tag", _OK, _OK, None, zz="ä".encode()),
)


def _eai(
    name: str, ids: tuple[str, ...], reason: Reason, head: tuple[bytes, ...], body: bytes = BODY, **changes: bytes
) -> Row:
    return Row(name, ids, reason, signed(tags(**changes), head=head, body=body), _ZONE)


_SIGNED: Final = signed(head=_INTERNATIONAL)

MESSAGES: Final = (
    _eai("UTF-8 in From", ("E02",), _OK, ("From: Jö <jö@exämple.com>".encode(), *HEAD[1:]), d=_U),
    _eai("UTF-8 in Subject only", ("E02",), _OK, (_FROM, _TO, "Subject: Ä".encode(), _DATE), d=_U),
    _eai("UTF-8 in the body only is a plain message", ("E01",), _BAD, HEAD, "ä\r\n".encode(), d=_U),
    _eai("Latin-1 in the header is a plain message", ("E01", "E04"), _BAD, (_FROM, _TO, b"Subject: \xe4", _DATE), d=_U),
    Row(
        "UTF-8 in another signature only is a plain message",
        ("E01",),
        _BAD,
        message(field(tags(d=_U)), "DKIM-Signature: v=2; x=ä".encode(), *HEAD),
        _ZONE,
        verdicts=((Result.PERMERROR, _BAD), (Result.PERMERROR, Reason.MISSING_TAG)),
    ),
    _eai("a field name's letters above 127 do not change", ("E03",), _OK, (_FROM, _TO, "Subject: ÄÖ".encode(), _DATE)),
    Row(
        "a letter above 127 in lower case in the header",
        ("E03",),
        Reason.SIGNATURE_MISMATCH,
        signed(head=(_FROM, _TO, "Subject: Ä".encode(), _DATE)).replace("Ä".encode(), "ä".encode()),
        _ZONE,
    ),
    Row(
        "the same letter in another form of Unicode",
        ("E03",),
        Reason.SIGNATURE_MISMATCH,
        _SIGNED.replace("Zoë".encode(), "Zoe\u0308".encode()),
        _ZONE,
    ),
    _eai("cut UTF-8 in the header", ("E04", "M9"), _OK, (_FROM, _TO, b"Subject: \xc3", _DATE)),
    _eai("UTF-8 of surrogates in the header", ("E04", "M9"), _OK, (_FROM, _TO, b"Subject: \xed\xa0\x80", _DATE)),
    _eai("cut UTF-8 in the body", ("E04", "M9"), _OK, HEAD, b"\xc3\xe2\x82 \xf0\x9f\r\n\xff"),
)

ROWS: Final = (*LABELS, *MESSAGES)
