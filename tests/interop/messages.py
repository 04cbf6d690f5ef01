"""Generated messages, odd but such as an MTA passes on, and how each is to be signed.

What no milter can be given (NUL in a header) or what is never signed (a bare CR or LF, a line above 998 octets) is left
out here; the mutations of ``mutants`` make it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from hypothesis import assume
from hypothesis import strategies as st

from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.sign import MAX_LINE, SignOptions
from phoenixdkim.dkim.signed_fields import Coverage, default_names

DOMAIN = "example.com"
WITH_IDENTITY = b"agent@mail.example.com"
HUGE = 200_000
"""Octets from which a body counts as huge."""
FAR = 3_155_760_000
"""Seconds of the longest life of a signature: x= then needs more than 32 bits."""


class Trait(StrEnum):
    """What makes a message odd. The tests demand that each trait occurs."""

    SIMPLE_SIMPLE = "c=simple/simple"
    SIMPLE_RELAXED = "c=simple/relaxed"
    RELAXED_SIMPLE = "c=relaxed/simple"
    RELAXED_RELAXED = "c=relaxed/relaxed"
    RSA = "signed by RSA alone"
    ED25519 = "signed by Ed25519 alone"
    BOTH = "signed by both"
    IDENTITY = "i="
    EXPIRES = "x="
    OVERSIGNED = "several names once more than their fields"
    FOLDED = "a folded value"
    FOLDED_AT_ONCE = "a fold before the value's first word"
    BLANK_FOLD = "a line of a value with white space alone"
    EMPTY_VALUE = "a field without value"
    NO_BLANK = "no blank after a colon"
    RUN_IN_HEADER = "a run of white space in a value"
    BLANK_AT_VALUE_END = "white space at the end of a value"
    UTF8_HEADER = "UTF-8 in a value"
    EIGHT_BIT_HEADER = "octets above 127 in a value that are no UTF-8"
    CONTROL_IN_HEADER = "VT, FF or another control in a value"
    NO_BREAK_OCTET = "the octet A0 in a value"
    ODD_NAME = "a name of odd characters that is signed"
    ODD_CASE = "a name in odd case"
    OBSOLETE = "white space before a colon"
    REPEATED = "a field that occurs twice"
    LONG_VALUE = "a value above 998 octets"
    EMPTY_BODY = "no body"
    BLANK_BODY = "a body of empty lines alone"
    HUGE_BODY = "a huge body"
    UTF8_BODY = "UTF-8 in the body"
    EIGHT_BIT_BODY = "octets above 127 in the body that are no UTF-8"
    NUL_IN_BODY = "NUL in the body"
    NO_FINAL_CRLF = "a body without final CRLF"
    TRAILING_LINES = "empty lines at the end of the body"
    BLANK_AT_LINE_END = "white space at the end of a line"
    RUN_IN_BODY = "a run of white space in the body"
    BLANK_LINE = "a line of the body with white space alone"
    BLANK_LAST_LINE = "a last line of white space alone, not ended"
    BLANK_AT_END = "a last line with white space at its end, not ended"
    LONG_LINE = "a body line of 998 octets"


@dataclass(frozen=True)
class Case:
    """A message and how it is to be signed.

    Attributes:
        fields, body: the message.
        header_canon, body_canon: c=.
        algorithms: a= of the signatures, from the top.
        identity: i=, empty for none.
        ttl: seconds from t= to x=, None for no x=.
        signed: names to sign beside the recommended ones.
        oversigned: names to sign once more than they occur.
    """

    fields: tuple[HeaderField, ...]
    body: bytes = b"text\r\n"
    header_canon: Canonicalization = Canonicalization.RELAXED
    body_canon: Canonicalization = Canonicalization.SIMPLE
    algorithms: tuple[str, ...] = ("rsa-sha256",)
    identity: bytes = b""
    ttl: int | None = None
    signed: tuple[bytes, ...] = ()
    oversigned: tuple[bytes, ...] = default_names(Coverage.OVERSIGNED)

    @property
    def header(self) -> bytes:
        return b"".join(field.name + b":" + field.value + b"\r\n" for field in self.fields)

    @property
    def raw(self) -> bytes:
        return self.header + b"\r\n" + self.body

    @property
    def options(self) -> SignOptions:
        signed = (*default_names(Coverage.SIGNED), *self.signed)
        return SignOptions(self.header_canon, self.body_canon, signed, self.oversigned, ttl=self.ttl)

    @property
    def covered(self) -> tuple[HeaderField, ...]:
        """The fields that a signature covers."""
        names = {name.lower() for name in (*default_names(Coverage.SIGNED), *self.signed, *self.oversigned)}
        return tuple(field for field in self.fields if field.lname in names)

    @property
    def traits(self) -> frozenset[Trait]:
        return frozenset(_signing_traits(self)) | frozenset(_header_traits(self)) | frozenset(_body_traits(self.body))

    def __repr__(self) -> str:
        changed = replace(self, body=self.body[:200]) if len(self.body) > 200 else self
        shown = ", ".join(f"{name}={getattr(changed, name)!r}" for name in self.__dataclass_fields__)
        return f"Case({shown}, octets of the body: {len(self.body)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # What hypothesis shows.
        printer.text(repr(self))


def plain(body: bytes = b"text\r\n", *more: tuple[bytes, bytes], **how: object) -> Case:
    """A simple message, for examples: From, a body, and what is given."""
    fields = (HeaderField(b"From", b" a@example.com"), *(HeaderField(name, value) for name, value in more))
    return Case(fields, body, **how)  # type: ignore[arg-type]


def _signing_traits(case: Case) -> set[Trait]:
    found = {Trait(f"c={case.header_canon}/{case.body_canon}")}
    one = {"rsa-sha256": Trait.RSA, "ed25519-sha256": Trait.ED25519}
    found.add(Trait.BOTH if len(case.algorithms) > 1 else one[case.algorithms[0]])
    if case.identity:
        found.add(Trait.IDENTITY)
    if case.ttl is not None:
        found.add(Trait.EXPIRES)
    if len(case.oversigned) > 1:
        found.add(Trait.OVERSIGNED)
    return found


def _header_traits(case: Case) -> set[Trait]:
    found = set()
    covered = case.covered
    for field in covered:
        value = field.value
        lines = value.split(b"\r\n")
        text = value.strip(b" \t\r\n")
        checks = {
            Trait.FOLDED: len(lines) > 1,
            Trait.FOLDED_AT_ONCE: len(lines) > 1 and not lines[0].strip(b" \t") and text,
            Trait.BLANK_FOLD: any(not line.strip(b" \t") for line in lines[1:]),
            Trait.EMPTY_VALUE: not text,
            Trait.NO_BLANK: value[:1] not in (b"", b" ", b"\t", b"\r"),
            Trait.RUN_IN_HEADER: b"  " in text.replace(b"\t", b" "),
            Trait.BLANK_AT_VALUE_END: text and value[-1:] in (b" ", b"\t"),
            Trait.UTF8_HEADER: not value.isascii() and _utf8(value),
            Trait.EIGHT_BIT_HEADER: not _utf8(value),
            Trait.CONTROL_IN_HEADER: any(octet < 32 and octet not in b"\t\r\n" for octet in value),
            Trait.NO_BREAK_OCTET: b"\xa0" in value,
            Trait.ODD_NAME: field.lname in {name.lower() for name in case.signed},
            Trait.ODD_CASE: field.name.strip() in (field.name.upper(), field.name.lower()) and len(field.lname) > 2,
            Trait.OBSOLETE: field.name[-1:] in (b" ", b"\t"),
            Trait.LONG_VALUE: len(value) > 998,
        }
        found |= {trait for trait, holds in checks.items() if holds}
    if len({field.lname for field in covered}) < len(covered):
        found.add(Trait.REPEATED)
    return found


def _body_traits(body: bytes) -> set[Trait]:
    lines = body.split(b"\r\n")
    blanks = (b" ", b"\t")
    checks = {
        Trait.EMPTY_BODY: not body,
        Trait.BLANK_BODY: body and not body.strip(b"\r\n"),
        Trait.HUGE_BODY: len(body) >= HUGE,
        Trait.UTF8_BODY: not body.isascii() and _utf8(body),
        Trait.EIGHT_BIT_BODY: not _utf8(body),
        Trait.NUL_IN_BODY: b"\0" in body,
        Trait.NO_FINAL_CRLF: body and lines[-1],
        Trait.TRAILING_LINES: body.endswith(b"\r\n\r\n"),
        Trait.BLANK_AT_LINE_END: any(line[-1:] in blanks and line.strip(b" \t") for line in lines[:-1]),
        Trait.RUN_IN_BODY: any(b"  " in line.strip(b" \t").replace(b"\t", b" ") for line in lines),
        Trait.BLANK_LINE: any(line and not line.strip(b" \t") for line in lines[:-1]),
        Trait.BLANK_LAST_LINE: lines[-1] and not lines[-1].strip(b" \t"),
        Trait.BLANK_AT_END: lines[-1][-1:] in blanks and lines[-1].strip(b" \t"),
        Trait.LONG_LINE: any(len(line) == 998 for line in lines),
    }
    return {trait for trait, holds in checks.items() if holds}


def _utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class _Draft:
    """A message under construction: fields as name and value, lines of the body, and what ends the last."""

    def __init__(self, fields: list[list[bytes]], lines: list[bytes]) -> None:
        self.fields = fields
        self.lines = lines
        self.ending = b"\r\n"
        self.huge = False
        self.signed: list[bytes] = []

    @property
    def body(self) -> bytes:
        body = b"\r\n".join(self.lines) + self.ending
        if not self.huge:
            return body
        unit = body if body.endswith(b"\r\n") else body + b"\r\n"
        return unit * (1 + HUGE // len(unit)) + body


_BETWEEN_WORDS: Final = re.compile(rb"(?<=[^ \t\r\n]) (?=[^ \t\r\n])")
_NAMES: Final = (
    b"Subject",
    b"To",
    b"Cc",
    b"Date",
    b"Message-ID",
    b"Reply-To",
    b"MIME-Version",
    b"References",
    b"Received",
)
_ODD_NAMES: Final = (b"X", b"X-" + b"n" * 60, b"!#$%&'*+-.^_`{|}~", b"x_y=z", b"X/Y", b"1-2-3")
_BLANKS = st.sampled_from([b" ", b"\t", b"  ", b" \t ", b"\t\t", b" " * 70])
_RUNS = st.sampled_from([b"  ", b"\t\t", b" \t", b"\t ", b" " * 70])
_FOLDS = st.sampled_from([b"\r\n ", b"\r\n\t", b" \r\n ", b"\r\n    ", b"\t\r\n\t "])
_WORDS = st.one_of(
    st.sampled_from(
        [b"word", b"=?utf-8?q?=C3=A4?=", b"<x@example.net>", b'"a  b"', b"(c)", b"a;b=c", b":", b"b=", b"%s"]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12).map(str.encode),
)
_UTF8 = st.sampled_from(["größe", "日本語", "é", "🙂", "\u2028x"]).map(str.encode)
_EIGHT_BIT = st.binary(min_size=1, max_size=6).map(lambda data: data.translate(None, b"\0\r\n\x0b\x0c\xa0") + b"\xff")
_CONTROLS = st.sampled_from([b"\x01", b"a\x08b", b"\x1b[1m", b"\x0b", b"\x0c", b"a\x0cb", b"\x1c"])
_NO_BREAK = st.sampled_from([b"\xa0", b"a\xa0b", "à".encode(), "x\u00a0".encode()])


@st.composite
def _drafts(draw: st.DrawFn, local: bytes) -> _Draft:
    names = draw(st.lists(st.sampled_from(_NAMES), max_size=4, unique=True))
    fields = [[name, b" " + b" ".join(draw(st.lists(_WORDS, min_size=1, max_size=4)))] for name in names]
    # What any reader of addresses can read: opendkim chooses its key by it.
    shape = draw(st.sampled_from([b" %s", b" <%s>", b" Joe Doe <%s>", b' "Doe, Joe" <%s>']))
    fields.insert(draw(st.integers(0, len(fields))), [b"From", shape % (local + b"@" + DOMAIN.encode())])
    return _Draft(fields, draw(st.lists(_WORDS | st.just(b"two words"), min_size=1, max_size=4)))


def _twist_header(draw: st.DrawFn, draft: _Draft, trait: Trait) -> None:
    others = [field for field in draft.fields if field[0].lower().strip() != b"from"]
    any_field = draw(st.sampled_from(draft.fields))
    if not others:
        others.append([b"Subject", b" word"])
        draft.fields.append(others[0])
    other = draw(st.sampled_from(others))
    match trait:
        case Trait.FOLDED:
            fold = draw(_FOLDS)
            any_field[1] = _BETWEEN_WORDS.sub(lambda _: fold, any_field[1] + b" word" * (other is any_field))
        case Trait.FOLDED_AT_ONCE:
            any_field[1] = draw(_FOLDS) + any_field[1].lstrip(b" ")
        case Trait.BLANK_FOLD:
            other[1] += draw(st.sampled_from([b"\r\n \t\r\n word", b"\r\n ", b"\r\n\t\r\n "]))
        case Trait.EMPTY_VALUE:
            other[1] = draw(st.sampled_from([b"", b" ", b"\t "]))
        case Trait.NO_BLANK:
            any_field[1] = any_field[1].lstrip(b" ")
        case Trait.RUN_IN_HEADER:
            other[1] += draw(_RUNS) + b"end"
        case Trait.BLANK_AT_VALUE_END:
            any_field[1] += draw(_BLANKS)
        case Trait.UTF8_HEADER | Trait.EIGHT_BIT_HEADER | Trait.CONTROL_IN_HEADER | Trait.NO_BREAK_OCTET:
            words = {Trait.UTF8_HEADER: _UTF8, Trait.EIGHT_BIT_HEADER: _EIGHT_BIT, Trait.CONTROL_IN_HEADER: _CONTROLS}
            place = draw(st.sampled_from([b" %s word", b" word %s", b" a%sb"]))
            other[1] += place % draw(words.get(trait, _NO_BREAK))
        case Trait.LONG_VALUE:
            other[1] += b"\r\n " + b"\r\n\t".join([b"w" * draw(st.sampled_from([60, 900, 997]))] * 20)
        case Trait.ODD_NAME:
            name = draw(st.sampled_from(_ODD_NAMES))
            draft.signed.append(name)
            draft.fields.insert(draw(st.integers(0, len(draft.fields))), [name, b" " + draw(_WORDS)])
        case Trait.ODD_CASE:
            any_field[0] = draw(st.sampled_from([bytes.upper, bytes.lower]))(any_field[0])
        case Trait.OBSOLETE:
            any_field[0] += draw(st.sampled_from([b" ", b" \t"]))
        case Trait.REPEATED:
            draft.fields.insert(draw(st.integers(0, len(draft.fields))), [other[0], b" " + draw(_WORDS)])
        case _:
            _twist_body(draw, draft, trait)


def _twist_body(draw: st.DrawFn, draft: _Draft, trait: Trait) -> None:
    lines = draft.lines
    at = draw(st.integers(0, len(lines) - 1)) if lines else 0
    match trait:
        case Trait.EMPTY_BODY:
            lines.clear()
            draft.ending = b""
        case Trait.BLANK_BODY:
            lines[:] = [b""] * draw(st.sampled_from([1, 2, 5]))
            draft.ending = b"\r\n"
        case Trait.HUGE_BODY:
            draft.huge = True
        case Trait.NO_FINAL_CRLF:
            draft.ending = b""
        case Trait.TRAILING_LINES:
            draft.ending = b"\r\n" * draw(st.sampled_from([2, 3, 2000]))
        case Trait.BLANK_LAST_LINE:
            lines.append(draw(_BLANKS))
            draft.ending = b""
        case Trait.BLANK_AT_END:
            lines.append(b"end" + draw(_BLANKS))
            draft.ending = b""
        case _:
            lines.insert(at, draw(_ODD_LINES[trait]))


_ODD_LINES: Final = {
    Trait.UTF8_BODY: st.text(st.characters(min_codepoint=160, max_codepoint=0x2FFF), min_size=1, max_size=20).map(
        str.encode
    ),
    Trait.EIGHT_BIT_BODY: st.binary(max_size=20).map(lambda data: data.translate(None, b"\r\n") + b"\xff"),
    Trait.NUL_IN_BODY: st.sampled_from([b"\0", b"a\0b", b"\0\0 "]),
    Trait.BLANK_AT_LINE_END: _BLANKS.map(lambda blank: b"end" + blank),
    Trait.RUN_IN_BODY: st.tuples(_RUNS, _RUNS).map(lambda runs: b"a" + runs[0] + b"b" + runs[1] + b"c"),
    Trait.BLANK_LINE: _BLANKS,
    Trait.LONG_LINE: st.sampled_from([b"x" * 998, b"a" + b" " * 996 + b"b", b" " * 998]),
}
_SIGNING: Final = {
    Trait.SIMPLE_SIMPLE,
    Trait.SIMPLE_RELAXED,
    Trait.RELAXED_SIMPLE,
    Trait.RELAXED_RELAXED,
    Trait.RSA,
    Trait.ED25519,
    Trait.BOTH,
    Trait.IDENTITY,
    Trait.EXPIRES,
    Trait.OVERSIGNED,
}
TWISTS: Final = tuple(trait for trait in Trait if trait not in _SIGNING)
"""Oddities of a message itself."""


@st.composite
def cases(draw: st.DrawFn, only: Trait | None = None) -> Case:
    """Messages with one From field and a few oddities each, or only one, and how to sign them."""
    with_identity = draw(st.integers(0, 3)) == 3
    draft = draw(_drafts(b"with-identity" if with_identity else b"joe.doe"))
    for trait in draw(st.lists(st.sampled_from(TWISTS), max_size=3)) if only is None else [only]:
        _twist_header(draw, draft, trait)
    # Two oddities together may make a line that is never signed.
    assume(all(len(line) <= MAX_LINE for name, value in draft.fields for line in (name + b":" + value).split(b"\r\n")))
    canonicalizations = st.sampled_from(Canonicalization)
    algorithms = st.sampled_from([("rsa-sha256",), ("ed25519-sha256",), ("rsa-sha256", "ed25519-sha256")])
    return Case(
        tuple(HeaderField(name, value) for name, value in draft.fields),
        draft.body,
        draw(canonicalizations),
        draw(canonicalizations),
        draw(algorithms),
        WITH_IDENTITY if with_identity else b"",
        draw(st.sampled_from([None, None, 604800, FAR])),
        tuple(dict.fromkeys(draft.signed)),
        draw(st.sampled_from([default_names(Coverage.OVERSIGNED), (b"From",), (b"From", b"Subject", b"X-Absent")])),
    )
