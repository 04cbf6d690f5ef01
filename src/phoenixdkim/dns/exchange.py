"""One question to one name server: UDP, then TCP when the answer was truncated, all before a deadline.

What does not match the question (id, name, type, source) is passed over and the wait goes on, as such packets may be
forged (RFC 5452 section 9.1), up to a number at which guessing would begin to pay. Each question has a fresh socket,
so that the kernel picks a fresh random port. An answer over its limits is not parsed: a parser takes up to 20 µs an
octet for what is made to hurt it.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from phoenixdkim.dns.options import Nameserver

PAYLOAD: Final = 1232
"""UDP payload that EDNS offers: what passes everywhere without fragments (dnsflagday.net/2020)."""

MAX_STRAYS: Final = 64
"""Packets without the right id or question after which an attempt ends, and its port with it: one who knows the port
needs 65,536 guesses for the id."""

MAX_RECORDS: Final = 100
"""Records of an answer that are parsed. A chain of aliases with key records and their authority has thirty."""

Clock = Callable[[], float]


class ExchangeError(Exception):
    """The server could not be reached, or its answer is of no use."""


class ExchangeTimeoutError(ExchangeError):
    """No answer in time."""


class AnswerTooLargeError(Exception):
    """The answer has more octets or records than are parsed. ``authentic`` is its AD flag."""

    def __init__(self, *, authentic: bool) -> None:
        super().__init__("the answer is too large")
        self.authentic = authentic


def ask(
    server: Nameserver,
    name: dns.name.Name,
    kind: dns.rdatatype.RdataType,
    until: float,
    clock: Clock,
    *,
    max_octets: int = 65535,
    edns: bool = True,
    check: bool = True,
) -> dns.message.Message:
    """Ask one server one question.

    Args:
        until: when to give up, on ``clock``.
        max_octets: the most octets of an answer that are parsed.
        edns: offer EDNS(0); False for servers that know none.
        check: let the server validate; False asks for the records even if they don't (CD, RFC 4035 section 3.2.2).

    Raises:
        ExchangeTimeoutError: no matching answer came in time.
        ExchangeError: no route, refused by ICMP or TCP, cut off, or an answer that can't be read.
        AnswerTooLargeError: the answer is over a limit.
    """
    query = dns.message.make_query(
        name,
        kind,
        use_edns=0 if edns else -1,
        payload=PAYLOAD,
        flags=dns.flags.RD | dns.flags.AD | (dns.flags.Flag(0) if check else dns.flags.CD),
        id=secrets.randbelow(65536),
    )
    try:
        answer = _ask_udp(server, query, until, clock, max_octets)
        if answer is None:
            answer = _ask_tcp(server, query, until, clock, max_octets)
    except TimeoutError as error:
        raise ExchangeTimeoutError("no answer in time") from error
    except OSError as error:
        raise ExchangeError(error.strerror or str(error)) from error
    return answer


def _socket(server: Nameserver, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if server.is_ipv6 else socket.AF_INET
    return socket.socket(family, kind | socket.SOCK_CLOEXEC)


def _target(server: Nameserver, kind: socket.SocketKind) -> tuple[object, ...]:
    if "%" not in server.host:
        return (server.host, server.port)
    # A link-local address with its zone needs the number of the interface.
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return socket.getaddrinfo(server.host, server.port, socket.AF_INET6, kind, flags=flags)[0][4]


def _left(until: float, clock: Clock) -> float:
    left = until - clock()
    if left <= 0:
        raise TimeoutError
    return left


def _ask_udp(
    server: Nameserver, query: dns.message.Message, until: float, clock: Clock, max_octets: int
) -> dns.message.Message | None:
    """The answer, or None when it was truncated."""
    sock = _socket(server, socket.SOCK_DGRAM)
    try:
        sock.settimeout(_left(until, clock))
        # A connected socket takes packets of this server only, and learns of its ICMP errors.
        sock.connect(_target(server, socket.SOCK_DGRAM))
        sock.send(query.to_wire())
        for _ in range(MAX_STRAYS):
            sock.settimeout(_left(until, clock))
            wire = sock.recv(65535)
            if not _is_response(wire, query):
                continue
            # Of a truncated answer, and of one that is too large, only the question is read.
            truncated = bool(wire[2] & 0x02)
            large = not truncated and _is_large(wire, max_octets)
            answer = _parse(wire, question_only=truncated or large)
            if not _matches(answer, query):
                continue
            if large:
                raise AnswerTooLargeError(authentic=bool(answer.flags & dns.flags.AD))
            return None if truncated else answer
        raise ExchangeError("too many packets that are no answer to the question")
    finally:
        sock.close()


def _ask_tcp(
    server: Nameserver, query: dns.message.Message, until: float, clock: Clock, max_octets: int
) -> dns.message.Message:
    sock = _socket(server, socket.SOCK_STREAM)
    try:
        sock.settimeout(_left(until, clock))
        sock.connect(_target(server, socket.SOCK_STREAM))
        wire = query.to_wire()
        sock.settimeout(_left(until, clock))
        sock.sendall(len(wire).to_bytes(2, "big") + wire)
        size = int.from_bytes(_exactly(sock, 2, until, clock), "big")
        # Taken to its end whatever its size: a length that lies is no answer.
        wire = _exactly(sock, size, until, clock)
    finally:
        sock.close()
    if not _is_response(wire, query):
        raise ExchangeError("the answer over TCP is to another question")
    large = _is_large(wire, max_octets)
    answer = _parse(wire, question_only=large)
    if answer.flags & dns.flags.TC or not _matches(answer, query):
        raise ExchangeError("the answer over TCP is truncated or to another question")
    if large:
        raise AnswerTooLargeError(authentic=bool(answer.flags & dns.flags.AD))
    return answer


def _exactly(sock: socket.socket, size: int, until: float, clock: Clock) -> bytes:
    data = bytearray()
    while len(data) < size:
        sock.settimeout(_left(until, clock))
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise ExchangeError("the server closed the TCP connection in mid-answer")
        data += chunk
    return bytes(data)


def _is_response(wire: bytes, query: dns.message.Message) -> bool:
    return len(wire) >= 12 and int.from_bytes(wire[:2], "big") == query.id and bool(wire[2] & 0x80)


def _is_large(wire: bytes, max_octets: int) -> bool:
    records = sum(int.from_bytes(wire[at : at + 2], "big") for at in (6, 8, 10))
    return len(wire) > max_octets or records > MAX_RECORDS


def _parse(wire: bytes, *, question_only: bool) -> dns.message.Message:
    try:
        return dns.message.from_wire(wire, question_only=question_only, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError) as error:
        raise ExchangeError(f"malformed answer: {type(error).__name__}") from error


def _matches(answer: dns.message.Message, query: dns.message.Message) -> bool:
    if not answer.question:
        # Servers that give up early leave the question out; an answer with records must not.
        return answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN} and not answer.answer
    asked = query.question[0]
    return len(answer.question) == 1 and (
        answer.question[0].name == asked.name
        and answer.question[0].rdtype == asked.rdtype
        and answer.question[0].rdclass == asked.rdclass
    )
