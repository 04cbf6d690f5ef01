"""What each judge can't do, by name, with the reason, and a message that shows it.

A limit lifts a demand from one judge for the messages it applies to; the others still judge those. Limits that newer
versions of a judge do not have are left out where such a version is installed. The tests show that each is needed: the
judge fails its example, in each of its roles.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from functools import cache

from interop.messages import Case, plain
from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField

RELAXED, SIMPLE = Canonicalization.RELAXED, Canonicalization.SIMPLE


class Role(Flag):
    """What a judge does to a message."""

    VERIFIES = auto()
    SIGNS = auto()
    BOTH = VERIFIES | SIGNS


@dataclass(frozen=True)
class Limit:
    """One limit.

    Attributes:
        judge: name of the judge.
        role: where it shows: it refuses what is right, or signs what is refused, or does not sign.
        reason: what it does, and what says that it should not.
        applies: whether it can get a signature of this algorithm over this message wrong.
        example: a message, and how to sign it, that it gets wrong.
        until: the first version of the judge that does not have it; empty if none is known.
    """

    judge: str
    role: Role
    reason: str
    applies: Callable[[Case, str], bool]
    example: Case
    until: str = ""


def _open_line(case: Case) -> bytes:
    """The last line of the body if no CRLF ends it."""
    return case.body.rpartition(b"\r\n")[2]


def _open_blank(case: Case, algorithm: str) -> bool:
    return case.body_canon is RELAXED and _open_line(case).endswith((b" ", b"\t"))


def _vt_or_ff(case: Case, algorithm: str) -> bool:
    values = b"".join(field.value for field in case.covered)
    return case.header_canon is RELAXED and (b"\x0b" in values or b"\x0c" in values)


def _js_white_space(case: Case, algorithm: str) -> bool:
    values = b"".join(field.value for field in case.covered)
    return case.header_canon is RELAXED and any(octet in values for octet in (b"\x0b", b"\x0c", b"\xa0"))


def _edges(case: Case, algorithm: str) -> bool:
    values = [field.value.strip(b" \t\r\n") for field in case.covered]
    return case.header_canon is RELAXED and any(value.strip(b"\x0b\x0c") != value for value in values)


_KNOWN = (
    Limit(
        "dkimpy",
        Role.BOTH,
        "refuses a message that has white space before a colon, or takes its From for the line that begins an mbox "
        "(RFC 5322 section 4.5.8 wants it read)",
        lambda case, algorithm: any(field.name != field.name.rstrip(b" \t") for field in case.fields),
        plain(b"text\r\n", (b"Subject ", b" x")),
    ),
    Limit(
        "dkimpy",
        Role.BOTH,
        "relaxed body: leaves a blank at the end of a last line without CRLF (RFC 6376 section 3.4.4)",
        _open_blank,
        plain(b"text ", body_canon=RELAXED),
    ),
    Limit(
        "dkimpy",
        Role.BOTH,
        "relaxed header: strips VT and FF from the ends of a value (RFC 6376 section 2.8: WSP is SP and HTAB)",
        _edges,
        plain(b"text\r\n", (b"Subject", b" x\x0c")),
    ),
    Limit(
        "Mail::DKIM",
        Role.VERIFIES,
        "verifies no Ed25519 in the version of Debian 12",
        lambda case, algorithm: algorithm == "ed25519-sha256",
        plain(algorithms=("ed25519-sha256",)),
        until="1.20230630",
    ),
    Limit(
        "Mail::DKIM",
        Role.SIGNS,
        "signs with RSA keys only: mail_dkim.pl asks nothing else of it, for the version of Debian 12",
        lambda case, algorithm: algorithm == "ed25519-sha256",
        plain(algorithms=("ed25519-sha256",)),
    ),
    Limit(
        "Mail::DKIM",
        Role.BOTH,
        "simple body: adds no CRLF to a body that does not end with one (RFC 6376 section 3.4.3)",
        lambda case, algorithm: case.body_canon is SIMPLE and bool(_open_line(case)),
        plain(b"text"),
    ),
    Limit(
        "mailauth",
        Role.BOTH,
        "relaxed header: takes VT, FF and the octet A0, which stands in the UTF-8 of 'à', for white space "
        "(RFC 6376 section 2.8: WSP is SP and HTAB)",
        _js_white_space,
        plain(b"text\r\n", (b"Subject", " voilà".encode())),
    ),
    Limit(
        "mailauth",
        Role.VERIFIES,
        "takes an apostrophe in h= for the start of a quoted string (RFC 6376 section 3.2 knows none)",
        lambda case, algorithm: b"'" in b"".join(case.signed),
        plain(b"text\r\n", (b"X-It's", b" x"), signed=(b"X-It's",)),
    ),
    Limit(
        "mailauth",
        Role.BOTH,
        "relaxed body: leaves a blank at the end of a last line without CRLF (RFC 6376 section 3.4.4)",
        _open_blank,
        plain(b"text ", body_canon=RELAXED),
    ),
    Limit(
        "opendkim",
        Role.BOTH,
        "relaxed body: leaves a blank at the end of a last line without CRLF (RFC 6376 section 3.4.4)",
        _open_blank,
        plain(b"text ", body_canon=RELAXED),
    ),
    Limit(
        "opendkim",
        Role.BOTH,
        "relaxed body: neither verifies nor signs a message whose body does not end with CRLF (RFC 6376 section 3.4.4)",
        lambda case, algorithm: case.body_canon is RELAXED and bool(_open_line(case)),
        plain(b"text", body_canon=RELAXED),
    ),
    Limit(
        "opendkim",
        Role.BOTH,
        "simple body: gets a body above 4,096 octets that does not end with CRLF wrong (RFC 6376 section 3.4.3)",
        lambda case, algorithm: case.body_canon is SIMPLE and bool(_open_line(case)) and len(case.body) > 4096,
        plain(b"text\r\n" * 1000 + b"text"),
    ),
    Limit(
        "opendkim",
        Role.BOTH,
        "relaxed header: takes VT and FF for white space (RFC 6376 section 2.8: WSP is SP and HTAB)",
        _vt_or_ff,
        plain(b"text\r\n", (b"Subject", b" a\x0cb")),
    ),
    Limit(
        "opendkim",
        Role.BOTH,
        "neither verifies nor signs a message with a tab before a colon (RFC 5322 section 4.5.8)",
        lambda case, algorithm: any(b"\t" in field.name for field in case.fields),
        plain(b"text\r\n", (b"Subject\t", b" x")),
    ),
    Limit(
        "opendkim",
        Role.SIGNS,
        "simple header: makes Ed25519 signatures that it refuses itself",
        lambda case, algorithm: case.header_canon is SIMPLE and algorithm == "ed25519-sha256",
        plain(header_canon=SIMPLE, algorithms=("ed25519-sha256",)),
    ),
    Limit(
        "opendkim",
        Role.BOTH,
        "takes a From field with white space before its colon for none (RFC 5322 section 4.5.8)",
        lambda case, algorithm: any(field.lname == b"from" != field.name.lower() for field in case.fields),
        Case((HeaderField(b"From ", b" a@example.com"),)),
    ),
)


@cache
def _version(judge: str) -> str:
    """Return the version of a judge that has limits with an end."""
    assert judge == "Mail::DKIM"
    command = ["perl", "-MMail::DKIM", "-e", "print $Mail::DKIM::VERSION"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _present(limit: Limit) -> bool:
    return not limit.until or _version(limit.judge) < limit.until


LIMITS = tuple(limit for limit in _KNOWN if _present(limit))


def lifted(judge: str, role: Role, case: Case, algorithm: str) -> bool:
    """Whether a limit lifts the demand that this judge verify, or sign, this message with this algorithm."""
    return any(limit.judge == judge and role in limit.role and limit.applies(case, algorithm) for limit in LIMITS)
