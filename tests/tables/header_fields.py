"""One change to the header of a signed message: what h= names, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from phoenixdkim.dkim.results import Reason, Result
from tables.by_hand import BODY, HEAD, field, message, signed, tags
from tables.keys import EdKey
from tables.row import Row

_OK: Final = Reason.VERIFIED
_FROM, _TO, _SUBJECT, _DATE, _ID = HEAD
_NAMES: Final = (b"from", b"to", b"subject", b"date")


def _h(
    name: str,
    ids: tuple[str, ...],
    reason: Reason,
    h: bytes,
    names: Sequence[bytes] = _NAMES,
    head: Sequence[bytes] = HEAD,
    dialogue: bool = True,
) -> Row:
    """Another h=, and what a signer would hash for it."""
    return Row(name, ids, reason, signed(tags(h=h), names=names, head=head), dialogue=dialogue)


LISTS: Final = (
    _h("h= in capitals", ("V13", "V01"), _OK, b"FROM:To:SUBJECT:datE"),
    _h("h= with white space around colons", ("V13",), _OK, b"from : to\r\n\t:\tsubject:\r\n date"),
    _h(
        "h= in another order than the fields",
        ("C13",),
        _OK,
        b"date:to:from:subject",
        (b"date", b"to", b"from", b"subject"),
    ),
    _h("h= in another order than the hash", ("C13",), Reason.SIGNATURE_MISMATCH, b"date:to:from:subject"),
    _h("h= of From only", ("V13",), _OK, b"from", (b"from",)),
    _h("h= without From", ("V13",), Reason.FROM_NOT_SIGNED, b"to:subject:date", (b"to", b"subject", b"date")),
    _h("h= with names that resemble From", ("V13",), Reason.FROM_NOT_SIGNED, b"xfrom:from2:from-", ()),
    _h("h= with Resent-From for From", ("V13",), Reason.FROM_NOT_SIGNED, b"resent-from:to", (b"to",)),
    _h("h= with fields that are not there", ("V14",), _OK, b"from:cc:x-none:to", (b"from", b"to")),
    _h("h= with From twice", ("V14", "V15", "C09"), _OK, b"from:from:to", (b"from", b"to")),
    _h("h= with a name of odd characters", ("V14",), _OK, b"from:x!#$%&'*+/?@[\\]^_`{|}~9", (b"from",)),
    *(
        _h(f"h={value.decode('latin-1')!r}", ("V15",), Reason.BAD_HEADER_LIST, value, dialogue=b"\0" not in value)
        for value in (
            b":",
            b"from:",
            b":from",
            b"from::to",
            b"fr om:to",
            b"from:t\r\n\to",
            b"from:t\0o",
            b"from:\xff",
            b"from to",
        )
    ),
    _h("h= with 256 names", ("V15", "M6"), _OK, b"from" + b":x" * 255, (b"from",)),
    _h("h= with 257 names", ("V15", "M6"), Reason.TOO_MANY_SIGNED_FIELDS, b"from" + b":x" * 256, (b"from",)),
)

_TWO_TO: Final = (_FROM, b"To: one@example.net", b"To: two@example.net", _SUBJECT, _DATE)
_SIGNED: Final = signed()
_BOTTOM_TO: Final = signed(head=_TWO_TO)
_BOTH_TO: Final = signed(tags(h=b"from:to:to"), head=_TWO_TO, names=(b"from", b"to", b"to"))
_OVERSIGNED: Final = signed(tags(h=b"from:subject:subject:cc"), names=(b"from", b"subject"))


def _changed(name: str, ids: tuple[str, ...], reason: Reason, old: bytes, new: bytes, whole: bytes = _SIGNED) -> Row:
    """A change after signing."""
    assert whole.count(old) == 1, old
    return Row(name, ids, reason, whole.replace(old, new))


FIELDS: Final = (
    _changed("an unsigned field is changed", ("C13",), _OK, b"<2003", b"<2004"),
    _changed(
        "a signed field is removed", ("V14",), Reason.SIGNATURE_MISMATCH, b"To: Suzie Q <suzie@example.net>\r\n", b""
    ),
    _changed("signed fields change places", ("C13",), _OK, _TO + b"\r\n" + _SUBJECT, _SUBJECT + b"\r\n" + _TO),
    _changed("From is changed", ("V13",), Reason.SIGNATURE_MISMATCH, b"From: Joe", b"From: Jon"),
    Row("a field of the route above", ("C13",), _OK, b"Received: from a by b; today\r\n" + _SIGNED),
    Row("a second Subject above one that is signed once", ("C09", "M12"), _OK, b"Subject: more\r\n" + _SIGNED),
    _changed(
        "a second Subject below one that is signed once",
        ("C09", "M12"),
        Reason.SIGNATURE_MISMATCH,
        b"\r\nDate:",
        b"\r\nSubject: more\r\nDate:",
    ),
    Row(
        "a second Subject above one that is signed twice",
        ("C09", "S03", "M12"),
        Reason.SIGNATURE_MISMATCH,
        b"Subject: more\r\n" + _OVERSIGNED,
    ),
    Row(
        "a field that was signed as absent",
        ("V14", "C09"),
        Reason.SIGNATURE_MISMATCH,
        b"Cc: eve@example.org\r\n" + _OVERSIGNED,
    ),
    Row("names signed once more than there are", ("V14", "C09"), _OK, _OVERSIGNED),
    Row("two To, one named: the lower is signed", ("C09",), _OK, _BOTTOM_TO),
    _changed("two To, one named: the upper is changed", ("C09",), _OK, b"one@", b"eve@", _BOTTOM_TO),
    _changed(
        "two To, one named: the lower is changed", ("C09",), Reason.SIGNATURE_MISMATCH, b"two@", b"eve@", _BOTTOM_TO
    ),
    Row("two To, both named", ("C09", "V15"), _OK, _BOTH_TO),
    _changed(
        "two To, both named: the upper is changed", ("C09",), Reason.SIGNATURE_MISMATCH, b"one@", b"eve@", _BOTH_TO
    ),
    _changed(
        "two To, both named, change places",
        ("C09",),
        Reason.SIGNATURE_MISMATCH,
        _TWO_TO[1] + b"\r\n" + _TWO_TO[2],
        _TWO_TO[2] + b"\r\n" + _TWO_TO[1],
        _BOTH_TO,
    ),
    Row(
        "a name with a blank before its colon, relaxed",
        ("C12", "C02"),
        _OK,
        signed(head=(_FROM, _TO, b"Subject \t: x", _DATE)),
    ),
    Row(
        "a name with a blank before its colon, simple",
        ("C12", "C01"),
        _OK,
        signed(tags(c=b"simple"), head=(_FROM, _TO, b"Subject : x", _DATE), how=("simple", "simple")),
    ),
    Row("From with a blank before its colon", ("C12", "V13"), _OK, signed(head=(b"From : a@example.com", *HEAD[1:]))),
    Row(
        "DKIM-Signature with a blank before its colon",
        ("C12",),
        _OK,
        signed(tags(c=b"simple"), name=b"DKIM-Signature ", how=("simple", "simple")),
    ),
    Row(
        "dkim-signature in other letters",
        ("C01", "C07"),
        _OK,
        signed(tags(c=b"simple"), name=b"dKIM-sIGNATURE", how=("simple", "simple")),
    ),
    Row("a field without value", ("C02",), _OK, signed(head=(_FROM, _TO, b"Subject:", _DATE))),
    Row("a field of white space", ("C02",), _OK, signed(head=(_FROM, _TO, b"Subject: \t ", _DATE))),
    Row("a field without a space after its colon", ("C02", "C14"), _OK, signed(head=(_FROM, _TO, b"Subject:x", _DATE))),
    Row(
        "a field with two spaces after its colon",
        ("C01", "C14"),
        _OK,
        signed(tags(c=b"simple"), head=(_FROM, _TO, b"Subject:  x ", _DATE), how=("simple", "simple")),
    ),
    Row("octets above 127 in a field", ("C14", "E04"), _OK, signed(head=(_FROM, _TO, b"Subject: \xff\xfe\xe4", _DATE))),
    Row("NUL in a field", ("C14",), _OK, signed(head=(_FROM, _TO, b"Subject: a\0b", _DATE)), dialogue=False),
    Row("a bare CR in a field", ("C06",), _OK, signed(head=(_FROM, _TO, b"Subject: a \rb", _DATE)), dialogue=False),
    Row("a bare LF in a field", ("C06",), _OK, signed(head=(_FROM, _TO, b"Subject: a \nb", _DATE)), dialogue=False),
    Row("no From", ("V13", "M10"), Reason.NO_FROM, signed(head=HEAD[1:])),
    Row("a second From above", ("K4",), Reason.MULTIPLE_FROM, b"From: eve@example.org\r\n" + _SIGNED),
    _changed("a second From below", ("K4",), Reason.MULTIPLE_FROM, b"\r\nTo:", b"\r\nFROM: eve@example.org\r\nTo:"),
    Row(
        "a second From with a blank before its colon",
        ("K4", "C12"),
        Reason.MULTIPLE_FROM,
        b"From : eve@example.org\r\n" + _SIGNED,
    ),
    Row(
        "two From, both signed",
        ("K4", "V13"),
        Reason.MULTIPLE_FROM,
        signed(tags(h=b"from:from"), head=(_FROM, *HEAD), names=(b"from", b"from")),
    ),
    Row(
        "a second From, permerror by option",
        ("K4",),
        Reason.MULTIPLE_FROM,
        b"From: eve@example.org\r\n" + _SIGNED,
        result=Result.PERMERROR,
        options={"verifying.multiple_from": "permerror"},
    ),
    Row(
        "a second From, reported by option",
        ("K4",),
        _OK,
        b"From: eve@example.org\r\n" + _SIGNED,
        options={"verifying.multiple_from": "report"},
        text=(b'reason="several From fields"',),
    ),
    Row("a From that can't be read", ("A14",), _OK, signed(head=(b'From: <<>>, "', *HEAD[1:]))),
    Row("an empty From", ("A14",), _OK, signed(head=(b"From:", *HEAD[1:]))),
    Row(
        "a name that is not ASCII",
        ("C14", "E04"),
        Reason.HIDDEN_HEADER_NAME,
        "Sübject: x\r\n".encode() + _SIGNED,
        dialogue=False,
    ),
)

_UNSIGNED: Final = message(*HEAD)
_LIMITED: Final = {"limits.max_header_fields": 20}
_OTHER: Final = field(tags(s=b"gone"))
_SECOND: Final = field(tags())
_OVER: Final = signed(tags(h=b"from:dkim-signature"), head=(_OTHER, *HEAD), names=(b"from", b"dkim-signature"))
_BELOW: Final = message(*HEAD[:2], _SECOND, *HEAD[2:])
_EXPIRED: Final = field(tags(t=None, x=b"1"))
_TAMPERED: Final = field(tags(), EdKey(2))


def _several(
    name: str, ids: tuple[str, ...], reason: Reason, *signatures: tuple[bytes, Reason], **options: object
) -> Row:
    from phoenixdkim.dkim.results import REASONS

    return Row(
        name,
        ids,
        reason,
        message(*(made for made, _ in signatures), *HEAD),
        verdicts=tuple((REASONS[expected].result, expected) for _, expected in signatures),
        options={f"limits.{option}": value for option, value in options.items()},
    )


_NONE: Final = Reason.NO_SIGNATURE

WHOLE: Final = (
    Row("a message without signature", ("A02",), _NONE, _UNSIGNED, text=(b"dkim=none",)),
    Row(
        "a message without signature, no field wanted",
        ("A02",),
        _NONE,
        _UNSIGNED,
        options={"verifying.add_none": False},
    ),
    Row("no From and no signature", ("A14", "M10"), _NONE, message(*HEAD[1:]), text=(b"dkim=none",)),
    Row("two From and no signature", ("A14",), _NONE, message(_FROM, *HEAD), text=(b"dkim=none",)),
    Row(
        "a From that can't be read and no signature", ("A14",), _NONE, message(b"From: <a@", _TO), text=(b"dkim=none",)
    ),
    Row("a header of one field", ("A14", "M10"), _NONE, message(_FROM, body=b""), text=(b"dkim=none",)),
    Row("no header", ("A14", "M10"), _NONE, b"\r\n" + BODY, text=(b"dkim=none",)),
    Row("nothing but a signature", ("A14", "M10"), Reason.NO_FROM, message(_SECOND, body=b"")),
    Row("a signature that is empty", ("A14", "V05"), Reason.MISSING_TAG, message(b"DKIM-Signature:", *HEAD)),
    Row("a name that begins like DKIM-Signature", ("A02",), _NONE, message(b"DKIM-Signature-2:" + tags(), *HEAD)),
    Row("DKIM-Signature in the body", ("A02",), _NONE, message(*HEAD, body=_SECOND + b"\r\n\r\n")),
    Row("a signature below other fields", ("C07", "C13"), _OK, _BELOW),
    Row(
        "21 fields, 20 allowed",
        ("A14", "M6"),
        Reason.TOO_MANY_HEADER_FIELDS,
        b"X-Pad: x\r\n" * 15 + _SIGNED,
        options=_LIMITED,
    ),
    Row("20 fields, 20 allowed", ("M6",), _OK, b"X-Pad: x\r\n" * 14 + _SIGNED, options=_LIMITED),
    Row(
        "a header of more octets than allowed",
        ("A14", "M6"),
        Reason.HEADER_TOO_LARGE,
        b"X-Pad: " + b"x" * 4096 + b"\r\n" + _SIGNED,
        options={"limits.max_header_octets": 4096},
    ),
    Row(
        "another signature that is signed",
        ("C10",),
        _OK,
        _OVER,
        verdicts=((Result.PASS, _OK), (Result.PERMERROR, Reason.NO_KEY)),
    ),
    Row(
        "another signature that is signed is changed",
        ("C10",),
        Reason.SIGNATURE_MISMATCH,
        _OVER.replace(b"s=gone", b"s=lost"),
        verdicts=((Result.FAIL, Reason.SIGNATURE_MISMATCH), (Result.PERMERROR, Reason.NO_KEY)),
    ),
    Row(
        "a signature that signs itself by name: itself is not taken",
        ("C10",),
        _OK,
        signed(tags(h=b"from:dkim-signature"), names=(b"from",)),
    ),
    _several(
        "two signatures that verify",
        ("A03", "S09"),
        _OK,
        (_SECOND, _OK),
        (field(tags(c=b"relaxed"), how=("relaxed", "simple")), _OK),
    ),
    _several(
        "an expired signature above one that verifies", ("A03", "A13"), _OK, (_EXPIRED, Reason.EXPIRED), (_SECOND, _OK)
    ),
    _several(
        "a signature that verifies above one that does not",
        ("A03", "A13"),
        _OK,
        (_SECOND, _OK),
        (_TAMPERED, Reason.SIGNATURE_MISMATCH),
    ),
    _several(
        "an expired signature and a wrong one",
        ("A03",),
        Reason.SIGNATURE_MISMATCH,
        (_EXPIRED, Reason.EXPIRED),
        (_TAMPERED, Reason.SIGNATURE_MISMATCH),
    ),
    _several(
        "more signatures than allowed",
        ("A03", "M2"),
        _OK,
        (_EXPIRED, Reason.EXPIRED),
        (_SECOND, _OK),
        (_TAMPERED, Reason.TOO_MANY_SIGNATURES),
        max_signatures=2,
    ),
    _several(
        "as many signatures as allowed",
        ("A03", "M2"),
        _OK,
        (_EXPIRED, Reason.EXPIRED),
        (_SECOND, _OK),
        max_signatures=2,
    ),
)

ROWS: Final = (*LISTS, *FIELDS, *WHOLE)
