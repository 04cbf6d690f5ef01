"""A DNS server on loopback that answers as scripted, rightly or wrongly, over UDP and TCP.

Each name has a behaviour; a name without one does not exist. Questions are counted, so that a test can say how often
the network was asked.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.TXT import TXT

MAX_CHAIN: Final = 40


class Tcp(StrEnum):
    """How the server behaves over TCP."""

    ANSWER = "answer"
    REFUSE = "refuse"
    HANG = "hang"
    LYING_LENGTH = "lying-length"


class Fault(StrEnum):
    """What is wrong with an answer."""

    NONE = "none"
    DROP = "drop"
    WRONG_ID = "wrong-id"
    WRONG_QUESTION = "wrong-question"
    NO_QUESTION = "no-question"
    WRONG_SOURCE = "wrong-source"
    COMPRESSION_LOOP = "compression-loop"
    SHORT = "short"
    WRONG_TYPE = "wrong-type"
    NOT_A_RESPONSE = "not-a-response"


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
        fault: what is wrong with it.
        truncate: answer UDP with TC and no records.
        tcp: what happens over TCP.
        authentic: set the AD flag.
        extended_error: info-code of an Extended DNS Error (RFC 8914), or None.
        whole_chain: follow the alias in the answer, as a recursive server does.
        right_answer_after: seconds after which the right answer follows a faulty one; None for never.
        failures: the first so many questions are answered with SERVFAIL.
    """

    records: tuple[tuple[bytes, ...], ...] = ()
    cname: str | None = None
    rcode: int = dns.rcode.NOERROR
    ttl: int = 300
    soa_minimum: int | None = 60
    delay: float = 0.0
    fault: Fault = Fault.NONE
    truncate: bool = False
    tcp: Tcp = Tcp.ANSWER
    authentic: bool = False
    extended_error: int | None = None
    whole_chain: bool = True
    right_answer_after: float | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """One question that arrived: name in lower case without final dot, type, transport, EDNS."""

    name: str
    kind: str
    transport: str
    edns: int
    source_port: int
    id: int
    authentic_wanted: bool


def txt(*strings: bytes) -> tuple[bytes, ...]:
    """One TXT record; a string above 255 octets is cut into character-strings."""
    return tuple(s[i : i + 255] for s in strings for i in range(0, max(len(s), 1), 255))


class ScriptedDnsServer:
    """The server; a context manager. ``address`` is what a resolver's list of name servers takes.

    Args:
        host: loopback address to listen on, IPv4 or IPv6.
        port: UDP and TCP port, 0 for a free one.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self._behaviours: dict[str, Behaviour] = {}
        self._default = Behaviour(rcode=dns.rcode.NXDOMAIN)
        self._questions: list[Question] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self._stopping = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for _ in range(50):
            self._udp = socket.socket(family, socket.SOCK_DGRAM)
            self._udp.bind((host, port))
            self._port: int = self._udp.getsockname()[1]
            self._tcp = socket.socket(family, socket.SOCK_STREAM)
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self._tcp.bind((host, self._port))
                self._tcp.listen(64)
                break
            except OSError:
                # Another program has the TCP port of that number.
                self._udp.close()
                self._tcp.close()
                if port:
                    raise
        self._start(self._serve_udp)
        self._start(self._serve_tcp)

    @property
    def address(self) -> str:
        """``addr:port``, or ``[v6]:port``."""
        return f"[{self.host}]:{self._port}" if ":" in self.host else f"{self.host}:{self._port}"

    @property
    def port(self) -> int:
        """The port, UDP and TCP."""
        return self._port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering, close all sockets, end all threads."""
        self._stopping.set()
        with self._lock:
            threads, sockets = list(self._threads), list(self._sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()

    def set(self, name: str, behaviour: Behaviour) -> None:
        """Answer ``name`` like this from now on."""
        with self._lock:
            self._behaviours[name.lower().rstrip(".")] = behaviour

    def set_txt(self, name: str, *records: bytes, ttl: int = 300) -> None:
        """Answer ``name`` with these TXT records."""
        self.set(name, Behaviour(records=tuple(txt(r) for r in records), ttl=ttl))

    def set_default(self, behaviour: Behaviour) -> None:
        """Answer all other names like this; NXDOMAIN at first."""
        self._default = behaviour

    def remove(self, name: str) -> None:
        """Let ``name`` be answered like any other."""
        with self._lock:
            self._behaviours.pop(name.lower().rstrip("."), None)

    def clear(self) -> None:
        """Forget what was said of each name."""
        with self._lock:
            self._behaviours.clear()

    def questions(self, name: str | None = None, transport: str | None = None) -> Sequence[Question]:
        """What was asked, in order; of one name, over one transport (``udp``, ``tcp``)."""
        with self._lock:
            asked = list(self._questions)
        wanted = name.lower().rstrip(".") if name is not None else None
        return [q for q in asked if wanted in (None, q.name) and transport in (None, q.transport)]

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive() or t.ident is None]
            self._threads.append(thread)
        thread.start()

    def _serve_udp(self) -> None:
        while not self._stopping.is_set():
            if not select.select([self._udp], [], [], 0.05)[0]:
                continue
            try:
                wire, client = self._udp.recvfrom(65535)
            except OSError:
                # ICMP errors of clients that went away are told on the next call.
                continue
            query = self._note(wire, "udp", client[1])
            if query is None:
                continue
            behaviour = self._behaviour(query)
            if behaviour.delay or behaviour.right_answer_after is not None:
                self._start(self._answer_udp, query, behaviour, client)
            else:
                self._answer_udp(query, behaviour, client)

    def _answer_udp(self, query: dns.message.Message, behaviour: Behaviour, client: tuple[str, int]) -> None:
        if self._stopping.wait(behaviour.delay):
            return
        if behaviour.fault is not Fault.DROP:
            wire = self._wire(query, behaviour, truncate=behaviour.truncate)
            if behaviour.fault is Fault.WRONG_SOURCE:
                with socket.socket(self._udp.family, socket.SOCK_DGRAM) as other, contextlib.suppress(OSError):
                    other.bind((self.host, 0))
                    other.sendto(wire, client)
            else:
                self._send_udp(wire, client)
        if behaviour.right_answer_after is not None and not self._stopping.wait(behaviour.right_answer_after):
            right = replace(behaviour, fault=Fault.NONE)
            self._send_udp(self._wire(query, right, truncate=behaviour.truncate), client)

    def _send_udp(self, wire: bytes, client: tuple[str, int]) -> None:
        # The client may be gone.
        with contextlib.suppress(OSError):
            self._udp.sendto(wire, client)

    def _serve_tcp(self) -> None:
        while not self._stopping.is_set():
            if not select.select([self._tcp], [], [], 0.05)[0]:
                continue
            try:
                connection, client = self._tcp.accept()
            except OSError:
                continue
            self._start(self._answer_tcp, connection, client[1])

    def _answer_tcp(self, connection: socket.socket, port: int) -> None:
        with self._lock:
            self._sockets.add(connection)
        try:
            with connection:
                connection.settimeout(10)
                query = self._note(_read_tcp(connection), "tcp", port)
                if query is None:
                    return
                behaviour = self._behaviour(query)
                if behaviour.tcp is Tcp.REFUSE or behaviour.fault is Fault.DROP or self._stopping.wait(behaviour.delay):
                    return
                wire = self._wire(query, behaviour, truncate=False)
                if behaviour.tcp is Tcp.ANSWER:
                    connection.sendall(struct.pack("!H", len(wire)) + wire)
                elif behaviour.tcp is Tcp.LYING_LENGTH:
                    connection.sendall(struct.pack("!H", min(len(wire) * 2, 65535)) + wire)
                else:
                    connection.sendall(struct.pack("!H", len(wire)) + wire[: len(wire) // 2])
                    self._stopping.wait(10)
        except OSError:
            # The client went away: its right.
            pass
        finally:
            with self._lock:
                self._sockets.discard(connection)

    def _note(self, wire: bytes, transport: str, port: int) -> dns.message.Message | None:
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return None
        if not query.question:
            return None
        asked = query.question[0]
        question = Question(
            asked.name.to_text(omit_final_dot=True).lower(),
            dns.rdatatype.to_text(asked.rdtype),
            transport,
            query.payload if query.edns >= 0 else -1,
            port,
            query.id,
            bool(query.flags & dns.flags.AD),
        )
        with self._lock:
            self._questions.append(question)
        return query

    def _behaviour(self, query: dns.message.Message) -> Behaviour:
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        with self._lock:
            behaviour = self._behaviours.get(name, self._default)
            if behaviour.failures > 0:
                self._behaviours[name] = replace(behaviour, failures=behaviour.failures - 1)
                return replace(behaviour, rcode=dns.rcode.SERVFAIL)
            return behaviour

    def _wire(self, query: dns.message.Message, behaviour: Behaviour, *, truncate: bool) -> bytes:
        if behaviour.fault is Fault.SHORT:
            return struct.pack("!H", query.id) + b"\x80"
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(dns.rcode.Rcode(behaviour.rcode))
        if behaviour.extended_error is not None and query.edns >= 0:
            code = dns.edns.EDECode(behaviour.extended_error)
            response.use_edns(0, options=[dns.edns.EDEOption(code)])
        if behaviour.authentic:
            response.flags |= dns.flags.AD
        if truncate:
            response.flags |= dns.flags.TC
        elif behaviour.rcode in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            self._fill(response, query.question[0], behaviour)
        match behaviour.fault:
            case Fault.WRONG_ID:
                response.id = (query.id + 1) & 0xFFFF
            case Fault.WRONG_QUESTION:
                response.question = [
                    dns.rrset.RRset(dns.name.from_text("other.example."), dns.rdataclass.IN, dns.rdatatype.TXT)
                ]
            case Fault.NO_QUESTION:
                response.question = []
            case Fault.NOT_A_RESPONSE:
                response.flags &= ~dns.flags.QR
            case Fault.COMPRESSION_LOOP:
                # One question, one answer whose owner name points at itself.
                head = response.to_wire()[:12]
                question = query.question[0].name.to_wire() or b""
                body = question + struct.pack("!HH", 16, 1)
                start = 12 + len(body)
                loop = struct.pack("!HHHIH", 0xC000 | start, 16, 1, 300, 2) + b"\x01a"
                return head[:4] + struct.pack("!HHHH", 1, 1, 0, 0) + body + loop
            case _:
                pass
        return response.to_wire(max_size=65535)

    def _fill(self, response: dns.message.Message, asked: dns.rrset.RRset, behaviour: Behaviour) -> None:
        owner = asked.name
        with self._lock:
            behaviours = dict(self._behaviours)
        for _ in range(MAX_CHAIN):
            if behaviour.cname is None:
                break
            target = dns.name.from_text(behaviour.cname)
            response.answer.append(dns.rrset.from_text(owner, behaviour.ttl, "IN", "CNAME", target.to_text()))
            if not behaviour.whole_chain:
                return
            owner = target
            behaviour = behaviours.get(owner.to_text(omit_final_dot=True).lower(), self._default)
            response.set_rcode(dns.rcode.Rcode(behaviour.rcode))
        if behaviour.fault is Fault.WRONG_TYPE:
            response.answer.append(dns.rrset.from_text(owner, behaviour.ttl, "IN", "A", "192.0.2.1"))
        elif behaviour.records and asked.rdtype == dns.rdatatype.TXT:
            rdatas = [TXT(dns.rdataclass.IN, dns.rdatatype.TXT, strings) for strings in behaviour.records]
            response.answer.append(dns.rrset.from_rdata_list(owner, behaviour.ttl, rdatas))
        elif behaviour.soa_minimum is not None and behaviour.cname is None:
            soa = f"ns.example. hostmaster.example. 1 3600 600 86400 {behaviour.soa_minimum}"
            response.authority.append(dns.rrset.from_text("example.", 86400, "IN", "SOA", soa))


def _read_tcp(connection: socket.socket) -> bytes:
    data = b""
    deadline = time.monotonic() + 10
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        chunk = connection.recv(65535)
        if not chunk or time.monotonic() > deadline:
            return b""
        data += chunk
    return data[2:]
