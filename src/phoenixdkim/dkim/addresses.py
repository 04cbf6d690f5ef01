"""Author addresses of a From field (RFC 5322 section 3.4), in linear time.

The signing rule is chosen by these addresses, so display text must have no influence on them:

1. Exactly one ``<addr-spec>`` outside quoted strings and comments decides alone, whatever surrounds it.
2. Otherwise every ``@`` outside quoted strings and comments must belong to an address, and all addresses count.

Where quotes, parentheses or backslashes do not pair up, readers disagree on what is quoted. They are then plain text,
so that an address which any reader might see counts. An ``@`` beside a bracket without a partner counts likewise.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

_MAX_ADDRESSES: Final = 100
_MAX_OCTETS: Final = 65536
_MAX_TOKENS: Final = 10_000
"""Words and specials; a hundred addresses with names have a tenth of that."""
_TOKEN: Final = re.compile(
    rb"(?P<space>(?:[ \t]|\r\n(?=[ \t]|\Z))+)"
    rb"|(?P<atom>[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.\x80-\xff]+)"
    rb"|(?P<special>[<>@,:;])"
    rb"|(?P<other>.)",
    re.DOTALL,
)
_QUOTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_IN_COMMENT: Final = re.compile(rb"[()]|\\.?", re.DOTALL)


class AddressFault(StrEnum):
    """Why no address of a From field can be used. ``ADDRESS_FAULTS`` has the words of each."""

    TOO_LONG = "too_long"
    NUL = "nul"
    NO_ADDRESS = "no_address"
    NO_LOCAL_PART = "no_local_part"
    INVALID_DOMAIN = "invalid_domain"
    BRACKETS = "brackets"
    TOO_MANY = "too_many"


ADDRESS_FAULTS: Final[dict[AddressFault, str]] = {
    AddressFault.TOO_LONG: f"the field has more than {_MAX_OCTETS} octets, or {_MAX_TOKENS} words and specials",
    AddressFault.NUL: "the field has a NUL octet",
    AddressFault.NO_ADDRESS: "no '@' outside quoted strings and comments",
    AddressFault.NO_LOCAL_PART: "an '@' without a local part before it, as in a route '<@a,@b:c@d>' or in 'a@b@c'",
    AddressFault.INVALID_DOMAIN: "an '@' without a domain name after it, or text there that may belong to it",
    AddressFault.BRACKETS: "angle brackets without an address, and an address outside of them",
    AddressFault.TOO_MANY: f"more than {_MAX_ADDRESSES} addresses",
}


class AddressError(ValueError):
    """No address of the value can be trusted. ``fault`` says why."""

    def __init__(self, fault: AddressFault) -> None:
        super().__init__(ADDRESS_FAULTS[fault])
        self.fault: Final = fault


_Token = tuple[bytes, bytes]
"""Kind (``atom``, ``quoted``, ``other``, or the special itself) and text."""


class _UnpairedError(Exception):
    """A quote, a parenthesis or a backslash outside quoted strings and comments has no partner."""


def from_addresses(value: bytes) -> list[bytes]:
    """Return the addresses that decide who signs a From value.

    Returns:
        One or more of ``local@domain``, as written, without comments and final dot.

    Raises:
        AddressError: no address, or one that readers may understand differently.
    """
    if len(value) > _MAX_OCTETS:
        raise AddressError(AddressFault.TOO_LONG)
    if b"\0" in value:
        raise AddressError(AddressFault.NUL)
    try:
        tokens = _tokens(value, plain=False)
    except _UnpairedError:
        tokens = _tokens(value, plain=True)
    bracketed = _bracketed(tokens)
    if len(bracketed) == 1 and bracketed[0] is not None:
        return [bracketed[0]]
    found = _all(tokens)
    if not found:
        raise AddressError(AddressFault.NO_ADDRESS)
    if bracketed == [] and _has_pair(tokens):
        raise AddressError(AddressFault.BRACKETS)
    return found


def _tokens(value: bytes, *, plain: bool) -> list[_Token]:
    """Split a value; ``plain`` makes quotes, parentheses and backslashes text like any other.

    Raises:
        AddressError: there are too many.
        _UnpairedError: not with ``plain``.
    """
    found: list[_Token] = []
    position, size = 0, len(value)
    while position < size:
        if len(found) == _MAX_TOKENS:
            raise AddressError(AddressFault.TOO_LONG)
        octet = value[position : position + 1]
        if not plain and octet == b"(":
            position = _comment_end(value, position)
            continue
        if not plain and octet == b'"':
            quoted = _QUOTED.match(value, position)
            if quoted is None:
                raise _UnpairedError
            found.append((b"quoted", quoted[0]))
            position = quoted.end()
            continue
        if not plain and octet == b"\\":
            raise _UnpairedError
        match = _TOKEN.match(value, position)
        # The last branch of the pattern takes any octet.
        assert match is not None and match.lastgroup is not None
        if match.lastgroup == "special":
            found.append((octet, b""))
        elif match.lastgroup != "space":
            found.append((match.lastgroup.encode(), match[0]))
        position = match.end()
    return found


def _comment_end(value: bytes, position: int) -> int:
    depth = 0
    for match in _IN_COMMENT.finditer(value, position):
        if match[0] == b"(":
            depth += 1
        elif match[0] == b")":
            depth -= 1
            if depth == 0:
                return match.end()
    raise _UnpairedError


def _bracketed(tokens: Sequence[_Token]) -> list[bytes | None]:
    """Return what each innermost pair of brackets that has an ``@`` holds; None for no addr-spec.

    An ``@`` between a bracket without a partner and the bracket beside it counts as None too: which of the brackets
    belong together depends on the reader.
    """
    found: list[bytes | None] = []
    open_at: int | None = None
    since = 0
    for position, (kind, _) in enumerate(tokens):
        if kind not in (b"<", b">"):
            continue
        inside = tokens[since:position]
        at = any(token[0] == b"@" for token in inside)
        if kind == b">" and open_at is not None:
            if at:
                found.append(_addr_spec(inside))
            open_at = None
        else:
            # Text before the first opening bracket is a display name, also between two pairs.
            if at and (open_at is not None or kind == b">"):
                found.append(None)
            open_at = position if kind == b"<" else None
        since = position + 1
    if open_at is not None and any(token[0] == b"@" for token in tokens[since:]):
        found.append(None)
    return found


def _has_pair(tokens: Sequence[_Token]) -> bool:
    kinds = [kind for kind, _ in tokens]
    return b"<" in kinds and b">" in kinds[kinds.index(b"<") :]


def _addr_spec(tokens: Sequence[_Token]) -> bytes | None:
    """Return the address if the tokens are one addr-spec and nothing else.

    Obsolete syntax has white space and comments around the dots of both its parts (RFC 5322 section 4.4).
    """
    kinds = [kind for kind, _ in tokens]
    if kinds.count(b"@") != 1:
        return None
    at = kinds.index(b"@")
    if b"quoted" in kinds[at:] or not {*kinds} <= {b"atom", b"quoted", b"@"}:
        return None
    local, domain = _dotted(tokens[:at]), _dotted(tokens[at + 1 :])
    try:
        return _address(((b"atom", local), tokens[at], (b"atom", domain)), 1) if local and domain else None
    except AddressError:
        return None


def _dotted(words: Sequence[_Token]) -> bytes:
    """Return the words as one; empty if there are none, or two without a dot between them."""
    texts = [text for _, text in words]
    if not all(one.endswith(b".") or two.startswith(b".") for one, two in itertools.pairwise(texts)):
        return b""
    return b"".join(texts)


def _all(tokens: Sequence[_Token]) -> list[bytes]:
    """Return the addresses of all ``@``.

    Raises:
        AddressError: one of them belongs to no address.
    """
    found = []
    within = False
    for position, (kind, _) in enumerate(tokens):
        if kind in (b"<", b">"):
            within = kind == b"<"
        elif kind == b"@":
            # Some readers join "<a@example.com b>" to "a@example.comb".
            if within and tokens[position + 2 : position + 3] and tokens[position + 2][0] == b"atom":
                raise AddressError(AddressFault.INVALID_DOMAIN)
            found.append(_address(tokens, position))
            if len(found) > _MAX_ADDRESSES:
                raise AddressError(AddressFault.TOO_MANY)
    return found


_NOTHING: Final[_Token] = (b"", b"")


def _address(tokens: Sequence[_Token], at: int) -> bytes:
    """Return the address around the ``@`` at this position.

    Raises:
        AddressError: there is none, or the text beside it may be a part of it.
    """
    before, local = (_NOTHING, _NOTHING, *tokens[max(at - 2, 0) : at])[-2:]
    domain, after = (*tokens[at + 1 : at + 3], _NOTHING, _NOTHING)[:2]
    if local[0] not in (b"atom", b"quoted") or before[0] in (b"@", b"other"):
        raise AddressError(AddressFault.NO_LOCAL_PART)
    # RFC 5322 section 4.4 has white space around the dots of a domain: "example . com".
    goes_on = after[0] == b"atom" and (after[1].startswith(b".") or domain[1].endswith(b"."))
    name = domain[1].rstrip(b".")
    if (
        domain[0] != b"atom"
        or not name
        or name.startswith(b".")
        or b".." in name
        or goes_on
        or after[0] in (b"@", b"other", b"quoted")
    ):
        raise AddressError(AddressFault.INVALID_DOMAIN)
    return local[1] + b"@" + name
