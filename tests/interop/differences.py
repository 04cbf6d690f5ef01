"""Why verdicts differ: what other verifiers get wrong, and what we refuse that they pass.

A pass of ours alone is explained only if for each judge that refused a quirk of its own applies. A refusal of ours
alone is explained by its reason, where the RFCs or a choice of ours ask for it; a plain "fail" needs more than that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from interop.mutants import Mutant, finished, sound
from interop.mutations import Draft, bare_key, set_tag
from interop.peers import KeyPair
from interop.reference import tag
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.dkim.results import Reason

_BLANK = (b" ", b"\t")


@dataclass(frozen=True)
class View:
    """What the predicates look at.

    Attributes:
        mutant: message and record.
        now: the time at which it was judged.
    """

    mutant: Mutant
    now: int

    @cached_property
    def head(self) -> bytes:
        return self.mutant.message.partition(b"\r\n\r\n")[0]

    @cached_property
    def body(self) -> bytes:
        return parse_message(self.mutant.message)[1]

    @cached_property
    def signatures(self) -> list[tuple[bytes, bytes]]:
        fields = parse_message(self.mutant.message)[0]
        return [(field.name, field.value) for field in fields if field.lname == b"dkim-signature"]

    @cached_property
    def record(self) -> bytes:
        return b"".join(record for records in self.mutant.records.values() for record in records)

    def tag(self, name: bytes) -> bytes:
        """Value of a tag of the signature."""
        return tag(self.signatures[0][1].split(b";"), name) if self.signatures else b""

    @property
    def bare(self) -> bool:
        """A CR or an LF stands alone somewhere."""
        message = self.mutant.message
        return not message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")

    @property
    def open_line(self) -> bytes:
        """The body's last line if no CRLF ends it."""
        return self.body.rpartition(b"\r\n")[2]

    @property
    def relaxed_body(self) -> bool:
        return self.tag(b"c").partition(b"/")[2].strip() == b"relaxed"

    @property
    def relaxed_header(self) -> bool:
        return self.tag(b"c").partition(b"/")[0].strip() == b"relaxed"

    @property
    def signs_signatures(self) -> bool:
        return b"dkim-signature" in [name.strip() for name in self.tag(b"h").lower().split(b":")]


@dataclass(frozen=True)
class Example:
    """A message that shows one entry of a table: a sound one with changes before and after signing."""

    before: Callable[[Draft], object] = lambda draft: None
    after: Callable[[bytes], bytes] = lambda message: message

    def made(self, key: KeyPair, now: int) -> Mutant:
        """The message, signed by this key."""
        draft = sound(key, now)
        self.before(draft)
        return finished(draft, [self.after])


def _tags(**values: bytes) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        for name, value in values.items():
            set_tag(draft, name.encode(), value)

    return change


def _part(text: bytes) -> Callable[[Draft], None]:
    """One more part of the tag list, in the middle."""
    return lambda draft: draft.tags.insert(3, text)


def _record(old: bytes, new: bytes) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        assert draft.record is not None
        draft.record = draft.record.replace(old, new, 1) if old else draft.record + new

    return change


def _body(text: bytes, canonicalization: bytes) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        draft.body = text
        set_tag(draft, b"c", canonicalization)

    return change


def _field(name: bytes, value: bytes) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        draft.fields = [(name, value) if name.strip() == old else (old, text) for old, text in draft.fields]

    return change


def _named(name: bytes) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        draft.field_name = name
        set_tag(draft, b"c", b"simple/simple")

    return change


def _spaced_b(draft: Draft) -> None:
    draft.tags[-1] = b" b ="


def _bare_key(draft: Draft) -> None:
    assert draft.record is not None
    draft.record = bare_key(draft.record)


def _other_c(draft: Draft) -> None:
    draft.body = b"two  words\r\n"
    draft.tags.append(b" C=relaxed/relaxed")


def _open_tag_list(draft: Draft) -> None:
    draft.tags.append(b"\r\n ")
    set_tag(draft, b"c", b"simple/simple")


@dataclass(frozen=True)
class Quirk:
    """Something that a judge gets wrong, or decides otherwise.

    Attributes:
        judges: who does.
        reason: what it does, and what says that we are right.
        applies: whether it can show in a message.
        example: a message that passes here and that each of these judges refuses.
    """

    judges: tuple[str, ...]
    reason: str
    applies: Callable[[View], bool]
    example: Example


def _is_field(line: bytes) -> bool:
    """Whether a line, unfolded, is a header field."""
    return line[:1] not in _BLANK and line.partition(b":")[1] == b":"


def _names_with_blanks(view: View) -> bool:
    """A list in the key record, or q=, has white space beside a colon or a name."""
    values = [tag(view.record.split(b";"), name) for name in (b"h", b"s", b"t")] + [view.tag(b"q")]
    return any(re.search(rb"\s:|:\s", value) for value in values)


QUIRKS = (
    Quirk(
        ("dkimpy", "mailauth"),
        "takes a bare CR or LF for a line end or for white space; here the octets are hashed as they are "
        "(RFC 6376 sections 2.8 and 3.4)",
        lambda view: view.bare,
        Example(_body(b"a\nb\r\n", b"relaxed/simple")),
    ),
    Quirk(
        ("dkimpy", "mailauth", "Mail::DKIM"),
        "hashes the signature under test as another one when h= names DKIM-Signature (RFC 6376 sections 3.5 and 3.7)",
        lambda view: view.signs_signatures,
        Example(_tags(h=b"From:DKIM-Signature")),
    ),
    Quirk(
        ("mailauth", "Mail::DKIM"),
        "allows the clock no drift; here x= may lie 300 seconds in the past (an option; RFC 6376 section 3.5)",
        lambda view: view.tag(b"x").isdigit() and view.now - 300 <= int(view.tag(b"x")) <= view.now,
        Example(lambda draft: set_tag(draft, b"x", b"%d" % (draft.now - 20))),
    ),
    Quirk(
        ("dkimpy", "mailauth"),
        "relaxed body: leaves a blank at the end of a last line without CRLF (RFC 6376 section 3.4.4)",
        lambda view: view.relaxed_body and view.open_line.endswith(_BLANK),
        Example(_body(b"text ", b"relaxed/relaxed")),
    ),
    Quirk(
        ("mailauth", "Mail::DKIM"),
        "knows an RSA key as SubjectPublicKeyInfo alone (RFC 6376 section 3.6.1 and its erratum 3017 on RSAPublicKey)",
        lambda view: tag(view.record.split(b";"), b"p").startswith(b"MIIBCg"),
        Example(_bare_key),
    ),
    Quirk(
        ("dkimpy",),
        "refuses a message that has white space before a colon (RFC 5322 section 4.5.8)",
        lambda view: re.search(rb"(?m)^[!-9;-~]+[ \t]+:", view.head) is not None,
        Example(_field(b"Subject ", b" x")),
    ),
    Quirk(
        ("dkimpy",),
        "strips VT and FF from the ends of values (RFC 6376 section 2.8)",
        lambda view: view.relaxed_header and re.search(rb"[\x0b\x0c]", view.head) is not None,
        Example(_field(b"Subject", b" x\x0c")),
    ),
    Quirk(
        ("dkimpy",),
        "strips white space from the end of the signature under test (RFC 6376 section 3.4.1)",
        lambda view: not view.relaxed_header and any(value.endswith(_BLANK) for _, value in view.signatures),
        Example(_open_tag_list),
    ),
    Quirk(
        ("dkimpy",),
        "knows no q= but dns/txt alone (RFC 6376 section 3.5: it is a list)",
        lambda view: view.tag(b"q") not in (b"", b"dns/txt"),
        Example(_tags(q=b"http:dns/txt")),
    ),
    Quirk(
        ("dkimpy",),
        "knows no list in s= of the record (RFC 6376 section 3.6.1)",
        lambda view: b":" in tag(view.record.split(b";"), b"s"),
        Example(_record(b"", b"; s=other:email")),
    ),
    Quirk(
        ("mailauth",),
        "takes VT, FF and the octet A0 for white space in relaxed header fields (RFC 6376 section 2.8)",
        lambda view: view.relaxed_header and re.search(rb"[\x0b\x0c\xa0]", view.head) is not None,
        Example(_field(b"Subject", b" \xc3\xa0 x")),
    ),
    Quirk(
        ("mailauth",),
        "reads quotes, comments and backslashes in tag lists (RFC 6376 section 3.2 knows none)",
        lambda view: any(re.search(rb"['\"(\\]", value) for _, value in view.signatures) or b"'" in view.record,
        Example(_part(b" z=it's")),
    ),
    Quirk(
        ("mailauth",),
        "says nothing of a message without the empty line after the header (RFC 5322 section 3.5)",
        lambda view: b"\r\n\r\n" not in view.mutant.message,
        Example(_body(b"", b"relaxed/simple"), lambda message: message.removesuffix(b"\r\n")),
    ),
    Quirk(
        ("mailauth",),
        "takes tag names in capitals for the same (RFC 6376 section 3.2: they are told apart by case)",
        lambda view: any(re.search(rb"(?:^|;)\s*[A-Z]+\s*=", value) for _, value in view.signatures),
        Example(_other_c),
    ),
    Quirk(
        ("mailauth",),
        "does not empty a b= that has white space before its equals sign (RFC 6376 section 3.2)",
        lambda view: any(re.search(rb"(?:^|;)\s*b\s+=", value) for _, value in view.signatures),
        Example(_spaced_b),
    ),
    Quirk(
        ("Mail::DKIM",),
        "simple body: adds no CRLF to a body that does not end with one (RFC 6376 section 3.4.3)",
        lambda view: not view.relaxed_body and bool(view.open_line),
        Example(_body(b"text", b"relaxed/simple")),
    ),
    Quirk(
        ("Mail::DKIM",),
        "strips VT and FF after the colon of relaxed header fields (RFC 6376 section 2.8)",
        lambda view: view.relaxed_header and re.search(rb":\s*[\x0b\x0c]", view.head) is not None,
        Example(_field(b"Subject", b" \x0cx")),
    ),
    Quirk(
        ("Mail::DKIM",),
        "loses the white space before the colon of the signature's own field (RFC 6376 section 3.4.1)",
        lambda view: any(name != name.rstrip(b" \t") for name, _ in view.signatures),
        Example(_named(b"DKIM-Signature ")),
    ),
    Quirk(
        ("Mail::DKIM",),
        "does not allow white space around the names of a list (RFC 6376 sections 3.5 and 3.6.1)",
        _names_with_blanks,
        Example(_record(b"", b"; h=sha1 : sha256")),
    ),
    Quirk(
        ("Mail::DKIM",),
        "obeys g=, which RFC 6376 section 3.6.1 did away with",
        lambda view: re.search(rb"(?:^|;)\s*g\s*=", view.record) is not None,
        Example(_record(b"", b"; g=nobody")),
    ),
)
"""Why a judge refuses what passes here."""

REFUSED_HERE: Mapping[Reason, tuple[str, Example]] = {
    Reason.DUPLICATE_TAG: (
        "RFC 6376 section 3.2: a tag that comes twice makes the list invalid",
        Example(_part(b" s=x")),
    ),
    Reason.TAG_LIST_SYNTAX: (
        "RFC 6376 section 3.2: a part that is no tag, or a bare CR or LF, makes the list invalid",
        Example(_part(b" 9=x")),
    ),
    Reason.MISSING_TAG: (
        "RFC 6376 section 6.1.1: a required tag is missing",
        Example(lambda draft: draft.tags.remove(b" v=1")),
    ),
    Reason.BAD_VERSION: ("RFC 6376 section 6.1.1: v= is 1 and nothing else", Example(_tags(v=b""))),
    Reason.BAD_BASE64: (
        "RFC 6376 section 3.5, RFC 2045 section 6.8: octets that are no base64, or wrong padding",
        Example(after=lambda message: message.replace(b" b=", b" b=:", 1)),
    ),
    Reason.UNKNOWN_ALGORITHM: (
        "RFC 6376 section 3.2: values are told apart by case",
        Example(_tags(a=b"RSA-SHA256")),
    ),
    Reason.UNKNOWN_CANONICALIZATION: (
        "RFC 6376 section 3.2: values are told apart by case",
        Example(_tags(c=b"Relaxed/Simple")),
    ),
    Reason.BAD_HEADER_LIST: (
        "RFC 6376 section 3.5: h= has field names and no empty place",
        Example(_tags(h=b"From::To")),
    ),
    Reason.FROM_NOT_SIGNED: ("RFC 6376 section 6.1.1: From has to be signed", Example(_tags(h=b"To"))),
    Reason.BAD_IDENTITY: (
        "RFC 6376 section 3.5: i= is an address whose domain is one",
        Example(_tags(i=b"@.example.com")),
    ),
    Reason.BAD_LENGTH: ("RFC 6376 section 3.5: l= has 1 to 76 digits", Example(_tags(l=b""))),
    Reason.LENGTH_EXCEEDS_BODY: (
        "RFC 6376 section 3.5: l= is at most the length of the body",
        Example(_tags(l=b"1000")),
    ),
    Reason.UNSIGNED_TAIL: (
        "RFC 6376 section 8.2: text after l= is not called signed (an option)",
        Example(_tags(l=b"4")),
    ),
    Reason.BAD_TIMESTAMP: ("RFC 6376 section 3.5: t= has digits only", Example(_tags(t=b"1.5"))),
    Reason.FUTURE_TIMESTAMP: (
        "RFC 6376 section 3.5: t= in the future may be ignored",
        Example(lambda draft: set_tag(draft, b"t", b"%d" % (draft.now + 86400))),
    ),
    Reason.BAD_EXPIRATION: ("RFC 6376 section 3.5: x= has digits only, and lies after t=", Example(_tags(x=b"1e12"))),
    Reason.NO_FROM: (
        "RFC 5322 section 3.6: a message has one From field",
        Example(lambda draft: draft.fields.pop(1)),
    ),
    Reason.MULTIPLE_FROM: (
        "RFC 6376 section 8.15: several From fields (an option)",
        Example(lambda draft: draft.fields.insert(0, (b"From", b" x@example.org"))),
    ),
    Reason.KEY_RECORD_SYNTAX: (
        "RFC 6376 section 3.6.1: the record is a tag list",
        Example(_record(b"v=DKIM1; ", b"; v=DKIM1; ")),
    ),
    Reason.KEY_VERSION: (
        "RFC 6376 section 3.6.1: v= comes first and is DKIM1",
        Example(_record(b"v=DKIM1; ", b"n=x; v=DKIM1; ")),
    ),
    Reason.KEY_HASH_NOT_ALLOWED: (
        "RFC 6376 section 6.1.2: h= of the record does not name sha256",
        Example(_record(b"", b"; h=")),
    ),
    Reason.KEY_SERVICE_MISMATCH: (
        "RFC 6376 section 3.6.1: s= of the record names neither * nor email",
        Example(_record(b"", b"; s=")),
    ),
    Reason.KEY_MALFORMED: (
        "RFC 6376 section 3.6.1, RFC 2045 section 6.8: wrong padding, or octets after the key",
        Example(_record(b"", b"AAAA")),
    ),
}
"""Why we refuse what all judges pass; each with an example for RSA."""

Explanation = tuple[str, Callable[[View], bool]]
FAILS_HERE: tuple[Explanation, ...] = (
    ("the judges take a bare CR or LF for a line end or for white space", lambda view: view.bare),
    (
        "a line that is no field ends the header here, as in MTAs; the judges read on (RFC 5322 section 2.2)",
        lambda view: any(not _is_field(line) for line in re.split(rb"\r\n(?![ \t])", view.head)),
    ),
)
"""Why a signature that all judges pass does not match here, or is not seen at all."""


def explained_pass(view: View, refused: Iterable[str]) -> bool:
    """Whether a pass of ours alone is explained, for each judge that refused."""
    return all(any(judge in quirk.judges and quirk.applies(view) for quirk in QUIRKS) for judge in refused)


def explained_refusal(view: View, reason: Reason | None) -> bool:
    """Whether a refusal of ours alone is explained."""
    if reason in REFUSED_HERE:
        return True
    return any(applies(view) for _, applies in FAILS_HERE)
