"""How the scripted DNS server answers: right, wrong, late, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import dns.message
import dns.rcode


class Tcp(StrEnum):
    """How a name is answered over TCP. A server made with ``tcp=False`` refuses the connection instead."""

    ANSWER = "answer"
    CLOSE = "close"
    """Take the connection and close it without an answer."""
    SILENT = "silent"
    """Take the connection and say nothing."""
    CUT = "cut"
    """Close in mid-answer."""
    HANG = "hang"
    """Stop in mid-answer, and leave the connection open."""
    LONG_LENGTH = "long-length"
    """Announce twice the octets that follow, and leave the connection open."""
    LONG_LENGTH_CLOSED = "long-length-closed"
    """Announce twice the octets that follow, then close."""
    SHORT_LENGTH = "short-length"
    """Announce half the octets that follow."""
    NO_LENGTH = "no-length"
    """Announce an answer of no octets."""


class Fault(StrEnum):
    """What is wrong with an answer, over UDP and TCP alike unless it says otherwise."""

    NONE = "none"
    DROP = "drop"
    WRONG_ID = "wrong-id"
    WRONG_QUESTION = "wrong-question"
    NO_QUESTION = "no-question"
    WRONG_SOURCE = "wrong-source"
    """UDP only: the answer comes from another port."""
    COMPRESSION_LOOP = "compression-loop"
    SHORT = "short"
    """Shorter than the header of a DNS message."""
    GARBAGE = "garbage"
    """The right id and question, then octets without meaning."""
    WRONG_TYPE = "wrong-type"
    NOT_A_RESPONSE = "not-a-response"
    REFERRAL = "referral"
    """No records, but name servers to ask instead: the server does not recurse."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one name is answered.

    Attributes:
        records: TXT records, each a tuple of character-strings of at most 255 octets.
        cname: target of an alias; with ``whole_chain`` its records follow in the same answer.
        rcode: the response code; an error code goes out without records.
        ttl: of the records, in seconds.
        soa_minimum: minimum of the SOA in negative answers, in seconds; None for no SOA.
        delay: seconds before the answer.
        gate: the answer waits until this is set: a test can see several questions before any has its answer.
        fault: what is wrong with it.
        truncate: answer UDP with TC and no records.
        tcp: what happens over TCP.
        authentic: set the AD flag.
        extended_error: info-code of an Extended DNS Error (RFC 8914), or None.
        whole_chain: follow the alias in the answer, as a recursive server does.
        right_answer_after: seconds after which the right answer follows a faulty one; None for never.
        right_answer: what follows then; None for the same without the fault.
        failures: the first so many questions are answered with SERVFAIL.
        unvalidated: how it is answered when the question has CD (RFC 4035 section 3.2.2); None for the same way.
        wire: makes the octets of the answer from the question, instead of all of the above that shape them.
    """

    records: tuple[tuple[bytes, ...], ...] = ()
    cname: str | None = None
    rcode: int = dns.rcode.NOERROR
    ttl: int = 300
    soa_minimum: int | None = 60
    delay: float = 0.0
    gate: threading.Event | None = None
    fault: Fault = Fault.NONE
    truncate: bool = False
    tcp: Tcp = Tcp.ANSWER
    authentic: bool = False
    extended_error: int | None = None
    whole_chain: bool = True
    right_answer_after: float | None = None
    right_answer: Behaviour | None = None
    failures: int = 0
    unvalidated: Behaviour | None = None
    wire: Callable[[dns.message.Message], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One question that arrived.

    Attributes:
        name: in lower case, without final dot; empty for the root.
        kind: the type, as in ``TXT``.
        transport: ``udp`` or ``tcp``.
        edns: the UDP payload that it offers; -1 without EDNS.
        source_port: of the client.
        id: of the message.
        authentic_wanted: AD is set (RFC 6840 section 5.7).
        checking_disabled: CD is set (RFC 4035 section 3.2.2).
    """

    name: str
    kind: str
    transport: str
    edns: int
    source_port: int
    id: int
    authentic_wanted: bool
    checking_disabled: bool


def txt(*strings: bytes) -> tuple[bytes, ...]:
    """One TXT record; a string above 255 octets is cut into character-strings."""
    return tuple(s[i : i + 255] for s in strings for i in range(0, max(len(s), 1), 255))
