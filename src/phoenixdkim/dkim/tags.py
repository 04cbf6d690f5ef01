"""Tag lists: the syntax of signatures and key records (RFC 6376 section 3.2)."""

from __future__ import annotations

import binascii
import string
from typing import Final

from phoenixdkim.dkim.results import Reason

_FWS: Final = b" \t\r\n"
_NAME: Final = frozenset((string.ascii_letters + string.digits + "_").encode())


class TagListError(ValueError):
    """A tag list that can't be read; ``reason`` is TAG_LIST_SYNTAX, DUPLICATE_TAG or TOO_MANY_TAGS."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def without_white_space(value: bytes) -> bytes:
    """``value`` without folding white space."""
    return value.translate(None, _FWS)


def base64_octets(value: bytes) -> bytes:
    """The octets that base64 without white space stands for (RFC 2045 section 6.8).

    Raises:
        ValueError: it is no base64; padding that is missing or more than it takes counts, which decoders of the
            standard library see differently from version to version.
    """
    if len(value) % 4 or value.count(b"=") > 2:
        raise ValueError("base64 of a wrong length")
    return binascii.a2b_base64(value, strict_mode=True)


def parse_tag_list(data: bytes, max_tags: int) -> dict[bytes, bytes]:
    """Read a tag list into names and values; white space around both is removed, inside values it stays.

    Raises:
        TagListError: a part without ``=``, a name that is none, a name twice, too many tags.
    """
    tags: dict[bytes, bytes] = {}
    parts = data.split(b";", max_tags + 1)
    if not parts[-1].strip(_FWS):
        parts.pop()
    if len(parts) > max_tags:
        raise TagListError(Reason.TOO_MANY_TAGS, f"more than {max_tags} tags")
    for part in parts:
        name, equals, value = part.partition(b"=")
        name = name.strip(_FWS)
        if not equals:
            raise TagListError(Reason.TAG_LIST_SYNTAX, "a tag without '='")
        if not name or name[0] in b"0123456789_" or not _NAME.issuperset(name):
            raise TagListError(Reason.TAG_LIST_SYNTAX, "a tag name that is none")
        if name in tags:
            raise TagListError(Reason.DUPLICATE_TAG, f"tag {name.decode('ascii')} twice")
        tags[name] = value.strip(_FWS)
    return tags
