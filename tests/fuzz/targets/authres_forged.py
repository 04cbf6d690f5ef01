"""Authentication-Results that came with a message. Oracle: never an exception; a field that can be read is removed
when its authserv-id is ours, and kept when it is another plain host name, followed by nothing or a version."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fuzz.target import Target, check
from fuzz.targets import authres_parse
from phoenixdkim.authres import AuthResSyntaxError, forged, parse

OURS = b"mx.example.com"
_PLAIN_HOST = re.compile(rb"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_HIDING = frozenset(b'()"=')
"""With these a word may be part of something else."""


def execute(data: bytes) -> None:
    told = forged(data, OURS)
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
    elif _PLAIN_HOST.fullmatch(found.authserv_id) and (found.version is None or found.version.isdigit()):
        check(not told, "a field of somebody else's is removed", found)


def seeds() -> Iterator[bytes]:
    yield from authres_parse.seeds()
    yield b" other.example.net; dkim=pass header.d=mx.example.com"
    yield b" Mx.Example.Com.; dkim=pass"
    yield "\uff4d\uff58.example.com; dkim=pass".encode()
    yield b" (x) mx (y) .example.com; dkim=pass"
    yield b" mx.example.com (; dkim=pass"


TARGET = Target(execute, seeds, (*authres_parse.WORDS, "\uff4d".encode(), b"\xc2\xa0", b"other.example.net"), 384)
