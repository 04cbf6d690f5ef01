"""The Authentication-Results field: built, read, and recognised when it is forged (RFC 8601, RFC 6008)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import idna

from phoenixdkim import encoded_words
from phoenixdkim.dkim.results import REASONS, Reason, Result
from phoenixdkim.dkim.verify import SignatureVerdict
from phoenixdkim.loose_reading import HostName, host_name, loose_claim

_LINE: Final = 76
_MAX_VALUE: Final = 900
"""Octets of a value as written: nothing in it can be folded, and a line has 998."""
_TOKEN: Final = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`{|}~").encode())
_MAX_ID: Final = 255
_PVALUE: Final = _TOKEN | frozenset(b"@")
_SPACE: Final = re.compile(rb"(?:[ \t\r\n]+|\([^()\\]*\)){1,64}")
"""White space and plain comments; the others are read octet by octet."""
_MAX_PARSED: Final = 65536
_MAX_WORDS: Final = 16
_MAX_HEAD: Final = 16384
"""Octets in which a reader that does not follow the syntax is expected to find the authserv-id."""
_MAX_STEPS: Final = 64
"""Words and specials before the first semicolon: the syntax has one there, or two with a version."""
_MAX_IN_COMMENT: Final = 256
"""Brackets, escapes and stretches of text in one comment."""
_MAX_ESCAPES: Final = 64
"""In one quoted string; a host's name needs none."""
_MAX_HOST: Final = 1024
_PLAIN: Final = re.compile(
    rb"[ \t\r\n]*([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?:[ \t\r\n]+[0-9]+)?[ \t\r\n]*(?:;|\Z)"
)
"""The usual field: a host name and perhaps a version, which all readers read alike."""
_IN_COMMENT: Final = re.compile(rb"[^()\\]+")
_IN_QUOTED: Final = re.compile(rb'[^"\\]+')
_IN_WORD: Final = re.compile(rb'[^ \t\r\n();"=/]+')
_IN_VALUE: Final = re.compile(rb'[^ \t\r\n();"]+')


def is_authserv_id(name: bytes) -> bool:
    """Return whether this can be our authserv-id: a token (RFC 8601 section 2.2), at most 255 octets."""
    return 0 < len(name) <= _MAX_ID and _TOKEN.issuperset(name)


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
    lengths = [8] * len(verdicts)
    for length in range(8, 64, 4):
        alike = Counter(verdict.b[:length] for verdict in verdicts)
        for index, verdict in enumerate(verdicts):
            if lengths[index] == length and len(verdict.b) > length and alike[verdict.b[:length]] > 1:
                lengths[index] = length + 4
        if length + 4 not in lengths:
            break
    return [verdict.b[:length] for verdict, length in zip(verdicts, lengths, strict=True)]


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


class _TooManyStepsError(AuthResSyntaxError):
    """There is more before the first semicolon than is worth reading."""


_Token = tuple[str, bytes]


def _tokens(value: bytes, stop_at: bytes = b"") -> list[_Token]:
    """Words, quoted strings and specials; comments and white space are dropped.

    Args:
        value: the field's value.
        stop_at: a special after which reading ends; it must come within ``_MAX_STEPS``.
    """
    found: list[_Token] = []
    position = 0
    size = len(value)
    steps = 0
    if size > _MAX_PARSED and not stop_at:
        raise AuthResSyntaxError("too long")
    while True:
        position = _end(_SPACE, value, position)
        if position >= size:
            return found
        steps += 1
        if stop_at and steps > _MAX_STEPS:
            raise _TooManyStepsError("too many words")
        octet = value[position]
        after_equals = bool(found) and found[-1][0] == "="
        if octet == ord("("):
            position = _comment(value, position)
        elif octet == ord('"'):
            text, position = _quoted(value, position)
            found.append(("quoted", text))
        elif octet == ord(";") or (octet in b"=/" and not after_equals):
            special = bytes((octet,))
            found.append((special.decode(), special))
            position += 1
            if special == stop_at:
                return found
        else:
            # A value in base64 or a path has '=' and '/' of its own.
            end = _end(_IN_VALUE if after_equals else _IN_WORD, value, position)
            if end == position:
                raise AuthResSyntaxError("an octet out of place")
            found.append(("word", value[position:end]))
            position = end


def _end(run: re.Pattern[bytes], value: bytes, position: int) -> int:
    """Where the run of such octets ends."""
    match = run.match(value, position)
    return position if match is None else match.end()


def _comment(value: bytes, position: int) -> int:
    """Where the comment ends that starts here."""
    depth = steps = 0
    while position < len(value):
        steps += 1
        if steps > _MAX_IN_COMMENT:
            raise _TooManyStepsError("too much in a comment")
        octet = value[position]
        position += 1
        if octet == ord("\\"):
            position += 1
        elif octet == ord("("):
            depth += 1
        elif octet == ord(")"):
            depth -= 1
            if depth == 0:
                return position
        else:
            position = _end(_IN_COMMENT, value, position)
    raise AuthResSyntaxError("an open comment")


def _quoted(value: bytes, position: int) -> tuple[bytes, int]:
    """The text of the quoted string that starts here, and where it ends."""
    position += 1
    escapes = 0
    text = bytearray()
    while position < len(value):
        end = _end(_IN_QUOTED, value, position)
        text += value[position:end]
        if value[end : end + 1] == b'"':
            return bytes(text), end + 1
        text += value[end + 1 : end + 2]
        position = end + 2
        escapes += 1
        if escapes > _MAX_ESCAPES:
            raise _TooManyStepsError("a name that hides behind backslashes")
    raise AuthResSyntaxError("an open quoted string")


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


def plain_id(value: bytes) -> bytes | None:
    """Return the authserv-id of a field that all readers read alike, lower-case; None if readers may differ."""
    match = _PLAIN.match(value)
    return None if match is None else match[1].lower()


def forged(value: bytes, *authserv_ids: bytes) -> bool:
    """Whether a field that came with a message claims to be ours, or can't be told not to (RFC 8601 section 5).

    It does if any reader may take our name for its authserv-id: one that follows the syntax, one that decodes encoded
    words (RFC 2047) first, or one that looks for a host name before the first semicolon.

    Args:
        value: the field's value.
        authserv_ids: our names.
    """
    names = [_folded_id(authserv_id) for authserv_id in authserv_ids]
    plain = plain_id(value)
    if plain is not None:
        return plain in names
    value = value.lstrip(b" \t\r\n")
    head = value[:_MAX_HEAD]
    # Not only those before the first semicolon: that one may stand in a comment or behind an empty clause.
    words = head.count(encoded_words.START)
    if words > encoded_words.MAX_WORDS or (len(value) > _MAX_HEAD and b";" not in head):
        # No program writes such a field, other than to hide a name in it.
        return True
    ours = [host_name(name, _folded_id) for name in names]
    if _claims(value, ours):
        return True
    if any(loose_claim(head, name) for name in ours):
        return True
    return any(
        _decodable_again(text) or _claims(text, ours) or any(loose_claim(text, name) for name in ours)
        for text in (encoded_words.decodings(head) if words else ())
    )


def _decodable_again(text: bytes) -> bool:
    """Whether there is an encoded word in the head of a decoded value, for readers that decode twice.

    No program writes such a field, other than to hide a name in it.
    """
    return encoded_words.found_in(text.partition(b";")[0])


def _claims(value: bytes, ours: Sequence[HostName]) -> bool:
    """Whether a reader that follows the syntax finds our name or none, or can't read the value and might find it."""
    try:
        tokens = _tokens(value, b";")
    except _TooManyStepsError:
        # No program writes such a field, other than to hide a name in it.
        return True
    except AuthResSyntaxError:
        # Another reader may find our name in what we can't read.
        return not value.isascii() or len(value) > _MAX_HEAD or any(name.within(value) for name in ours)
    words = [(kind, text) for kind, text in tokens if kind in ("word", "quoted")]
    if not words or _begins_with_result(tokens):
        # No authserv-id at all: some readers take that for the local one.
        return True
    return any(_named(words, name) for name in ours)


def _begins_with_result(tokens: list[_Token]) -> bool:
    """Whether the value begins with "method=" or "method/version=" (RFC 8601 section 2.2)."""
    kinds = [kind for kind, _ in tokens[:4]]
    return kinds[1:2] == ["="] or (kinds[1:2] == ["/"] and kinds[3:] == ["="])


def _named(words: list[_Token], ours: HostName) -> bool:
    """Whether the words before the first semicolon have our name where a reader may look for the authserv-id."""
    claimed = words[0][1]
    if len(words) == 2 and words[1][1].isdigit():
        # A version.
        words = words[:1]
    joined = b"".join(text for _, text in words[:_MAX_WORDS])
    if len(joined) > _MAX_HEAD:
        return True
    if not ours.within(joined):
        return False
    # "id", "id/job" and "id:25" are ours. So is a value in which other words stand before or behind the id: it does not
    # follow the syntax, so some reader may take any of them, or all, for the id. A quoted string is one word.
    for kind, text in words[:_MAX_WORDS]:
        if any(map(ours.equals, islice(ours.runs(text), 1 if kind == "quoted" else None))):
            return True
    if ours.equals(joined.decode("utf-8", "replace")):
        return True
    # A name that is no text, or that ends for a reader in C at its NUL.
    folded = _folded_id(claimed)
    return (not folded.isascii() or any(octet < 32 for octet in folded)) and ours.within(folded)
