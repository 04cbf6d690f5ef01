"""The milter client against a filter that is written out packet by packet."""

import socket
import struct
import threading
from collections.abc import Callable

import pytest

from phoenixdkim.testing.milter_client import MilterClient, MilterClosedError, MilterError, parse_address
from phoenixdkim.testing.milter_protocol import Change, Disposition, Modification, Protocol, Reply, Step, apply

Packet = tuple[bytes, bytes]


class Filter:
    """Answers each packet as ``answer`` says and keeps what came."""

    def __init__(self, path: str, answer: Callable[[bytes, bytes], list[Packet]]) -> None:
        self.packets: list[Packet] = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(4):
                packet = stream.read(struct.unpack("!I", head)[0])
                self.packets.append((packet[:1], packet[1:]))
                for command, payload in self._answer(packet[:1], packet[1:]):
                    if command == b"close":
                        return
                    connection.sendall(struct.pack("!I", 1 + len(payload)) + command + payload)

    def close(self) -> None:
        self._thread.join(5)
        self._listener.close()


@pytest.fixture
def filtered(tmp_path):
    filters = []

    def start(answer):
        path = str(tmp_path / f"{len(filters)}.sock")
        filters.append(Filter(path, answer))
        return filters[-1], MilterClient(f"unix:{path}", timeout=5)

    yield start
    for one in filters:
        one.close()


def answering(protocol: int, *at_end: Packet) -> Callable[[bytes, bytes], list[Packet]]:
    def answer(command: bytes, payload: bytes) -> list[Packet]:
        if command == b"O":
            return [(b"O", struct.pack("!III", 6, 0x11, protocol))]
        if command == b"E":
            return [*at_end, (b"c", b"")]
        silent = {b"L": Protocol.NR_HDR, b"D": ~0, b"Q": ~0, b"B": Protocol.NR_BODY}
        return [] if silent.get(command, 0) & protocol or command in b"DQKA" else [(b"c", b"")]

    return answer


def test_message_goes_out_byte_for_byte(filtered):
    server, client = filtered(answering(Protocol.HDR_LEADSPC | Protocol.NR_HDR))
    with client:
        reply = client.send_message(
            [(b"From", b" a@example.com"), (b"Subject", b" caf\xe9\r\n\tfold")], b"x\r\ny\r\n", chunk_size=3
        )
        client.quit()
    server.close()
    assert reply.disposition is Disposition.CONTINUE
    assert reply.leading_space
    sent = [packet for packet in server.packets if packet[0] != b"D"]
    assert sent[1] == (b"C", b"localhost\x004\x12\x67127.0.0.1\0")
    assert (b"M", b"<sender@example.com>\0") in sent
    assert (b"R", b"<recipient@example.net>\0") in sent
    assert (b"L", b"Subject\0 caf\xe9\n\tfold\0") in sent
    assert [payload for command, payload in sent if command == b"B"] == [b"x\r\n", b"y\r\n"]
    assert [command for command, _ in sent] == [
        b"O",
        b"C",
        b"H",
        b"M",
        b"R",
        b"T",
        b"L",
        b"L",
        b"N",
        b"B",
        b"B",
        b"E",
        b"A",
        b"Q",
    ]


def test_steps_negotiated_away_are_not_sent_but_their_macros_are(filtered):
    server, client = filtered(answering(Protocol.NOHELO | Protocol.NORCPT | Protocol.NODATA | Protocol.NR_HDR))
    with client:
        client.send_message([(b"From", b"  two blanks")], b"", macros={"i": "QID", "{auth_authen}": b"us\xe9r"})
    server.close()
    assert not [c for c, _ in server.packets if c in b"HRT"]
    assert (b"D", b"M{mail_addr}\0sender@example.com\0{auth_authen}\0us\xe9r\0") in server.packets
    assert (b"D", b"Ri\0QID\0{rcpt_addr}\0recipient@example.net\0") in server.packets
    assert (b"L", b"From\0 two blanks\0") in server.packets, "without LEADSPC one blank is dropped"


def test_modifications_come_in_order_and_raw(filtered):
    changes = [
        (b"i", struct.pack("!I", 0) + b"DKIM-Signature\0 v=1;\n\tb=\xe9\0"),
        (b"p", b""),
        (b"m", struct.pack("!I", 2) + b"Authentication-Results\0\0"),
        (b"h", b"X\0 y\0"),
    ]
    _, client = filtered(answering(Protocol.HDR_LEADSPC, *changes))
    with client:
        reply = client.send_message([], b"")
    assert reply.progress == 1
    assert reply.modifications == (
        Modification(Change.INSERT_HEADER, 0, b"DKIM-Signature", b" v=1;\n\tb=\xe9"),
        Modification(Change.CHANGE_HEADER, 2, b"Authentication-Results", b""),
        Modification(Change.ADD_HEADER, -1, b"X", b" y"),
    )


def test_smtp_reply_of_the_filter_ends_the_message(filtered):
    plain = answering(Protocol(0))
    _, client = filtered(lambda c, p: [(b"y", b"451 4.7.1 later\0")] if c == b"M" else plain(c, p))
    with client:
        reply = client.send_message([], b"")
    assert (reply.disposition, reply.smtp, reply.step) == (Disposition.TEMPFAIL, b"451 4.7.1 later", Step.MAIL)


@pytest.mark.parametrize(
    ("packets", "error"),
    [([(b"close", b"")], MilterClosedError), ([(b"Z", b"")], MilterError), ([(b"h", b"X\0y\0")], MilterError)],
)
def test_filter_that_breaks_the_protocol(filtered, packets, error):
    plain = answering(Protocol(0))
    _, client = filtered(lambda c, p: packets if c == b"N" else plain(c, p))
    with client, pytest.raises(error):
        client.send_message([], b"")


def test_filter_that_takes_what_was_not_offered(filtered):
    _, client = filtered(answering(Protocol.HDR_LEADSPC))
    with client, pytest.raises(MilterError, match="more than was offered"):
        client.negotiate(protocol=Protocol(0))


def test_apply_does_as_postfix():
    fields = [(b"Received", b" a"), (b"authentication-results \t", b" one"), (b"Authentication-Results", b" two")]
    changes = (
        Modification(Change.CHANGE_HEADER, 1, b"Authentication-Results", b""),
        Modification(Change.CHANGE_HEADER, 1, b"AUTHENTICATION-RESULTS", b" new"),
        Modification(Change.INSERT_HEADER, 0, b"Top", b" x\n\ty"),
        Modification(Change.CHANGE_HEADER, 7, b"Absent", b""),
        Modification(Change.CHANGE_HEADER, 7, b"Absent", b" added"),
    )
    assert apply(Reply(Disposition.CONTINUE, modifications=changes), fields) == [
        (b"Top", b" x\r\n\ty"),
        (b"Received", b" a"),
        (b"AUTHENTICATION-RESULTS", b" new"),
        (b"Absent", b" added"),
    ]
    bare = Reply(
        Disposition.CONTINUE, modifications=(Modification(Change.ADD_HEADER, -1, b"X", b"y"),), leading_space=False
    )
    assert apply(bare, []) == [(b"X", b" y")]


def test_addresses():
    assert parse_address("unix:/x") == (socket.AF_UNIX, "/x")
    assert parse_address("inet:8891@127.0.0.1") == (socket.AF_INET, ("127.0.0.1", 8891))
    assert parse_address("inet6:8891@[::1]") == (socket.AF_INET6, ("::1", 8891))
    with pytest.raises(ValueError, match="neither"):
        parse_address("/x")
