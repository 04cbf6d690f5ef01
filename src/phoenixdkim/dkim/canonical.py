"""Canonicalization (RFC 6376 section 3.4): header fields one by one, the body as a stream.

The body comes in pieces of any size. Everything here takes time in proportion to the octets given, whatever they
are, and keeps no more than counts of what it holds back: runs of white space and of empty lines are the attack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from phoenixdkim.dkim.headers import HeaderField

_BLOCK: Final = b"\r\n" * 4096


class Canonicalization(StrEnum):
    """An algorithm of c= (RFC 6376 section 3.4)."""

    SIMPLE = "simple"
    RELAXED = "relaxed"


def _squeeze(data: bytes) -> bytes:
    """Reduce runs of spaces to one; tabs must be gone. Each pass at least halves the runs."""
    while b"  " in data:
        # Long runs first: a run of n spaces costs n octets, not n times the number of passes.
        if b" " * 64 in data:
            data = data.replace(b" " * 64, b" ")
            continue
        data = data.replace(b"  ", b" ")
    return data


def canonical_header(field: HeaderField, how: Canonicalization) -> bytes:
    """The field as it is hashed, final CRLF included."""
    if how is Canonicalization.SIMPLE:
        return field.name + b":" + field.value + b"\r\n"
    return field.lname + b":" + relaxed_value(field.value) + b"\r\n"


def relaxed_value(value: bytes) -> bytes:
    """A field's value in relaxed canonicalization (RFC 6376 section 3.4.2)."""
    # Unfolding removes a CRLF before white space; other CR and LF are no line ends of a field and stay.
    if b"\r\n" in value:
        value = value.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    if b"\t" in value:
        value = value.replace(b"\t", b" ")
    return _squeeze(value).strip(b" ")


class _SimpleBody:
    """Simple body: as it is, empty lines at the end reduced to one CRLF (RFC 6376 section 3.4.3)."""

    __slots__ = ("_held", "_lines")

    def __init__(self) -> None:
        self._lines = 0  # CRLFs held back
        self._held = b""  # a CR that may become one

    def update(self, chunk: bytes) -> list[bytes]:
        data = self._held + chunk if self._held else chunk
        if data.endswith(b"\r"):
            self._held = b"\r"
            data = data[:-1]
        else:
            self._held = b""
        if not data:
            return []
        lines, rest = _trailing_lines(data)
        if not rest:
            self._lines += lines
            return []
        out = _lines_out(self._lines)
        out.append(rest)
        self._lines = lines
        return out

    def finish(self) -> list[bytes]:
        if self._held:
            # A bare CR at the very end is text; the body then ends without CRLF and gets one.
            out = [*_lines_out(self._lines), b"\r\r\n"]
            self._lines = 0
            return out
        return [b"\r\n"]


def _trailing_lines(data: bytes) -> tuple[int, bytes]:
    """How many CRLFs ``data`` ends with, and what stands before them."""
    if not data.endswith(b"\r\n"):
        return 0, data
    start = len(data.rstrip(b"\r\n"))
    # From there on CR and LF take turns, except where two of a kind meet, or a LF comes first: those are text.
    start = max(start, data.rfind(b"\r\r", start) + 1, data.rfind(b"\n\n", start) + 1)
    start += data[start] == 0x0A
    return (len(data) - start) // 2, data[:start]


def _lines_out(count: int) -> list[bytes]:
    """That many CRLFs, in pieces of bounded size."""
    whole, rest = divmod(count, 4096)
    return [_BLOCK] * whole + ([b"\r\n" * rest] if rest else [])


class _RelaxedBody:
    """Relaxed body: white space squeezed, none at line ends, no empty lines at the end (RFC 6376 section 3.4.4)."""

    __slots__ = ("_any", "_held", "_lines", "_space")

    def __init__(self) -> None:
        self._lines = 0  # CRLFs held back
        self._space = False  # a run of white space held back
        self._held = b""  # a CR that may become a CRLF
        self._any = False

    def update(self, chunk: bytes) -> list[bytes]:
        data = self._held + chunk if self._held else chunk
        if data.endswith(b"\r"):
            self._held = b"\r"
            data = data[:-1]
        else:
            self._held = b""
        if not data:
            return []
        if b"\t" in data:
            data = data.replace(b"\t", b" ")
        data = _squeeze(data)
        if self._space:
            # Runs of white space are one, across pieces too.
            data = data if data.startswith(b" ") else b" " + data
        if data.endswith(b" "):
            self._space = True
            data = data[:-1]
        else:
            self._space = False
        if b" \r\n" in data:
            data = data.replace(b" \r\n", b"\r\n")
        if not data:
            return []
        lines, rest = _trailing_lines(data)
        if not rest:
            self._lines += lines
            return []
        out = _lines_out(self._lines)
        out.append(rest)
        self._lines = lines
        self._any = True
        return out

    def finish(self) -> list[bytes]:
        if self._held:
            out = _lines_out(self._lines)
            out.append(b" \r\r\n" if self._space else b"\r\r\n")
            return out
        return [b"\r\n"] if self._any else []


class _Sink:
    """One body hash, of all canonical octets or of the first ``length``."""

    __slots__ = ("hash", "left")

    def __init__(self, length: int | None) -> None:
        self.hash = hashlib.sha256()
        self.left = length

    def update(self, data: bytes) -> None:
        if self.left is None:
            self.hash.update(data)
        elif self.left > 0:
            self.hash.update(data[: self.left])
            self.left -= len(data)


class BodyDigests:
    """All body hashes that a message needs, in one pass over its body."""

    def __init__(self, wanted: Iterable[tuple[Canonicalization, int | None]]) -> None:
        """Prepare.

        Args:
            wanted: canonicalizations and lengths (the value of l=, None for the whole body).
        """
        self._sinks = {key: _Sink(key[1]) for key in wanted}
        self._bodies: dict[Canonicalization, _SimpleBody | _RelaxedBody] = {}
        for how, _ in self._sinks:
            self._bodies.setdefault(how, _SimpleBody() if how is Canonicalization.SIMPLE else _RelaxedBody())
        self._octets = dict.fromkeys(self._bodies, 0)
        self._sinks_of = {how: [sink for key, sink in self._sinks.items() if key[0] is how] for how in self._bodies}

    def update(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        for how, body in self._bodies.items():
            self._take(how, body.update(chunk))

    def finish(self) -> None:
        """The body has ended."""
        for how, body in self._bodies.items():
            self._take(how, body.finish())

    def _take(self, how: Canonicalization, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._octets[how] += len(piece)
            for sink in self._sinks_of[how]:
                sink.update(piece)

    def digest(self, how: Canonicalization, length: int | None) -> bytes:
        """SHA-256 of the canonical body, or of its first ``length`` octets; after ``finish``."""
        return self._sinks[how, length].hash.digest()

    def octets(self, how: Canonicalization) -> int:
        """Octets of the whole canonical body; after ``finish``."""
        return self._octets[how]
