"""Authentication-Results, read. Oracle: AuthResSyntaxError, or parts that, written in the plainest way, read alike."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.target import Target, check
from phoenixdkim.authres import AuthenticationResults, AuthResSyntaxError, parse

_FEW = 32
"""Characters to escape; a string with many is refused for the work that it makes."""


def execute(data: bytes) -> None:
    try:
        found = parse(data)
    except AuthResSyntaxError:
        return
    if data.count(b"\\") + data.count(b'"') < _FEW:
        check(found == parse(_written(found)), "reads otherwise when written plainly", found)
    for result in found.results:
        check(all(name != b"reason" for name, _ in result.properties), "a reason among the properties", result)
        check(result.result == result.result.lower() and result.method == result.method.lower(), "case", result)


def _written(found: AuthenticationResults) -> bytes:
    head = _quoted(found.authserv_id) + (b"" if found.version is None else b" " + _quoted(found.version))
    clauses = [head]
    for result in found.results:
        words = [_quoted(result.method) + b"=" + _quoted(result.result)]
        if result.reason is not None:
            words.append(b"reason=" + _quoted(result.reason))
        words += [_quoted(name) + b"=" + _quoted(value) for name, value in result.properties]
        clauses.append(b" (comment) ".join(words))
    return b" ;\r\n\t".join(clauses)


def _quoted(text: bytes) -> bytes:
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def seeds() -> Iterator[bytes]:
    yield b" mx.example.com 1; none"
    yield b' mx.example.com; dkim=pass (2048-bit key)\r\n\theader.d=example.net header.b="ab/cd=" reason="a \\"b\\""'
    yield b" (c (n) \\) ) mx.example.com/1; dkim/1=fail header.i=@a.example; spf=pass smtp.mailfrom=a@b.example;"
    yield b'"mx.example.com"; auth=pass smtp.auth="a b" policy.x=/a=b/'


WORDS = (
    *(b"dkim=pass", b"header.d=", b"header.b=", b"reason=", b"none", b"mx.example.com", b"(", b")", b'"', b"\\"),
    *(b";", b"=", b"/", b"@", b"\r\n\t", b"\0", b"\xff", "ä".encode()),
)

TARGET = Target(execute, seeds, WORDS, 384)
