"""HTTP requests and answers as octets, without a socket: what is asked, in which format, how the answer looks."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from phoenixdkim_prometheus.families import OPENMETRICS_TYPE, TEXT_TYPE

MAX_REQUEST: Final = 8192
"""Most octets of a request line with its header fields."""
_END: Final = b"\r\n\r\n"
_MAX_ITEMS: Final = 64
_PLAIN: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status line, header fields and body of an answer."""

    status: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def encode(self, head: bool) -> bytes:
        """The octets of the answer; for HEAD without its body."""
        body = self.body or f"{self.status}\n".encode()
        headers = {"Content-Type": _PLAIN} | dict(self.headers)
        headers |= {"Content-Length": str(len(body)), "Connection": "close", "Cache-Control": "no-store"}
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
        return "\r\n".join(lines).encode("ascii") + (b"" if head else body)


BAD_REQUEST: Final = Answer("400 Bad Request")
FAILED: Final = Answer("500 Internal Server Error")


def head_of(received: bytes | bytearray, ended: bool) -> bytes | Answer | None:
    """The request line and header fields; an answer when there will be none; None while more may come.

    Args:
        received: all octets so far.
        ended: the client sends no more.
    """
    end = received.find(_END)
    if 0 <= end <= MAX_REQUEST:
        return bytes(received[:end])
    if len(received) > MAX_REQUEST:
        return Answer("431 Request Header Fields Too Large")
    # A TLS hello or another protocol: its sender waits for an answer and would wait for the time-out.
    if ended or (received and not received[:1].isalpha()):
        return BAD_REQUEST
    return None


def answer(head: bytes, text: Callable[[], bytes], openmetrics: Callable[[], bytes]) -> Answer:
    """The answer to a request.

    Args:
        head: request line and header fields.
        text: renders the text format.
        openmetrics: renders OpenMetrics.
    """
    try:
        first, *rest = head.decode("ascii").split("\r\n")
        method, target, version = first.split(" ")
        headers = _fields(rest)
    except ValueError:
        return BAD_REQUEST
    if not version.startswith("HTTP/"):
        return BAD_REQUEST
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        return Answer("505 HTTP Version Not Supported")
    if target.partition("?")[0] != "/metrics":
        return Answer("404 Not Found")
    if method not in ("GET", "HEAD"):
        return Answer("405 Method Not Allowed", (("Allow", "GET, HEAD"),))
    accept = headers.get("accept", "*/*")
    if quality(accept, "application/openmetrics-text") > quality(accept, "text/plain"):
        kind, body = OPENMETRICS_TYPE, openmetrics()
    else:
        kind, body = TEXT_TYPE, text()
    extra: tuple[tuple[str, str], ...] = (("Content-Type", kind), ("Vary", "Accept, Accept-Encoding"))
    if _wants_gzip(headers.get("accept-encoding", "")):
        return Answer("200 OK", (*extra, ("Content-Encoding", "gzip")), gzip.compress(body, 1, mtime=0))
    return Answer("200 OK", extra, body)


def _fields(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or not all(c.isprintable() or c == "\t" for c in line):
            raise ValueError("no header field")
        name = name.lower()
        # A field that is repeated is one list (RFC 9110 section 5.3).
        found[name] = f"{found[name]}, {value.strip()}" if name in found else value.strip()
    return found


def _weights(header: str) -> list[tuple[str, float]]:
    found = []
    for item in header.split(",")[:_MAX_ITEMS]:
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        value = 1.0
        for parameter in parameters:
            key, _, text = parameter.partition("=")
            if key.strip() == "q":
                try:
                    value = float(text)
                except ValueError:
                    value = 0.0
                value = min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0
        found.append((name, value))
    return found


def quality(header: str, wanted: str) -> float:
    """The q-value that an Accept or Accept-Encoding header gives ``wanted``; 0 when it is not accepted."""
    kind, _, sub = wanted.partition("/")
    best = (0, 0.0)
    for name, value in _weights(header):
        rank = 3 if name == wanted else 2 if sub and name == f"{kind}/*" else 1 if name in ("*/*", "*") else 0
        if rank:
            # The most specific name decides (RFC 9110 section 12.5.1); of two that are equal, the higher value.
            best = max(best, (rank, value))
    return best[1]


def _wants_gzip(header: str) -> bool:
    gzipped = quality(header, "gzip")
    named = any(name == "identity" for name, _ in _weights(header))
    return gzipped > 0 and not (named and quality(header, "identity") > gzipped)
