"""Authentication-Results of ours with hostile values. Oracle: it reads back as exactly one clause a verdict, with
the verdict's own result and no value that none of its own fields gave; no line is over 998 octets or ends early."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.target import CONTROLS, Target, check
from phoenixdkim.authres import build, forged, parse
from phoenixdkim.dkim.results import REASONS, Algorithm, Reason
from phoenixdkim.dkim.verify import SignatureVerdict

OURS = b"mx.example.com"
_REASONS = tuple(Reason)
_ALGORITHMS = tuple(Algorithm)
_NAMES = (b"header.d", b"header.i", b"header.s", b"header.a", b"header.b")


def execute(data: bytes) -> None:
    """Verdicts end with 0xFE; each is a reason, an algorithm, and d=, s=, i=, b= with 0xFD between them."""
    verdicts = [_verdict(part) for part in data.split(b"\xfe")[:4]]
    value = build(OURS, verdicts)
    lines = value.split(b"\r\n")
    check(value[:1] == b" " and all(line[:1] == b"\t" and line.strip() for line in lines[1:]), "lines", value)
    check(CONTROLS.isdisjoint(b"".join(lines)), "a control", value)
    check(max(map(len, lines)) + len(b"Authentication-Results:") <= 998, "a line too long", value)
    found = parse(value)
    check(found.authserv_id == OURS and found.version is None, "another authserv-id", value)
    check(len(found.results) == len(verdicts), "clauses", value)
    check(forged(value, OURS), "our own field would not be known as ours", value)
    for verdict, result in zip(verdicts, found.results, strict=True):
        check(result.method == b"dkim" and result.result == verdict.result.encode(), "result", value)
        names = [name for name, _ in result.properties]
        check(len(set(names)) == len(names) and set(names) <= set(_NAMES), "properties", value)
        told = dict(result.properties)
        if _is_domain(verdict.domain):
            check(told[b"header.d"] == verdict.domain, "another d=", value)
        if _is_domain(verdict.selector):
            check(told[b"header.s"] == verdict.selector, "another s=", value)
        if verdict.reason is not Reason.VERIFIED:
            check(result.reason == REASONS[verdict.reason].text.encode(), "another reason", value)


def _is_domain(text: bytes) -> bool:
    return 0 < len(text) < 254 and text.isascii() and text.decode().replace(".", "").replace("-", "").isalnum()


def _verdict(data: bytes) -> SignatureVerdict:
    first, second = (data + b"\0\0")[:2]
    reason = _REASONS[first % len(_REASONS)]
    domain, selector, identity, b = (*data[2:].split(b"\xfd"), b"", b"", b"", b"")[:4]
    bits = None if second & 8 else 256 << (second >> 6)
    return SignatureVerdict(
        REASONS[reason].result,
        reason,
        _ALGORITHMS[second % len(_ALGORITHMS)],
        domain,
        selector,
        identity,
        b,
        bits,
        testing=bool(second & 16),
        detail=REASONS[Reason.UNSIGNED_TAIL].text if second & 32 else "",
    )


def seeds() -> Iterator[bytes]:
    plain = b"\xfd".join((b"example.net", b"s1", b"joe@sub.example.net", b"abcdefghijkl"))
    yield b"\0\0" + plain
    yield b"\xfe".join(bytes((number, number)) + plain + bytes((number,)) for number in range(4))
    yield b'\x0d\x0eexample.net(\xfd";dkim=pass\xfd\r\n a@b@\xfda\\"'
    yield "\0\0exämple.net\xfds\xfdä@exämple.net".encode().replace(b"\xc3\xbd", b"\xfd")


TARGET = Target(
    execute,
    seeds,
    (
        b"\xfe",
        b"\xfd",
        b"dkim=pass",
        b"(",
        b")",
        b'"',
        b"\\",
        b";",
        b"\r\n",
        b"\r\n\t",
        b"\0",
        b"@",
        b"a" * 64,
        "ä".encode(),
    ),
    1024,
)
