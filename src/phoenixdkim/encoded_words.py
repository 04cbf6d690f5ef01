"""Encoded words (RFC 2047), decoded in each way that a mail reader may decode them.

Readers differ in where they decode a word (anywhere, even in quoted strings and comments), in what they make of a
damaged one, in the space between two words, and in the charsets they know. What counts here is whether any of them
would show a name, so all plausible texts are returned. Work is bounded by the caller: it passes a short value.
"""

from __future__ import annotations

import binascii
import encodings
import encodings.aliases
import pkgutil
import re
from typing import Final, NamedTuple

START: Final = b"=?"
MAX_WORDS: Final = 64
"""Encoded words that are decoded; what follows them stays as it is."""
_WORD: Final = re.compile(rb"=\?([^?]*)\?([bBqQ])\?")
_END: Final = re.compile(rb"\?=|\Z")
"""Python's email package takes a word that does not end, if it begins with an escape."""
_STRICT_END: Final = re.compile(rb"\?=?")
"""RFC 2047 allows no question mark in the text of a word: for some readers there is no word then."""
_ESCAPED: Final = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/=]+")
_PADDING: Final = re.compile(rb"=+")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_MAX_DECODED: Final = 4096
"""Octets of a word that are decoded by charset; some codecs take quadratic time."""
_MODULES: Final = {module.name: module.name for module in pkgutil.iter_modules(encodings.__path__)}
_CODECS: Final = {**_MODULES, **encodings.aliases.aliases}
"""Codecs by the labels that Python's email package takes. Only these are looked up: the label of a message may be
anything, and the interpreter remembers each that it was asked for."""
_OTHER_CODECS: Final = ("cp037", "iso2022_jp", "utf_7", "utf_16_be", "utf_16_le")
"""How an unknown charset may read, apart from ASCII and its supersets: EBCDIC, ISO 2022, UTF-7, UTF-16 and UTF-32.
Letters and digits are the same in all EBCDIC code pages."""
_VALID_ESCAPE: Final = re.compile(rb"(\\(?:[\n\\'\"abfnrtvxuUN]|[0-3][0-7]{2}|[0-7]{1,2}(?![0-7])))|\\")
"""Of Python's escapes; for another one the interpreter writes a warning."""


class _Word(NamedTuple):
    codec: str | None
    readings: tuple[bytes, ...]
    """The octets, as readers take them that treat damaged base64 differently; as many for each word."""


def found_in(value: bytes) -> bool:
    """Return whether there is an encoded word in the value, complete or not."""
    return _WORD.search(value) is not None


def decodings(value: bytes) -> tuple[bytes, ...]:
    """Return each text that a reader may decode a header field's value to, in UTF-8, without duplicates.

    Octets that are not text in the charset of their word become U+FFFD. The value itself is not returned.
    """
    parts, strict_parts = _split(value, _END), _split(value, _STRICT_END)
    found = _texts(parts)
    if strict_parts != parts:
        found |= _texts(strict_parts)
    return tuple(found)


def _texts(parts: list[bytes | _Word]) -> dict[bytes, None]:
    words = [part for part in parts if isinstance(part, _Word)]
    if not words:
        return {}
    damaged = any(len(set(word.readings)) > 1 for word in words)
    codecs = (None, *_OTHER_CODECS) if any(word.codec is None for word in words) else (None,)
    found: dict[bytes, None] = {}
    close = _without_gaps(parts)
    for gaps in (close, parts, _with_spaces(close)):
        for number in range(len(words[0].readings) if damaged else 1):
            plain = [part if isinstance(part, bytes) else part.readings[number] for part in gaps]
            found[b"".join(plain)] = None
            for codec in codecs:
                texts = zip(gaps, plain, strict=True)
                found[b"".join(t if isinstance(p, bytes) else _text(t, p.codec or codec) for p, t in texts)] = None
    return found


def _split(value: bytes, end_of: re.Pattern[bytes]) -> list[bytes | _Word]:
    """Return the value in parts: text, and encoded words."""
    parts: list[bytes | _Word] = []
    done = position = 0
    count = 0
    while count < MAX_WORDS and (start := value.find(START, position)) >= 0:
        match = _WORD.match(value, start)
        if match is None:
            position = start + len(START)
            continue
        end = end_of.search(value, match.end())
        if end is None:
            break
        if end[0] == b"?":
            position = start + len(START)
            continue
        count += 1
        parts += [value[done:start], _word(match[1], match[2], value[match.end() : end.start()])]
        done = position = end.end()
    parts.append(value[done:])
    return parts


def _word(label: bytes, encoding: bytes, text: bytes) -> _Word:
    name = label.partition(b"*")[0].decode("ascii", "replace").strip().lower()
    name = encodings.normalize_encoding(name)
    codec = _CODECS.get(name) or _CODECS.get(name.replace(".", "_"))
    if encoding in b"qQ":
        octets = _ESCAPED.sub(lambda match: bytes((int(match[1], 16),)), text.replace(b"_", b" "))
        return _Word(codec, (octets,) * 3)
    url_safe = [_base64(piece) for piece in _PADDING.split(_NOT_BASE64.sub(b"", text.translate(_URL_SAFE)))]
    strict = _NOT_BASE64.sub(b"", text)
    return _Word(codec, (b"".join(url_safe), _base64(strict.partition(b"=")[0]), _base64(strict.replace(b"=", b""))))


def _base64(digits: bytes) -> bytes:
    # One digit alone is less than an octet.
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def _text(octets: bytes, codec: str | None) -> bytes:
    if codec is None:
        return octets
    octets = octets if codec != "unicode_escape" else _VALID_ESCAPE.sub(lambda match: match[1] or b"\\\\", octets)
    try:
        text = octets[:_MAX_DECODED].decode(codec, "replace")
    except (LookupError, ValueError, ArithmeticError):
        # Not a codec of text, or one that does not replace what it cannot decode.
        return octets
    return text.encode("utf-8", "replace") + octets[_MAX_DECODED:]


def _without_gaps(parts: list[bytes | _Word]) -> list[bytes | _Word]:
    """Leave out white space, of any kind, between two encoded words (RFC 2047 section 6.2)."""
    last = len(parts) - 1
    return [
        part
        for number, part in enumerate(parts)
        if isinstance(part, _Word) or number in (0, last) or part.decode("utf-8", "ignore").strip()
    ]


def _with_spaces(parts: list[bytes | _Word]) -> list[bytes | _Word]:
    """Put a space between ASCII and other text, as Python's email.header does."""
    spaced: list[bytes | _Word] = []
    was_plain = True
    for part in parts:
        plain = isinstance(part, bytes) or part.codec == "ascii"
        if part and plain is not was_plain:
            spaced.append(b" ")
        was_plain = plain if part else was_plain
        spaced.append(part)
    return spaced
