"""The Authentication-Results field: built, read, and recognised when it is forged (RFC 8601, RFC 6008)."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import idna

from phoenixdkim.dkim.results import REASONS, Reason, Result
from phoenixdkim.dkim.verify import SignatureVerdict

_LINE: Final = 76
_MAX_VALUE: Final = 900
"""Octets of a value as written: nothing in it can be folded, and a line has 998."""
_TOKEN: Final = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`{|}~").encode())
_PVALUE: Final = _TOKEN | frozenset(b"@")
_WSP: Final = frozenset(b" \t\r\n")
_MAX_PARSED: Final = 65536
_MAX_WORDS: Final = 16
_MAX_HOST: Final = 1024


class AuthResSyntaxError(ValueError):
    """An Authentication-Results value that can't be read."""


def _clean(value: bytes) -> bytes:
    """A property's value that can't open a clause, end a line or a string: quoted where it is no plain token.

    Empty when it would be too long: cut short, it could name another domain.
    """
    if len(value) > _MAX_VALUE:
        return b""
    if value and _PVALUE.issuperset(value) and value.count(b"@") <= 1 and not value.endswith(b"@"):
        return value
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("ascii", "backslashreplace")
    shown = "".join(c if c.isprintable() and c not in '"\\' else "?" for c in text)
    quoted = b'"' + shown.encode("utf-8") + b'"'
    return quoted if len(quoted) <= _MAX_VALUE else b""


def _prefixes(verdicts: Sequence[SignatureVerdict]) -> list[bytes]:
    """header.b of each: eight characters, more where two signatures begin alike (RFC 6008 section 4)."""
    values = [verdict.b for verdict in verdicts]
    found = []
    for value in values:
        length = 8
        while length < len(value) and sum(other[:length] == value[:length] for other in values) > 1:
            length += 4
            if length > 64:
                break
        found.append(value[:length])
    return found


def _clause(verdict: SignatureVerdict, prefix: bytes) -> list[bytes]:
    words = [b"dkim=" + verdict.result.encode()]
    if verdict.reason is not Reason.VERIFIED:
        words.append(b'reason="' + REASONS[verdict.reason].text.encode() + b'"')
    elif verdict.detail:
        words.append(b'reason="' + verdict.detail.encode("ascii", "replace") + b'"')
    if verdict.key_bits is not None:
        words.append(b"(%d-bit key%s)" % (verdict.key_bits, b", testing" if verdict.testing else b""))
    for name, value in (
        (b"header.d", verdict.domain),
        (b"header.i", verdict.identity),
        (b"header.s", verdict.selector),
    ):
        if value and value != b"@" and (clean := _clean(value)):
            words.append(name + b"=" + clean)
    if verdict.algorithm != "other":
        words.append(b"header.a=" + verdict.algorithm.encode())
    if prefix:
        words.append(b"header.b=" + _clean(prefix))
    return words


def build(
    authserv_id: bytes, verdicts: Sequence[SignatureVerdict], none: Result = Result.NONE, reason: str = ""
) -> bytes:
    """The value of an Authentication-Results field: leading space, folds as CRLF and tab.

    Args:
        authserv_id: ours, as configured.
        verdicts: one clause for each.
        none: the result when there are no verdicts.
        reason: its reason; ASCII words without quotes.
    """
    clauses = [_clause(verdict, prefix) for verdict, prefix in zip(verdicts, _prefixes(verdicts), strict=True)]
    if not clauses:
        clauses = [[b"dkim=" + none.encode(), *([b'reason="' + reason.encode("ascii") + b'"'] if reason else [])]]
    lines = [b"Authentication-Results: " + authserv_id]
    for clause in clauses:
        lines[-1] += b";"
        line = b""
        for word in clause:
            if line and len(line) + 1 + len(word) > _LINE:
                lines.append(line)
                line = word
            else:
                line = line + b" " + word if line else word
        lines.append(line)
    return b"\r\n\t".join(lines)[len(b"Authentication-Results:") :]


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One clause: method, result, and properties as found, quoted strings taken out of their quotes."""

    method: bytes
    result: bytes
    reason: bytes | None
    properties: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class AuthenticationResults:
    """A field taken apart."""

    authserv_id: bytes
    version: bytes | None
    results: tuple[MethodResult, ...]


_Token = tuple[str, bytes]


def _tokens(value: bytes, stop_at: bytes = b"") -> list[_Token]:
    """Words, quoted strings and specials; comments and white space are dropped.

    Args:
        value: the field's value.
        stop_at: a special after which reading ends.
    """
    found: list[_Token] = []
    position = 0
    size = len(value)
    if size > _MAX_PARSED and not stop_at:
        raise AuthResSyntaxError("too long")
    while position < size:
        octet = value[position]
        if octet in _WSP:
            position += 1
        elif octet == ord("("):
            depth = 0
            while position < size:
                octet = value[position]
                if octet == ord("\\"):
                    position += 1
                elif octet == ord("("):
                    depth += 1
                elif octet == ord(")"):
                    depth -= 1
                    if depth == 0:
                        break
                position += 1
            if depth:
                raise AuthResSyntaxError("an open comment")
            position += 1
        elif octet == ord('"'):
            position += 1
            text = bytearray()
            while True:
                if position >= size:
                    raise AuthResSyntaxError("an open quoted string")
                octet = value[position]
                if octet == ord('"'):
                    break
                if octet == ord("\\"):
                    position += 1
                    if position >= size:
                        raise AuthResSyntaxError("an open quoted string")
                text.append(value[position])
                position += 1
            found.append(("quoted", bytes(text)))
            position += 1
        elif octet == ord(";") or (octet in b"=/" and not (found and found[-1][0] == "=")):
            special = bytes((octet,))
            found.append((special.decode(), special))
            position += 1
            if special == stop_at:
                return found
        else:
            # A value in base64 or a path has '=' and '/' of its own.
            ends = b'();"' if found and found[-1][0] == "=" else b'();="/'
            start = position
            while position < size and value[position] not in _WSP and value[position] not in ends:
                position += 1
            if position == start:
                raise AuthResSyntaxError("an octet out of place")
            found.append(("word", value[start:position]))
    return found


def parse(value: bytes) -> AuthenticationResults:
    """Take a field's value apart.

    Raises:
        AuthResSyntaxError: it can't be read.
    """
    clauses: list[list[_Token]] = [[]]
    for token in _tokens(value):
        if token[0] == ";":
            clauses.append([])
        else:
            clauses[-1].append(token)
    head = clauses[0]
    if not head or len(head) > 2 or head[0][0] not in ("word", "quoted"):
        raise AuthResSyntaxError("no authserv-id")
    version = head[1][1] if len(head) == 2 else None
    results = []
    for clause in clauses[1:]:
        if not clause or (len(clause) == 1 and clause[0][1].lower() == b"none"):
            continue
        results.append(_parse_clause(clause))
    return AuthenticationResults(head[0][1], version, tuple(results))


def _parse_clause(clause: list[_Token]) -> MethodResult:
    pairs: list[tuple[bytes, bytes]] = []
    position = 0
    while position < len(clause):
        name = clause[position][1]
        position += 1
        if position < len(clause) and clause[position][0] == "/":
            position += 2
        if position + 1 >= len(clause) or clause[position][0] != "=":
            raise AuthResSyntaxError("a name without a value")
        value = clause[position + 1][1]
        position += 2
        pairs.append((name.lower(), value))
    method, result = pairs[0]
    reason = next((value for name, value in pairs[1:] if name == b"reason"), None)
    return MethodResult(method, result.lower(), reason, tuple(pair for pair in pairs[1:] if pair[0] != b"reason"))


def _folded_id(name: bytes) -> bytes:
    """An authserv-id for comparison: lower-case, A-labels, no final dot."""
    name = name.strip().rstrip(b".").lower()
    # IDNA work on a long name costs much, and no host has one.
    if name.isascii() or len(name) > _MAX_HOST:
        return name
    try:
        return idna.encode(name.decode("utf-8"), uts46=True)
    except (UnicodeError, idna.IDNAError):
        return name


def forged(value: bytes, authserv_id: bytes) -> bool:
    """Whether a field that came with a message claims to be ours, or can't be told not to (RFC 8601 section 5).

    Args:
        value: the field's value.
        authserv_id: ours.
    """
    ours = _folded_id(authserv_id)
    try:
        tokens = _tokens(value, b";")
    except AuthResSyntaxError:
        # Another reader may find our name in what we can't read.
        return ours in value.lower() or not value.isascii()
    words = [text for kind, text in tokens if kind in ("word", "quoted")]
    if not words or (len(tokens) > 1 and tokens[1][0] == "="):
        # No authserv-id at all: some readers take that for the local one.
        return True
    # "id", "id/job" and "id 1" are ours; so is a value in which the id is followed by more words.
    claimed = _folded_id(words[0])
    if claimed == ours:
        return True
    if len(words) > 1 and not words[1].isdigit():
        # Not the syntax of the field: some reader may take another word, or all of them, for the id.
        heads = words[:_MAX_WORDS]
        return any(_folded_id(word) == ours for word in heads) or _folded_id(b"".join(heads)) == ours
    # A name that is no text, or that ends for a reader in C at its NUL.
    return (not claimed.isascii() or any(octet < 32 for octet in claimed)) and ours in claimed
