"""The milter client says, packet for packet, what a real Postfix says."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from integration.postfix import Postfix
from phoenixdkim.testing.milter_client import MilterClient
from phoenixdkim.testing.milter_protocol import Protocol

pytestmark = pytest.mark.postfix

Packet = tuple[bytes, bytes]


class Recorder:
    """A filter that agrees to all and keeps what it was told, by connection."""

    def __init__(self, protocol: int) -> None:
        self._protocol = protocol
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[list[Packet]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            packets: list[Packet] = []
            self.connections.append(packets)
            with connection, connection.makefile("rb") as stream:
                while head := stream.read(4):
                    packet = stream.read(struct.unpack("!I", head)[0])
                    packets.append((packet[:1], packet[1:]))
                    self._answer(connection, packet[:1], packet[1:])

    def _answer(self, connection: socket.socket, command: bytes, payload: bytes) -> None:
        if command == b"O":
            offered = struct.unpack("!III", payload[:12])
            reply = b"O" + struct.pack("!III", 6, offered[1], offered[2] & self._protocol)
        elif command in b"DAQK" or (command == b"L" and self._protocol & Protocol.NR_HDR):
            return
        else:
            reply = b"c"
        connection.sendall(struct.pack("!I", len(reply)) + reply)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


FIELDS = [
    (b"From", b" Ann <ann@example.com>"),
    (b"To", b" b@example.net"),
    (b"Subject", b"  two blanks"),
    (b"X-Folded", b" one\r\n\ttwo\r\n   three"),
    (b"X-Empty", b""),
    (b"X-Blank", b" "),
    (b"X-None", b"none"),
    (b"X-Raw", b" caf\xe9"),
]
BODY = b".dot\r\nx\xff\r\n" + b"y" * 3000 + b"\r\n" + b"line\r\n" * 30_000


@pytest.mark.parametrize("leading", [Protocol.HDR_LEADSPC, Protocol(0)])
def test_packets_are_those_of_postfix(leading):
    recorder = Recorder(int(leading | Protocol.NR_HDR))
    try:
        with Postfix(f"inet:127.0.0.1:{recorder.port}") as mta:
            raw = b"".join(name + b":" + value + b"\r\n" for name, value in FIELDS) + b"\r\n" + BODY
            assert mta.submit(raw, trusted=False).accepted
            mta.delivered(1)
        with MilterClient(f"inet:{recorder.port}@127.0.0.1") as client:
            client.send_message(FIELDS, BODY, client_address="192.0.2.25", client_name="out.example")
            client.quit()
    finally:
        recorder.close()
    postfix, ours = ([p for p in packets if p[0] != b"D"] for packets in recorder.connections[-2:])
    wanted = b"ORTLN"
    assert [p for p in ours if p[0] in wanted] == [p for p in postfix if p[0] in wanted and not _received(p)]
    steps = [[p[0] for p in packets if p[0] != b"B" and not _received(p)] for packets in (ours, postfix)]
    # Postfix aborts once more at the end of the session.
    assert [*steps[0][:-1], b"A", b"Q"] == steps[1]
    assert b"".join(p[1] for p in ours if p[0] == b"B") == b"".join(p[1] for p in postfix if p[0] == b"B")


def _received(packet: Packet) -> bool:
    return packet[0] == b"L" and packet[1].startswith(b"Received\0")
