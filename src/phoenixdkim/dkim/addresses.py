"""The author addresses of a From field (RFC 5322 section 3.4), read strictly and in linear time.

Who signs depends on this: a value that two readers could understand differently is refused.
"""

from __future__ import annotations

import string
from typing import Final

_ATEXT: Final = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~.").encode()) | frozenset(
    range(128, 256)
)
_WSP: Final = frozenset(b" \t\r\n")
_MAX_ADDRESSES: Final = 100
_MAX_OCTETS: Final = 65536


class AddressError(ValueError):
    """The value holds no list of addresses that can be trusted."""


def from_addresses(value: bytes) -> list[bytes]:
    """The addr-specs of a From value, in order.

    Raises:
        AddressError: no address, syntax that is not clear, a route, a NUL, or too much of it.
    """
    if len(value) > _MAX_OCTETS or b"\0" in value:
        raise AddressError("too long, or with a NUL")
    addresses: list[bytes] = []
    for words in _mailboxes(_tokens(value)):
        addresses.append(_address(words))
        if len(addresses) > _MAX_ADDRESSES:
            raise AddressError("too many addresses")
    if not addresses:
        raise AddressError("no address")
    return addresses


_Token = tuple[bytes, bytes]  # kind (atom, quoted, or the special itself) and text


def _tokens(value: bytes) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    size = len(value)
    while position < size:
        octet = value[position]
        if octet in _WSP:
            position += 1
        elif octet == ord("("):
            position = _comment_end(value, position)
        elif octet == ord('"'):
            text, position = _quoted(value, position)
            found.append((b"quoted", text))
        elif octet == ord("["):
            end = value.find(b"]", position)
            if end < 0:
                raise AddressError("an open domain literal")
            found.append((b"literal", value[position : end + 1]))
            position = end + 1
        elif octet in _ATEXT:
            start = position
            while position < size and value[position] in _ATEXT:
                position += 1
            found.append((b"atom", value[start:position]))
        elif octet in b"<>@,:;":
            found.append((bytes((octet,)), b""))
            position += 1
        else:
            raise AddressError("an octet that has no place here")
    return found


def _comment_end(value: bytes, position: int) -> int:
    depth = 0
    while position < len(value):
        octet = value[position]
        if octet == ord("\\"):
            position += 1
        elif octet == ord("("):
            depth += 1
        elif octet == ord(")"):
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    raise AddressError("an open comment")


def _quoted(value: bytes, position: int) -> tuple[bytes, int]:
    start = position
    position += 1
    while position < len(value):
        octet = value[position]
        if octet == ord("\\"):
            position += 1
        elif octet == ord('"'):
            return value[start : position + 1], position + 1
        position += 1
    raise AddressError("an open quoted string")


def _mailboxes(tokens: list[_Token]) -> list[list[_Token]]:
    """Split at commas; a group ``name: a, b;`` gives its members (RFC 6854)."""
    found: list[list[_Token]] = []
    current: list[_Token] = []
    angle = False
    group = False
    for token in tokens:
        kind = token[0]
        if kind == b"<":
            angle = True
        elif kind == b">":
            angle = False
        if kind == b":" and not angle:
            if group or not current or any(k not in (b"atom", b"quoted") for k, _ in current):
                raise AddressError("a colon out of place")
            group = True
            current = []
            continue
        if kind in (b",", b";") and not angle:
            if kind == b";" and not group:
                raise AddressError("a semicolon out of place")
            group = group and kind != b";"
            if current:
                found.append(current)
            current = []
            continue
        current.append(token)
    if group or angle:
        raise AddressError("an open group or bracket")
    if current:
        found.append(current)
    return found


def _address(words: list[_Token]) -> bytes:
    kinds = [kind for kind, _ in words]
    if b"<" in kinds:
        start = kinds.index(b"<")
        if kinds[-1] != b">" or kinds.count(b"<") != 1 or kinds.count(b">") != 1:
            raise AddressError("brackets out of place")
        if any(kind not in (b"atom", b"quoted") for kind in kinds[:start]):
            raise AddressError("a display name that is none")
        words = words[start + 1 : -1]
        kinds = kinds[start + 1 : -1]
    if len(kinds) != 3 or kinds[1] != b"@" or kinds[0] not in (b"atom", b"quoted") or kinds[2] != b"atom":
        raise AddressError("no addr-spec")
    local, domain = words[0][1], words[2][1].rstrip(b".")
    if not domain or b".." in domain or domain.startswith(b"."):
        raise AddressError("no domain")
    if kinds[0] == b"atom" and (local.startswith(b".") or local.endswith(b".") or b".." in local):
        raise AddressError("a malformed local part")
    return local + b"@" + domain
