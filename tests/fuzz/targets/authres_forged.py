"""Authentication-Results that came with a message.

Oracle: never an exception; a field that can be read is removed when its authserv-id is ours, and kept when it is
another plain host name, followed by nothing or a version; a field in which Python's email package, decoding encoded
words, or a script finds our name is removed, whatever it reads like.
"""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator

from fuzz.target import Target, check
from fuzz.targets import authres_parse
from phoenixdkim.authres import AuthResSyntaxError, forged, parse
from tables.authserv_ids import ROWS

OURS = b"mx.example.com"
_LONGEST = 384
_PLAIN_HOST = re.compile(rb"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_HIDING = frozenset(b'()"=')
"""With these a word may be part of something else."""
_HIDING_ELSEWHERE = frozenset(b"()?'\\")
"""With these another reader may find another word."""


def _decoded(data: bytes) -> str:
    """The value as Python's email package shows it; empty when it fails, or when a line is no fold."""
    if re.search(rb"[\r\n]", data):
        return ""
    try:
        message = email.message_from_bytes(b"Authentication-Results: " + data + b"\n\n", policy=email.policy.default)
        return str(message["Authentication-Results"])
    except (AttributeError, IndexError, LookupError, TypeError, ValueError):
        return ""


def _found_by_scripts(text: str) -> Iterator[str]:
    head = text.partition(";")[0]
    yield head.strip()
    yield from head.split()[:1]
    if (match := re.match(r"\s*([\w.-]+)", text)) is not None:
        yield match[1]


def execute(data: bytes) -> None:
    told = forged(data, OURS)
    for name in _found_by_scripts(_decoded(data)):
        check(told or name.lower().encode("utf-8", "replace") != OURS, "a reader finds our name", name)
    check(told == forged(data, OURS.upper() + b"."), "our own name's case decides")
    try:
        found = parse(data)
    except AuthResSyntaxError:
        # Some reader may take any word of the head for the id.
        head = data.partition(b";")[0].lower()
        check(told or OURS not in head.split() or set(head) & _HIDING, "a head with our name is left")
        return
    if found.authserv_id.lower().rstrip(b".") == OURS:
        check(told, "a field of ours that came with a message is left", found)
    elif (
        _PLAIN_HOST.fullmatch(found.authserv_id)
        and (found.version is None or found.version.isdigit())
        and not _HIDING_ELSEWHERE.intersection(data.partition(b";")[0])
    ):
        check(not told, "a field of somebody else's is removed", found)


def seeds() -> Iterator[bytes]:
    yield from authres_parse.seeds()
    yield b" other.example.net; dkim=pass header.d=mx.example.com"
    yield b" Mx.Example.Com.; dkim=pass"
    yield "\uff4d\uff58.example.com; dkim=pass".encode()
    yield b" (x) mx (y) .example.com; dkim=pass"
    yield b" mx.example.com (; dkim=pass"
    yield from (b" " + value for _, value, _ in ROWS if len(value) < _LONGEST)


TARGET = Target(
    execute,
    seeds,
    (
        *authres_parse.WORDS,
        *("\uff4d".encode(), b"\xc2\xa0", b"\xc2\xad", b"other.example.net", b":25", b"<", b">", b"'"),
        *(b"=?utf-8?q?", b"=?utf-8?b?", b"=?x?q?", b"?=", b"=2E", b"=?utf-8?q?mx=2Eexample?=", b"=?utf-8?b?bXg=?="),
    ),
    _LONGEST,
)
