"""Which header fields a signature covers, and the octets that are hashed (RFC 6376 sections 3.7 and 5.4.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from phoenixdkim.dkim.canonical import Canonicalization, canonical_header
from phoenixdkim.dkim.headers import HeaderField


class HeaderIndex:
    """The header by name; canonical forms are computed once for all signatures of a message."""

    __slots__ = ("_by_name", "_canonical")

    def __init__(self, fields: Sequence[HeaderField]) -> None:
        self._by_name: dict[bytes, list[HeaderField]] = {}
        self._canonical: dict[tuple[int, Canonicalization], bytes] = {}
        for field in fields:
            self._by_name.setdefault(field.name.rstrip(b" \t").lower(), []).append(field)

    def count(self, name: bytes) -> int:
        """How many fields have this lower-case name."""
        return len(self._by_name.get(name, ()))

    def digest(
        self, names: Iterable[bytes], how: Canonicalization, signature: HeaderField, own: HeaderField | None
    ) -> bytes:
        """SHA-256 over the selected fields and the signature's own.

        Args:
            names: lower-case names of h= in order; a repeated name takes the next instance from the bottom, and
                one that is absent, or used up, the null string.
            how: header canonicalization.
            signature: the DKIM-Signature with its b= emptied; it is hashed last, without CRLF.
            own: the same field as it stands in the message, which ``names`` does not select; None when signing.
        """
        taken: dict[bytes, int] = {}
        parts: list[bytes] = []
        cache = self._canonical
        for name in names:
            instances = self._by_name.get(name)
            if instances is None:
                continue
            index = len(instances) - 1 - taken.get(name, 0)
            taken[name] = taken.get(name, 0) + 1
            if index >= 0 and instances[index] is own:
                index -= 1
                taken[name] += 1
            if index < 0:
                continue
            field = instances[index]
            key = (id(field), how)
            text = cache.get(key)
            if text is None:
                text = cache[key] = canonical_header(field, how)
            parts.append(text)
        parts.append(canonical_header(signature, how)[:-2])
        return hashlib.sha256(b"".join(parts)).digest()


def without_b(field: HeaderField) -> HeaderField:
    """The DKIM-Signature field with the value of its b= tag removed and all else kept (RFC 6376 section 3.7)."""
    value = field.value
    position = 0
    while position <= len(value):
        end = value.find(b";", position)
        if end < 0:
            end = len(value)
        equals = value.find(b"=", position, end)
        if equals >= 0 and value[position:equals].strip(b" \t\r\n") == b"b":
            return HeaderField(field.name, value[: equals + 1] + value[end:])
        position = end + 1
    return field
