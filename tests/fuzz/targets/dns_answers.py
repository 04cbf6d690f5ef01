"""Answers of name servers, through the resolver's own code with sockets that bring what the input says.

Oracle: a question never raises for what comes; a key is found only when a datagram or stream that answers the question
was among what came; what is kept has a bounded time to live.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from fuzz.honest import ED25519
from fuzz.target import Target, check
from phoenixdkim.dkim.keys import KeyOutcome
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dns import exchange
from phoenixdkim.dns.options import ResolverOptions
from phoenixdkim.dns.question import NetworkSource
from phoenixdkim.events import DnsResult
from phoenixdkim.keystore import public_record

NAME = dns.name.from_text("s._domainkey.honest.example.")
ID = 0x1234
OPTIONS = ResolverOptions(nameservers=("127.0.0.1:53",), query_timeout=1.0, dnssec_probe="")
_QUESTION = NAME.to_wire() + struct.pack("!HH", dns.rdatatype.TXT, dns.rdataclass.IN)
AS_IT_IS, ANSWER, RESPONSE = range(3)


class _Socket:
    """Brings the pieces one after the other, whatever is asked."""

    def __init__(self, pieces: Iterator[bytes], kind: int) -> None:
        self._pieces = pieces
        self._stream = None if kind == exchange.socket.SOCK_DGRAM else b""

    def settimeout(self, seconds: float) -> None:
        check(0 < seconds <= 2 * OPTIONS.query_timeout, "a wait without bounds", seconds)

    def connect(self, target: object) -> None:
        pass

    def send(self, wire: bytes) -> None:
        check(wire.count(b"\x12\x34", 0, 4) == 1, "not our question", wire)

    sendall = send

    def recv(self, size: int) -> bytes:
        if self._stream is None:
            try:
                return next(self._pieces)[:size]
            except StopIteration:
                raise TimeoutError from None
        if not self._stream:
            piece = next(self._pieces, b"")
            self._stream = struct.pack("!H", len(piece)) + piece if piece else b""
        taken, self._stream = self._stream[:size], self._stream[size:]
        return taken

    def close(self) -> None:
        pass


def execute(data: bytes) -> None:
    """Pieces with two octets before each: how it is made to fit the question, and its length."""
    pieces = list(_pieces(data))
    waiting = iter(pieces)
    ticks = itertools.count()
    clock: Callable[[], float] = lambda: next(ticks) / 64  # noqa: E731
    saved = exchange._socket, exchange.secrets
    # The module's own names are replaced; nothing of the network is there.
    exchange._socket = lambda _server, kind: _Socket(waiting, kind)  # type: ignore[assignment,return-value]
    exchange.secrets = SimpleNamespace(randbelow=lambda _: ID)  # type: ignore[assignment]
    try:
        ended = NetworkSource(OPTIONS, Limits(), clock).ask(NAME, 30.0)
    finally:
        exchange._socket, exchange.secrets = saved
    answer = ended.answer
    check(0 <= ended.ttl <= OPTIONS.max_ttl, "time to live", ended.ttl)
    if ended.result is DnsResult.SUCCESS or answer.keys == (Reason.DNS_ANSWER_TOO_LARGE,):
        check(answer.outcome is not KeyOutcome.UNAVAILABLE, "unavailable, and counted as had", ended)
    else:
        check(answer.outcome is KeyOutcome.UNAVAILABLE, "had, and counted as an error", ended)
    if answer.outcome is not KeyOutcome.UNAVAILABLE:
        check(any(_answers(piece) for piece in pieces), "an answer out of nothing", ended)
    if answer.dnssec is DnssecStatus.SECURE:
        check(any(piece[3:4] and piece[3] & 0x20 for piece in pieces), "secure without AD", ended)


def _answers(piece: bytes) -> bool:
    return piece[:2] == struct.pack("!H", ID) and len(piece) >= 12 and bool(piece[2] & 0x80)


def _pieces(data: bytes) -> Iterator[bytes]:
    while len(data) > 2:
        how, size = data[0] % 3, data[1] * 2
        wire, data = data[2 : 2 + size], data[2 + size :]
        if how != AS_IT_IS and len(wire) >= 12:
            # Our id, and the bit of a response; the question as it was put.
            wire = struct.pack("!HB", ID, wire[2] | 0x80) + wire[3:]
            if how == ANSWER:
                wire = wire[:4] + b"\0\1" + wire[6:12] + _QUESTION + wire[12:]
        yield wire


def _piece(fill: Callable[[Any], None], how: int = ANSWER, flags: int = 0) -> bytes:
    message = dns.message.make_response(dns.message.make_query(NAME, "TXT", use_edns=0, payload=1232))
    message.flags |= flags
    fill(message)
    wire = message.to_wire()
    wire = wire[:12] + wire[12 + len(_QUESTION) :] if how == ANSWER else wire
    wire += b"\0" * (len(wire) % 2)
    return bytes((how, len(wire) // 2)) + wire


def _rrset(text: str) -> Callable[[Any], None]:
    def fill(message: Any) -> None:
        for line in text.split("\n"):
            name, ttl, kind, value = line.split(" ", 3)
            section = message.authority if kind == "SOA" else message.answer
            section.append(dns.rrset.from_text(name, int(ttl), "IN", kind, value))

    return fill


def seeds() -> Iterator[bytes]:
    own = NAME.to_text()
    key = public_record(ED25519).decode()
    yield _piece(_rrset(f'{own} 300 TXT "{key}"'), flags=dns.flags.AD)
    yield _piece(_rrset(f'{own} 300 TXT "{key[:20]}" "{key[20:]}"\n{own} 300 TXT "v=spf1 -all"'), RESPONSE)
    yield _piece(_rrset(f"{own} 60 CNAME b.example.\nb.example. 60 CNAME {own}"))
    yield _piece(_rrset(f'{own} 60 CNAME b.example.\nb.example. 5 TXT "{key}"'))
    yield _piece(_rrset("example. 60 SOA a. b. 1 2 3 4 5")) * 3
    yield _piece(lambda _: None, flags=dns.flags.TC) + _piece(_rrset(f'{own} 300 TXT "{key}"'))
    yield _piece(lambda message: message.set_rcode(2)) * 4
    yield _piece(lambda message: message.set_rcode(1)) + _piece(_rrset(f'{own} 300 TXT "{key}"'))
    yield b"\0\x06" + bytes(12)


TARGET = Target(
    execute, seeds, (b"\xc0\x0c", b"\0\x10\0\1", b"\0\5\0\1", b"\0\6\0\1", b"\0\x29", b"\0\0\1\x2c", b"\xff" * 4), 768
)
