"""One change to the octets that are hashed: header and body, simple and relaxed (C01 to C11, V18, V19)."""

from __future__ import annotations

from typing import Final

from phoenixdkim.dkim.results import Reason, Result
from tables.by_hand import BODY, relaxed_body, signed, simple_body, tags
from tables.row import Row

_OK: Final = Reason.VERIFIED
_MISMATCH: Final = Reason.SIGNATURE_MISMATCH
_BODY: Final = Reason.BODY_HASH_MISMATCH
_HEAD: Final = (
    b"From: Joe SixPack <joe@example.com>",
    b"To: Suzie Q\r\n\t<suzie@example.net>",
    b"SUBJECT:  Is   dinner \t ready? \t",
    b"Date:\tFri, 11 Jul 2003 21:00:37 -0700 (PDT)",
)
_RELAXED: Final = signed(tags(more=b"z=a  b"), head=_HEAD)
_SIMPLE: Final = signed(tags(c=b"simple/simple", more=b"z=a  b"), head=_HEAD, how=("simple", "simple"))


def _header(
    name: str, ids: tuple[str, ...], old: bytes, new: bytes, relaxed: Reason, simple: Reason
) -> tuple[Row, Row]:
    """A change after signing, under both canonicalizations."""
    assert _RELAXED.count(old) == _SIMPLE.count(old) == 1, (name, old)
    return (
        Row(f"{name}, relaxed header", ids, relaxed, _RELAXED.replace(old, new)),
        Row(f"{name}, simple header", ids, simple, _SIMPLE.replace(old, new)),
    )


_BOTH: Final = ("C01", "C02")

HEADER: Final = (
    *_header("nothing changed", _BOTH, b"SUBJECT:", b"SUBJECT:", _OK, _OK),
    *_header("a name in other letters", _BOTH, b"SUBJECT:", b"Subject:", _OK, _MISMATCH),
    *_header("a blank before a colon", (*_BOTH, "C12"), b"SUBJECT:", b"SUBJECT :", _OK, _MISMATCH),
    *_header("one space fewer after a colon", _BOTH, b"SUBJECT:  Is", b"SUBJECT: Is", _OK, _MISMATCH),
    *_header("no space after a colon", _BOTH, b"SUBJECT:  Is", b"SUBJECT:Is", _OK, _MISMATCH),
    *_header("a tab for a space", _BOTH, b"From: Joe SixPack", b"From: Joe\tSixPack", _OK, _MISMATCH),
    *_header("a longer run of spaces", _BOTH, b"Joe SixPack", b"Joe    SixPack", _OK, _MISMATCH),
    *_header("a run of tabs and spaces for three spaces", _BOTH, b"Is   dinner", b"Is \t\t dinner", _OK, _MISMATCH),
    *_header("a space taken out between words", _BOTH, b"Joe SixPack", b"JoeSixPack", _MISMATCH, _MISMATCH),
    *_header("a space put inside a word", _BOTH, b"Joe SixPack", b"J oe SixPack", _MISMATCH, _MISMATCH),
    *_header("blanks at the end taken away", _BOTH, b"ready? \t\r\n", b"ready?\r\n", _OK, _MISMATCH),
    *_header(
        "blanks at the end added",
        _BOTH,
        b"Q\r\n\t<suzie@example.net>\r\n",
        b"Q\r\n\t<suzie@example.net> \r\n",
        _OK,
        _MISMATCH,
    ),
    *_header("a fold taken out", _BOTH, b"Q\r\n\t<", b"Q <", _OK, _MISMATCH),
    *_header("a fold taken out with its white space", _BOTH, b"Q\r\n\t<", b"Q<", _MISMATCH, _MISMATCH),
    *_header("a fold put in", _BOTH, b"Joe SixPack", b"Joe\r\n SixPack", _OK, _MISMATCH),
    *_header("a fold of white space only put in", _BOTH, b"Joe SixPack", b"Joe\r\n \r\n\tSixPack", _OK, _MISMATCH),
    *_header("a fold right after a colon", _BOTH, b"Date:\tFri", b"Date:\r\n\tFri", _OK, _MISMATCH),
    *_header("a word in other letters", _BOTH, b"Joe SixPack", b"joe SixPack", _MISMATCH, _MISMATCH),
    *_header("a vertical tab for a space", ("C06",), b"Joe SixPack", b"Joe\x0bSixPack", _MISMATCH, _MISMATCH),
    *_header("a form feed added at the end", ("C06",), b"ready? \t\r\n", b"ready? \t\x0c\r\n", _MISMATCH, _MISMATCH),
    *_header("a no-break space for a space", ("C06",), b"Joe SixPack", b"Joe\xa0SixPack", _MISMATCH, _MISMATCH),
    *_header("white space inside the signature's own tags", ("C07",), b"z=a  b", b"z=a \t b", _OK, _MISMATCH),
    *_header("a tag's value of the signature", ("C07",), b"z=a  b", b"z=a  c", _MISMATCH, _MISMATCH),
    *_header("a tag added to the signature", ("C07", "V24"), b"z=a  b", b"y=1; z=a  b", _MISMATCH, _MISMATCH),
    *_header(
        "the order of the signature's tags",
        ("C07",),
        b" v=1; a=ed25519-sha256;",
        b" a=ed25519-sha256; v=1;",
        _MISMATCH,
        _MISMATCH,
    ),
    *_header("the signature's name in other letters", ("C07",), b"DKIM-Signature:", b"Dkim-signature:", _OK, _MISMATCH),
    *_header(
        "the space after the signature's colon", ("C07",), b"DKIM-Signature: v", b"DKIM-Signature:v", _OK, _MISMATCH
    ),
)


def _b(name: str, value: bytes) -> tuple[Row, Row]:
    """Tags around b= in odd forms: what is emptied is its value and nothing else."""
    return (
        Row(f"{name}, relaxed", ("C08",), _OK, signed(value)),
        Row(
            f"{name}, simple",
            ("C08",),
            _OK,
            signed(value.replace(b"relaxed/relaxed", b"simple"), how=("simple", "simple")),
        ),
    )


_FRONT: Final = tags(b=None, bh=None)

B_VALUE: Final = (
    *_b("b= in front", b" b={b};" + _FRONT + b"; bh={bh}"),
    *_b("b= before bh=", _FRONT + b"; b={b}; bh={bh}"),
    *_b("b= with folds around its equal sign", _FRONT + b"; bh={bh};\r\n\tb\r\n =\r\n\t {b}"),
    *_b("b= with a fold in front of its name", _FRONT + b"; bh={bh};\r\n \tb={b}"),
    *_b("white space behind the value of b=", _FRONT + b"; b={b} \r\n\t ; bh={bh};"),
    *_b("b= with a semicolon behind", _FRONT + b"; bh={bh}; b={b};"),
    *_b("tags whose names end in b", b" bb=b=1; zb=1;" + _FRONT + b"; bh={bh}; b={b}"),
    *_b("a tag whose value is b=", _FRONT + b"; z=b=QUJD; bh={bh}; b={b}"),
    *_b("B= beside b=", _FRONT + b"; B=QUJD; bh={bh}; b={b}"),
)


def _text(
    name: str, ids: tuple[str, ...], body: bytes, changed: bytes, relaxed: Reason, simple: Reason
) -> tuple[Row, Row]:
    """A body, and what becomes of it after signing."""
    found = []
    for how, reason in (("relaxed", relaxed), ("simple", simple)):
        whole = signed(tags(c=b"relaxed/" + how.encode()), body=body, how=("relaxed", how))
        assert whole.endswith(b"\r\n\r\n" + body)
        found.append(Row(f"{name}, {how} body", ids, reason, whole[: len(whole) - len(body)] + changed))
    return found[0], found[1]


def _as_is(name: str, ids: tuple[str, ...], body: bytes) -> tuple[Row, Row]:
    return _text(name, ids, body, body, _OK, _OK)


BODIES: Final = (
    *_as_is("an empty body", ("C03", "C04"), b""),
    *_text("an empty body becomes an empty line", ("C03", "C04"), b"", b"\r\n", _OK, _OK),
    *_text("an empty body becomes three empty lines", ("C03", "C04"), b"", b"\r\n\r\n\r\n", _OK, _OK),
    *_text("an empty body becomes a line of blanks", ("C03", "C04"), b"", b" \t\r\n", _OK, _BODY),
    *_text("an empty body becomes a word", ("C03", "C04"), b"", b"x", _BODY, _BODY),
    *_text("empty lines added at the end", ("C03", "C04"), BODY, BODY + b"\r\n\r\n", _OK, _OK),
    *_text("empty lines taken from the end", ("C03", "C04"), BODY + b"\r\n\r\n", BODY, _OK, _OK),
    *_text("an empty line added at the start", ("C03", "C04"), BODY, b"\r\n" + BODY, _BODY, _BODY),
    *_text("an empty line added inside", ("C03", "C04"), b"a\r\nb\r\n", b"a\r\n\r\nb\r\n", _BODY, _BODY),
    *_text("a line of blanks added at the end", ("C03", "C04"), BODY, BODY + b" \t\r\n", _OK, _BODY),
    *_text("blanks added at the end of a line", ("C03", "C04"), BODY, BODY.replace(b"yet?", b"yet? \t"), _OK, _BODY),
    *_text("a run of spaces shortened", ("C03", "C04"), BODY, BODY.replace(b".  A", b". A"), _OK, _BODY),
    *_text("a tab for a space", ("C03", "C04"), BODY, BODY.replace(b"the game", b"the\tgame"), _OK, _BODY),
    *_text(
        "a space taken out between words", ("C03", "C04"), BODY, BODY.replace(b"the game", b"thegame"), _BODY, _BODY
    ),
    *_text("a space added at the start of a line", ("C03", "C04"), BODY, BODY.replace(b"We", b" We"), _BODY, _BODY),
    *_text("a longer run at the start of a line", ("C03", "C04"), b" a\r\n", b" \t a\r\n", _OK, _BODY),
    *_text("the last CRLF taken away", ("C05",), BODY, BODY.removesuffix(b"\r\n"), _OK, _OK),
    *_text("a last CRLF added", ("C05",), b"a", b"a\r\n", _OK, _OK),
    *_text("a line of blanks without CRLF at the end", ("C05", "C04"), BODY, BODY + b" \t", _OK, _BODY),
    *_as_is("a body of one word", ("C05",), b"a"),
    *_as_is("a bare CR in the body", ("C06", "M9"), b"a\rb \r c\r\n"),
    *_as_is("a bare LF in the body", ("C06", "M9"), b"a\nb \n c\r\n"),
    *_as_is("a bare CR at the end of the body", ("C06", "M9"), b"a \r"),
    *_as_is("a bare LF at the end of the body", ("C06", "M9"), b"a \n"),
    *_as_is("a line end for SMTP smugglers", ("C06", "K8"), b"a\n.\r\n\r.\rb\r\n"),
    *_text("a bare LF becomes CRLF", ("C06", "K8"), b"a\nb\r\n", b"a\r\nb\r\n", _BODY, _BODY),
    *_text("a bare CR taken out", ("C06", "K8"), b"a\rb\r\n", b"ab\r\n", _BODY, _BODY),
    *_text("bare LFs added at the end", ("C06", "C03"), BODY, BODY + b"\n\n", _BODY, _BODY),
    *_text("a bare CR added before the last CRLF", ("C06", "C03"), b"a\r\n", b"a\r\r\n", _BODY, _BODY),
    *_text("a vertical tab for a space", ("C06",), BODY, BODY.replace(b"the game", b"the\x0bgame"), _BODY, _BODY),
    *_text("a form feed at the end of a line", ("C06",), BODY, BODY.replace(b"yet?", b"yet?\x0c"), _BODY, _BODY),
    *_text("a no-break space for a space", ("C06",), BODY, BODY.replace(b"the game", b"the\xa0game"), _BODY, _BODY),
    *_as_is(
        "NUL, octets above 127 and no text at all", ("M9", "E03", "E04"), bytes(range(256)) + b"\xff\xfe\0\xc3(\r\n"
    ),
    *_text("an octet above 127 changed", ("M9", "E03"), b"\xe4\r\n", b"\xc4\r\n", _BODY, _BODY),
    *_as_is("a million spaces", ("M1", "C04"), b"a" + b" " * 1_000_000 + b"b\r\n"),
    *_as_is("a hundred thousand empty lines", ("M1", "C03"), b"a" + b"\r\n" * 100_000 + b"b\r\n"),
)

_TEXT: Final = b"Pay  10.\r\n"  # 10 octets, 9 of them canonical when relaxed


def _length(
    name: str,
    ids: tuple[str, ...],
    reason: Reason,
    length: bytes,
    covered: int | None,
    body: bytes,
    how: str = "simple",
    policy: str = "",
    text: tuple[bytes, ...] = (),
) -> Row:
    return Row(
        name,
        ids,
        reason,
        signed(tags(c=b"relaxed/" + how.encode(), l=length), body=body, how=("relaxed", how), covered=covered),
        options={"verifying.length_policy": policy} if policy else {},
        text=text,
    )


_TAIL: Final = Reason.UNSIGNED_TAIL
_BEYOND: Final = Reason.LENGTH_EXCEEDS_BODY

LENGTHS: Final = (
    _length("l= of the whole body", ("V18", "C11"), _OK, b"10", None, _TEXT),
    _length("l= of the whole relaxed body", ("V18", "C11"), _OK, b"9", None, _TEXT, "relaxed"),
    _length("l= with leading zeros", ("V18",), _OK, b"00000010", None, _TEXT),
    _length(
        "l= of the body as it stands, which is more than the relaxed one",
        ("V18", "C11"),
        _BEYOND,
        b"10",
        None,
        _TEXT,
        "relaxed",
    ),
    _length("l= one more than the body", ("V18",), _BEYOND, b"11", None, _TEXT),
    _length("l= of 76 digits", ("V18",), _BEYOND, b"9" * 76, None, _TEXT),
    _length("l= of 77 digits", ("V18",), Reason.BAD_LENGTH, b"9" * 77, None, _TEXT),
    *(
        _length(f"l={value.decode('latin-1')}", ("V18",), Reason.BAD_LENGTH, value, None, _TEXT)
        for value in (b"-1", b"+10", b"0xA", b"1 0", b"10.0", b"\xb2", b"all")
    ),
    _length(
        "l= that counts empty lines at the end, which are no part of the body",
        ("V18", "C11"),
        _BEYOND,
        b"14",
        None,
        _TEXT + b"\r\n\r\n",
    ),
    _length("l= of the body without its empty lines at the end", ("V18", "C11"), _OK, b"10", None, _TEXT + b"\r\n\r\n"),
    _length("l= of a body without final CRLF", ("V18", "C05", "C11"), _OK, b"10", None, _TEXT[:-2]),
    _length("l= of an empty simple body", ("V18", "C03"), _OK, b"2", None, b""),
    _length("l= of an empty relaxed body", ("V18", "C04"), _OK, b"0", None, b"", "relaxed"),
    _length(
        "text behind what l= covers",
        ("V18", "V19", "K6"),
        _TAIL,
        b"10",
        10,
        _TEXT + b"Or 100.\r\n",
        text=(b"dkim=policy",),
    ),
    _length(
        "text behind what l= covers, relaxed", ("V18", "V19", "C11"), _TAIL, b"9", 9, _TEXT + b"Or 100.\r\n", "relaxed"
    ),
    _length("one octet behind what l= covers", ("V18", "V19"), _TAIL, b"9", 9, _TEXT),
    _length("l=0", ("V18", "V19", "K6"), _TAIL, b"0", 0, _TEXT),
    _length("l=0, accepted by option", ("V19",), _OK, b"0", 0, _TEXT, policy="accept"),
    _length(
        "text behind what l= covers, accepted by option",
        ("V19",),
        _OK,
        b"10",
        10,
        _TEXT + b"Or 100.\r\n",
        policy="accept",
    ),
    _length(
        "text behind what l= covers, reported by option",
        ("V18", "V19"),
        _OK,
        b"10",
        10,
        _TEXT + b"Or 100.\r\n",
        policy="report",
        text=(b'dkim=pass reason="', b"(256-bit key)"),
    ),
    Row(
        "text behind what l= covers, and another text before",
        ("V10", "V19"),
        _BODY,
        signed(tags(l=b"10", c=b"relaxed"), body=_TEXT, how=("relaxed", "simple")).replace(b"Pay  10", b"Pay  11")
        + b"x\r\n",
    ),
    Row(
        "text behind what l= covers, and another Subject",
        ("V19",),
        _MISMATCH,
        signed(tags(l=b"10", c=b"relaxed"), body=_TEXT, how=("relaxed", "simple")).replace(b"dinner", b"supper")
        + b"x\r\n",
        result=Result.FAIL,
    ),
)
assert (simple_body(_TEXT), relaxed_body(_TEXT)) == (_TEXT, b"Pay 10.\r\n")

ROWS: Final = (*HEADER, *B_VALUE, *BODIES, *LENGTHS)
