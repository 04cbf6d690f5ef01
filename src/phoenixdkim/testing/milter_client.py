"""The MTA's side of the milter protocol, byte for byte.

The client says what Postfix 3.7 says, in its order, and keeps what the filter answers as raw bytes. Each step is a
public method, so that a test can stop in mid-message, skip a step, or send what no MTA would send (``send_packet``).
One client is one connection; it is used by one thread at a time.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from phoenixdkim.testing.milter_protocol import (
    ALL_ACTIONS,
    ALL_PROTOCOL,
    CHANGES,
    FINAL,
    Actions,
    Disposition,
    Field,
    Modification,
    Negotiated,
    Protocol,
    Reply,
    Step,
    modification,
)

MAX_PACKET: Final = 64 * 1024 * 1024
MAX_CHUNK: Final = 65535


class MilterError(Exception):
    """The filter broke the protocol."""


class MilterClosedError(MilterError, ConnectionError):
    """The filter closed the connection where an answer was due."""


Macros = Mapping[str, str | bytes]


def parse_address(address: str) -> tuple[int, str | tuple[str, int]]:
    """Address family and socket address of ``unix:/path`` or ``inet:port@host`` (host in brackets or not).

    Raises:
        ValueError: it is neither.
    """
    kind, _, rest = address.partition(":")
    if kind in {"unix", "local"} and rest:
        return socket.AF_UNIX, rest
    if kind in {"inet", "inet6"} and rest:
        port, _, host = rest.partition("@")
        host = host.strip("[]") or ("::1" if kind == "inet6" else "127.0.0.1")
        return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))
    raise ValueError(f"{address!r} is neither unix:/path nor inet:port@host")


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


class MilterClient:
    """One milter connection, seen from the MTA. A context manager: leaving it closes the socket without QUIT.

    Args:
        address: ``unix:/path`` or ``inet:port@host``.
        timeout: seconds that one answer may take.

    Raises:
        OSError: no connection.
        TimeoutError: from any step, when an answer takes too long.
    """

    def __init__(self, address: str, *, timeout: float = 30.0) -> None:
        family, target = parse_address(address)
        self.socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self.socket.settimeout(timeout)
            self.socket.connect(target)
            if family != socket.AF_UNIX:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            self.socket.close()
            raise
        self.negotiated: Negotiated | None = None
        self.connection_reply: Reply | None = None
        """The answer that ended CONNECT and HELO; None before them."""
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; no QUIT is sent."""
        self.socket.close()

    # Packets

    def send_packet(self, command: bytes, payload: bytes = b"") -> None:
        """Send one packet as it is."""
        self.socket.sendall(struct.pack("!I", len(command) + len(payload)) + command + payload)

    def _exactly(self, size: int) -> bytes:
        parts = bytearray(self._received[:size])
        self._received = self._received[size:]
        while len(parts) < size:
            chunk = self.socket.recv(max(size - len(parts), 4096))
            if not chunk:
                raise MilterClosedError("the filter closed the connection")
            needed = size - len(parts)
            parts += chunk[:needed]
            self._received = chunk[needed:]
        return bytes(parts)

    def receive_packet(self) -> tuple[bytes, bytes]:
        """Next packet of the filter: command and payload.

        Raises:
            MilterClosedError: end of file.
            MilterError: a length of 0 or above ``MAX_PACKET``.
        """
        (size,) = struct.unpack("!I", self._exactly(4))
        if not 0 < size <= MAX_PACKET:
            raise MilterError(f"packet of {size} octets")
        packet = self._exactly(size)
        return packet[:1], packet[1:]

    # Steps

    def negotiate(
        self,
        version: int = 6,
        actions: Actions | int = ALL_ACTIONS,
        protocol: Protocol | int = ALL_PROTOCOL,
    ) -> Negotiated:
        """Offer version, actions and protocol steps; return what the filter took.

        Raises:
            MilterError: the answer is no option packet, or takes what was not offered.
        """
        self.send_packet(b"O", struct.pack("!III", version, int(actions), int(protocol)))
        command, payload = self.receive_packet()
        if command != b"O" or len(payload) < 12:
            raise MilterError(f"answer to the negotiation is {command!r} with {len(payload)} octets")
        taken = struct.unpack("!III", payload[:12])
        if taken[1] & ~int(actions) or taken[2] & ~int(protocol):
            raise MilterError(f"the filter took more than was offered: {taken}")
        symbols: dict[int, bytes] = {}
        rest = payload[12:]
        while len(rest) > 4:
            names, _, rest_after = rest[4:].partition(b"\0")
            symbols[int.from_bytes(rest[:4], "big")] = names
            rest = rest_after
        self.negotiated = Negotiated(taken[0], Actions(taken[1]), Protocol(taken[2]), symbols)
        return self.negotiated

    def macros(self, step: Step, macros: Macros) -> None:
        """Define macros for a step; names as in ``i`` or ``{auth_authen}``."""
        pairs = b"".join(_bytes(name) + b"\0" + _bytes(value) + b"\0" for name, value in macros.items())
        self.send_packet(b"D", step.value[0] + pairs)

    def step(self, step: Step, payload: bytes = b"", macros: Macros | None = None) -> Reply:
        """Take one step: macros, the command unless it was negotiated away, and the answer unless that was.

        As Postfix and Sendmail do, macros are sent even for a step that is left out.
        """
        agreed = self.negotiated.protocol if self.negotiated is not None else Protocol(0)
        command, left_out, unanswered = step.value
        if macros:
            self.macros(step, macros)
        if agreed & left_out:
            return self._reply(Disposition.CONTINUE, step)
        self.send_packet(command, payload)
        if agreed & unanswered:
            return self._reply(Disposition.CONTINUE, step)
        return self.receive_reply(step)

    def _reply(
        self,
        disposition: Disposition,
        step: Step,
        smtp: bytes = b"",
        modifications: Iterable[Modification] = (),
        progress: int = 0,
    ) -> Reply:
        leading = self.negotiated is not None and Protocol.HDR_LEADSPC in self.negotiated.protocol
        return Reply(disposition, smtp, tuple(modifications), step, leading, progress)

    def receive_reply(self, step: Step) -> Reply:
        """Collect modifications until the answer that ends the step.

        Raises:
            MilterError: a packet that is not known, or a modification before the end of the message.
        """
        modifications: list[Modification] = []
        progress = 0
        while True:
            command, payload = self.receive_packet()
            if command == b"p":
                progress += 1
            elif command == b"y":
                text = payload.rstrip(b"\0")
                disposition = Disposition.TEMPFAIL if text[:1] == b"4" else Disposition.REJECT
                return self._reply(disposition, step, text, modifications, progress)
            elif command in FINAL:
                return self._reply(FINAL[command], step, b"", modifications, progress)
            elif command in CHANGES:
                if step is not Step.EOM:
                    raise MilterError(f"modification {command!r} in step {step.name}")
                modifications.append(modification(CHANGES[command], payload))
            else:
                raise MilterError(f"unknown answer {command!r} in step {step.name}")

    def connect(self, name: str | bytes, address: str, port: int = 4711, macros: Macros | None = None) -> Reply:
        """CONNECT: the client's name and its address; ``unknown`` as address for a client without one."""
        if address == "unknown":
            tail = b"U"
        elif address.startswith("/"):
            tail = b"L" + struct.pack("!H", 0) + _bytes(address) + b"\0"
        else:
            family = b"6" if ipaddress.ip_address(address).version == 6 else b"4"
            tail = family + struct.pack("!H", port) + _bytes(address) + b"\0"
        return self.step(Step.CONNECT, _bytes(name) + b"\0" + tail, macros)

    def helo(self, name: str | bytes, macros: Macros | None = None) -> Reply:
        """HELO or EHLO."""
        return self.step(Step.HELO, _bytes(name) + b"\0", macros)

    def mail(self, sender: str | bytes, *args: str | bytes, macros: Macros | None = None) -> Reply:
        """MAIL FROM: the address, angle brackets are added, and its ESMTP arguments."""
        return self.step(Step.MAIL, _path(sender) + b"".join(_bytes(a) + b"\0" for a in args), macros)

    def rcpt(self, recipient: str | bytes, *args: str | bytes, macros: Macros | None = None) -> Reply:
        """RCPT TO: one recipient."""
        return self.step(Step.RCPT, _path(recipient) + b"".join(_bytes(a) + b"\0" for a in args), macros)

    def data(self, macros: Macros | None = None) -> Reply:
        """DATA."""
        return self.step(Step.DATA, b"", macros)

    def header(self, name: bytes, value: bytes, macros: Macros | None = None) -> Reply:
        """One header field. Folds go out as LF and white space; without LEADSPC one leading blank is dropped."""
        value = value.replace(b"\r\n", b"\n")
        leading = self.negotiated is not None and Protocol.HDR_LEADSPC in self.negotiated.protocol
        if not leading and value[:1] == b" ":
            value = value[1:]
        return self.step(Step.HEADER, name + b"\0" + value + b"\0", macros)

    def eoh(self, macros: Macros | None = None) -> Reply:
        """End of the header."""
        return self.step(Step.EOH, b"", macros)

    def body(self, chunk: bytes, macros: Macros | None = None) -> Reply:
        """One chunk of the body."""
        return self.step(Step.BODY, chunk, macros)

    def eom(self, macros: Macros | None = None) -> Reply:
        """End of the message."""
        return self.step(Step.EOM, b"", macros)

    def abort(self) -> None:
        """Forget the message; the connection stays."""
        self.send_packet(b"A")

    def quit(self) -> None:
        """End the connection and close."""
        self.send_packet(b"Q")
        self.close()

    def quit_nc(self) -> None:
        """End this client's session; the next CONNECT comes over the same connection."""
        self.send_packet(b"K")
        self.connection_reply = None

    # Messages

    def open_session(
        self, *, client_name: str = "localhost", client_address: str = "127.0.0.1", helo: str = "client.example"
    ) -> Reply:
        """Negotiate unless done, then CONNECT and HELO unless done; the answer that ended them."""
        if self.negotiated is None:
            self.negotiate()
        if self.connection_reply is None:
            macros = {"j": "mta.example", "{daemon_name}": "mta.example", "v": "Postfix 3.7.11"}
            reply = self.connect(client_name, client_address, macros=macros | {"{client_addr}": client_address})
            if reply.disposition is Disposition.CONTINUE:
                reply = self.helo(helo)
            self.connection_reply = reply
        return self.connection_reply

    def send_message(
        self,
        fields: Sequence[Field],
        body: bytes,
        *,
        sender: str | bytes = "sender@example.com",
        recipients: Sequence[str | bytes] = ("recipient@example.net",),
        client_address: str = "127.0.0.1",
        client_name: str = "localhost",
        macros: Macros | None = None,
        chunk_size: int = MAX_CHUNK,
    ) -> Reply:
        """Send one message as Postfix does, on this connection; the answer to it.

        Args:
            fields: the header, each value with its leading blank.
            body: the body with CRLF line ends, as the wire has it.
            client_address: address of the client; used by the first message of the connection.
            macros: ``i`` goes with RCPT and all later steps, the others with MAIL too.
            chunk_size: octets in a body packet.

        Returns:
            The reply that ended the message: that of its end, or an earlier one that was not "continue". As Postfix
            does, ABORT follows in each case.
        """
        try:
            return self._message(
                fields, body, sender, recipients, client_address, client_name, dict(macros or {}), chunk_size
            )
        finally:
            # A filter that closed the connection needs none; what it did is told by the reply or the exception.
            with contextlib.suppress(OSError):
                self.abort()

    def _message(
        self,
        fields: Sequence[Field],
        body: bytes,
        sender: str | bytes,
        recipients: Sequence[str | bytes],
        client_address: str,
        client_name: str,
        given: dict[str, str | bytes],
        chunk_size: int,
    ) -> Reply:
        queue_id = {"i": given.get("i", "4QueueId00")}
        early = {name: value for name, value in given.items() if name != "i"}
        reply = self.open_session(client_name=client_name, client_address=client_address)
        if reply.disposition is not Disposition.CONTINUE:
            return reply
        reply = self.mail(sender, macros={"{mail_addr}": _bytes(sender).strip(b"<>"), **early})
        if reply.disposition is not Disposition.CONTINUE:
            return reply
        accepted = 0
        for recipient in recipients:
            reply = self.rcpt(recipient, macros={**queue_id, "{rcpt_addr}": _bytes(recipient).strip(b"<>")})
            if reply.disposition in {Disposition.ACCEPT, Disposition.DISCARD, Disposition.SHUTDOWN}:
                return reply
            accepted += reply.disposition is Disposition.CONTINUE
        if not accepted:
            return reply
        reply = self.data(macros=queue_id)
        if reply.disposition is not Disposition.CONTINUE:
            return reply
        for name, value in fields:
            reply = self.header(name, value, macros=queue_id)
            if reply.disposition is not Disposition.CONTINUE:
                return reply
        reply = self.eoh(macros=queue_id)
        if reply.disposition is not Disposition.CONTINUE:
            return reply
        for start in range(0, len(body), chunk_size):
            reply = self.body(body[start : start + chunk_size], macros=queue_id)
            if reply.disposition is Disposition.SKIP:
                break
            if reply.disposition is not Disposition.CONTINUE:
                return reply
        return self.eom(macros=queue_id)


def _path(address: str | bytes) -> bytes:
    return b"<" + _bytes(address).strip(b"<>") + b">\0"
