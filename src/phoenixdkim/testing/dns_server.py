"""A DNS server on loopback that answers as scripted, rightly or wrongly, over UDP and TCP.

Each name has a behaviour; a name without one does not exist. Questions are counted, so that a test can say how often
the network was asked.

    with ScriptedDnsServer() as server:
        server.set_txt("s._domainkey.example.com", b"v=DKIM1; p=...")
        server.set("slow._domainkey.example.com", Behaviour(delay=4.9))
        server.set("gone._domainkey.example.com", Behaviour(truncate=True, tcp=Tcp.HANG))
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from phoenixdkim.testing.dns_behaviour import Behaviour, Fault, Question, Tcp, txt
from phoenixdkim.testing.dns_wire import answer_wire, plain_name

__all__ = ["Behaviour", "Fault", "Question", "ScriptedDnsServer", "Tcp", "txt"]


def _readable(sock: socket.socket) -> bool:
    """Whether something arrives within 50 ms; poll(2) takes any descriptor, select(2) only those below 1024."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(50))


class ScriptedDnsServer:
    """The server; a context manager. ``address`` is what a resolver's list of name servers takes.

    Args:
        host: loopback address to listen on, IPv4 or IPv6.
        port: UDP and TCP port, 0 for a free one.
        tcp: take TCP connections; otherwise they are refused.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, tcp: bool = True) -> None:
        self.host = host
        self._behaviours: dict[str, Behaviour] = {}
        self._default = Behaviour(rcode=dns.rcode.NXDOMAIN)
        self._questions: list[Question] = []
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self._stopping = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for _ in range(50):
            self._udp = socket.socket(family, socket.SOCK_DGRAM)
            self._tcp = socket.socket(family, socket.SOCK_STREAM)
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self._udp.bind((host, port))
                self._port: int = self._udp.getsockname()[1]
                # Bound even when nobody listens: the port is then nobody else's either, and connections are refused.
                self._tcp.bind((host, self._port))
                if tcp:
                    self._tcp.listen(64)
                break
            except OSError:
                # Another program has the port, or the TCP port of that number.
                self._udp.close()
                self._tcp.close()
                if port:
                    raise
        else:
            raise OSError("no port is free for UDP and TCP")
        # A flood must not be lost before it is counted.
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._start(self._serve_udp)
        if tcp:
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

    def wait_for_questions(
        self, count: int, name: str | None = None, transport: str | None = None, timeout: float = 30.0
    ) -> Sequence[Question]:
        """Wait until so many questions have arrived, of one name, over one transport; those that have.

        Raises:
            TimeoutError: they have not.
        """
        deadline = time.monotonic() + timeout
        while len(asked := self.questions(name, transport)) < count:
            with self._arrived:
                if (left := deadline - time.monotonic()) <= 0:
                    raise TimeoutError(f"{len(asked)} questions in {timeout} s, not {count}")
                # Not longer: one may have arrived since the look.
                self._arrived.wait(min(left, 0.05))
        return asked

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive() or t.ident is None]
            self._threads.append(thread)
        thread.start()

    def _serve_udp(self) -> None:
        while not self._stopping.is_set():
            if not _readable(self._udp):
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
            if behaviour.delay or behaviour.gate is not None or behaviour.right_answer_after is not None:
                self._start(self._answer_udp, query, behaviour, client)
            else:
                self._answer_udp(query, behaviour, client)

    def _answer_udp(self, query: dns.message.Message, behaviour: Behaviour, client: tuple[str, int]) -> None:
        if not self._time_to_answer(behaviour):
            return
        if behaviour.fault is not Fault.DROP:
            wire = answer_wire(query, behaviour, self._find, truncate=behaviour.truncate)
            if behaviour.fault is Fault.WRONG_SOURCE:
                with socket.socket(self._udp.family, socket.SOCK_DGRAM) as other, contextlib.suppress(OSError):
                    other.bind((self.host, 0))
                    other.sendto(wire, client)
            else:
                self._send_udp(wire, client)
        if behaviour.right_answer_after is not None and not self._stopping.wait(behaviour.right_answer_after):
            right = behaviour.right_answer or replace(behaviour, fault=Fault.NONE)
            self._send_udp(answer_wire(query, right, self._find, truncate=right.truncate), client)

    def _time_to_answer(self, behaviour: Behaviour) -> bool:
        """Wait for it; False when the server stops first."""
        while behaviour.gate is not None and not behaviour.gate.wait(0.05):
            if self._stopping.is_set():
                return False
        return not self._stopping.wait(behaviour.delay)

    def _send_udp(self, wire: bytes, client: tuple[str, int]) -> None:
        # The client may be gone.
        with contextlib.suppress(OSError):
            self._udp.sendto(wire, client)

    def _serve_tcp(self) -> None:
        while not self._stopping.is_set():
            if not _readable(self._tcp):
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
                if behaviour.fault is Fault.DROP or not self._time_to_answer(behaviour):
                    return
                self._say(connection, behaviour.tcp, answer_wire(query, behaviour, self._find, truncate=False))
        except OSError:
            # The client went away: its right.
            pass
        finally:
            with self._lock:
                self._sockets.discard(connection)

    def _say(self, connection: socket.socket, how: Tcp, wire: bytes) -> None:
        size, sent, stays = len(wire), wire, False
        match how:
            case Tcp.CLOSE:
                return
            case Tcp.SILENT:
                # Until the client gives up.
                connection.settimeout(30)
                connection.recv(1)
                return
            case Tcp.CUT | Tcp.HANG:
                sent, stays = wire[: size // 2], how is Tcp.HANG
            case Tcp.LONG_LENGTH | Tcp.LONG_LENGTH_CLOSED:
                size, stays = min(size * 2, 65535), how is Tcp.LONG_LENGTH
            case Tcp.SHORT_LENGTH:
                size //= 2
            case Tcp.NO_LENGTH:
                size = 0
            case Tcp.ANSWER:
                pass
        connection.sendall(struct.pack("!H", size) + sent)
        if stays:
            connection.settimeout(30)
            connection.recv(1)

    def _note(self, wire: bytes, transport: str, port: int) -> dns.message.Message | None:
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return None
        if not query.question:
            return None
        asked = query.question[0]
        question = Question(
            plain_name(asked.name),
            dns.rdatatype.to_text(asked.rdtype),
            transport,
            query.payload if query.edns >= 0 else -1,
            port,
            query.id,
            bool(query.flags & dns.flags.AD),
            bool(query.flags & dns.flags.CD),
        )
        with self._arrived:
            self._questions.append(question)
            self._arrived.notify_all()
        return query

    def _find(self, name: str) -> Behaviour:
        with self._lock:
            return self._behaviours.get(name, self._default)

    def _behaviour(self, query: dns.message.Message) -> Behaviour:
        name = plain_name(query.question[0].name)
        with self._lock:
            behaviour = self._behaviours.get(name, self._default)
            if behaviour.failures > 0:
                self._behaviours[name] = replace(behaviour, failures=behaviour.failures - 1)
                return replace(behaviour, rcode=dns.rcode.SERVFAIL)
        if query.flags & dns.flags.CD and behaviour.unvalidated is not None:
            return behaviour.unvalidated
        return behaviour


def _read_tcp(connection: socket.socket) -> bytes:
    data = b""
    deadline = time.monotonic() + 10
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        chunk = connection.recv(65535)
        if not chunk or time.monotonic() > deadline:
            return b""
        data += chunk
    return data[2:]
