"""Tag lists. Oracle: TagListError or a list that a reader written from RFC 6376 section 3.2 reads alike."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fuzz.target import Target, check
from phoenixdkim.dkim.results import Reason
from phoenixdkim.dkim.tags import TagListError, parse_tag_list

MAX_TAGS = 16
_REASONS = (Reason.TAG_LIST_SYNTAX, Reason.DUPLICATE_TAG, Reason.TOO_MANY_TAGS)
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")


def execute(data: bytes) -> None:
    try:
        tags = parse_tag_list(data, MAX_TAGS)
    except TagListError as error:
        check(error.reason in _REASONS, "another reason", error.reason)
        check(_read(data) is None, "refused a list that is one", _read(data))
        return
    check(tags == _read(data), "read another list", tags)
    if not tags:
        return
    again = parse_tag_list(b" ;\r\n\t".join(name + b" = " + value for name, value in tags.items()) + b";", MAX_TAGS)
    check(again == tags and list(again) == list(tags), "white space makes another list", tags)


def _read(data: bytes) -> dict[bytes, bytes] | None:
    parts = data.split(b";")
    if not parts[-1].strip(b" \t\r\n"):
        parts.pop()
    tags = {}
    for part in parts:
        name, equals, value = (piece.strip(b" \t\r\n") for piece in part.partition(b"="))
        if not equals or not _NAME.fullmatch(name) or name in tags:
            return None
        tags[name] = value
    return tags if len(tags) <= MAX_TAGS else None


def seeds() -> Iterator[bytes]:
    yield b""
    yield b"v=1; a=rsa-sha256; d=example.com;\r\n\ts=s1; h=From:To; b=ab cd=="
    yield b"k=rsa; p=MIGf"
    yield b"a=1;b=2;a=3"
    yield b";".join(b"t%d=%d" % (number, number) for number in range(17))


TARGET = Target(execute, seeds, (b";", b"=", b"\r\n\t", b"v=1", b"a_1=", b"\0"), 256)
